use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{GroupId, Random, WallTime, base64url};

use super::password::PasswordHash;

/// A person with a password here. Its `serde` form is the row to save.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Who it is, for ever: what ID tokens say.
    pub subject: Subject,
    /// What the person types.
    pub name: UserName,
    /// What the password is checked against.
    pub password: PasswordHash,
    /// What people call the person.
    pub display_name: String,
    /// The person's e-mail address, if there is one.
    pub email: Option<Email>,
    /// The groups the person is in.
    pub groups: Vec<GroupId>,
    /// Whether sign-ins are refused, in the same words as a wrong password.
    pub disabled: bool,
    /// Sign-ins from before this moment bring no tokens any more: a new password moves it.
    pub not_before: WallTime,
}

/// An e-mail address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Email {
    /// The address.
    pub address: String,
    /// Whether the person has shown to receive what is sent there.
    pub verified: bool,
}

/// The stable name of an account in tokens (`sub`): random, so it tells nothing and is never given twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// A fresh one, of 128 random bits.
    pub fn random(random: &mut dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(base64url::encode(bytes))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name by which a person signs in: lower case, without space around it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// Why a text is no user name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a user name has 1 to {LONGEST} bytes without control characters")]
pub struct UserNameError;

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let name = text.trim().to_lowercase();
        let fits = (1..=LONGEST).contains(&name.len()) && !name.chars().any(char::is_control);
        fits.then_some(Self(name)).ok_or(UserNameError)
    }
}

impl TryFrom<String> for UserName {
    type Error = UserNameError;

    fn try_from(text: String) -> Result<Self, UserNameError> {
        text.parse()
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_type_them() {
        let rows = [
            ("ana", Some("ana")),
            (" Ana@Acme.example\t", Some("ana@acme.example")),
            ("Zoë", Some("zoë")),
            ("", None),
            ("  ", None),
            ("a\0b", None),
            ("a\nb", None),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<UserName>().ok().as_ref().map(UserName::as_str), expected, "{text:?}");
        }
        assert!("x".repeat(257).parse::<UserName>().is_err());
    }
}
