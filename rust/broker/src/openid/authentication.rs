use serde::{Deserialize, Serialize};
use ztna_model::WallTime;

/// When and how a person showed who they are.
///
/// A second factor comes in here: a class and a method of its own, after the password and before the grant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Authentication {
    /// When (`auth_time`).
    pub time: WallTime,
    /// How strong (`acr`).
    pub class: Class,
    /// By what (`amr`, RFC 8176).
    pub methods: Vec<Method>,
}

/// How strong an authentication is: profiles of REFEDS, which say what each asks of passwords and factors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Class {
    /// One factor.
    #[serde(rename = "https://refeds.org/profile/sfa")]
    SingleFactor,
}

/// One thing that was shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A password.
    Pwd,
}

impl Authentication {
    /// By password, at `time`.
    pub fn by_password(time: WallTime) -> Self {
        Self { time, class: Class::SingleFactor, methods: vec![Method::Pwd] }
    }
}

impl Class {
    /// Every class that can be reached here.
    pub const ALL: [Self; 1] = [Self::SingleFactor];

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleFactor => "https://refeds.org/profile/sfa",
        }
    }
}

impl Method {
    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pwd => "pwd",
        }
    }
}
