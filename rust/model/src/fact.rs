use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::ParseError;
use crate::time::WallTime;

/// What can be known about a device. The wire's and the policies' name is the variant in `snake_case`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// The operating system is a supported release. Value: text, `ID [VERSION] [until DATE]` in the words of
    /// os-release(5): `debian 12`, `fedora 44 until 2027-05-19`, `arch`.
    OsSupported,
    /// The running kernel is the newest one installed. Value: text, the running release; followed by ` < ` and
    /// the newest release where that waits for a restart.
    KernelCurrent,
    /// Security updates are recent. Value: days since the last update.
    PatchAge,
    /// The disk that holds the user's data is encrypted. Value: true or false.
    DiskEncrypted,
    /// Only signed code starts the machine. Value: true or false.
    SecureBoot,
    /// A TPM 2.0 is present. Value: true or false.
    Tpm,
    /// A host firewall filters what comes in. Value: true or false.
    Firewall,
    /// The screen locks by itself. Value: true or false.
    ScreenLock,
    /// Nobody is logged in without being asked. Value: true if somebody would be.
    AutomaticLogin,
    /// The connector does not run as root. Value: true if it does.
    RunningAsRoot,
    /// No debugger is attached to the connector. Value: true if one is.
    DebuggerAttached,
    /// The device's clock agrees with the broker's. Value: seconds ahead (negative: behind).
    ClockSkew,
}

impl FactKind {
    /// Every kind, in the order in which people are shown them.
    pub const ALL: [Self; 12] = [
        Self::OsSupported,
        Self::KernelCurrent,
        Self::PatchAge,
        Self::DiskEncrypted,
        Self::SecureBoot,
        Self::Tpm,
        Self::Firewall,
        Self::ScreenLock,
        Self::AutomaticLogin,
        Self::RunningAsRoot,
        Self::DebuggerAttached,
        Self::ClockSkew,
    ];

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OsSupported => "os_supported",
            Self::KernelCurrent => "kernel_current",
            Self::PatchAge => "patch_age",
            Self::DiskEncrypted => "disk_encrypted",
            Self::SecureBoot => "secure_boot",
            Self::Tpm => "tpm",
            Self::Firewall => "firewall",
            Self::ScreenLock => "screen_lock",
            Self::AutomaticLogin => "automatic_login",
            Self::RunningAsRoot => "running_as_root",
            Self::DebuggerAttached => "debugger_attached",
            Self::ClockSkew => "clock_skew",
        }
    }
}

impl fmt::Display for FactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FactKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| ParseError::new(text, "the name of a fact such as `disk_encrypted`"))
    }
}

/// What a fact says. Units stand at each [`FactKind`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactValue {
    /// Yes or no.
    Bool(bool),
    /// A count.
    Number(i64),
    /// A name or a version, at most 256 bytes.
    Text(String),
}

impl fmt::Display for FactValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What a look at the device found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// This value.
    Value(FactValue),
    /// It could not be read; says why, in a sentence.
    Unknown(String),
    /// This kind of device does not have it; says why, in a sentence.
    Unsupported(String),
}

/// A raw signal as the device reports it: no state and no tier, which are the broker's to give.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// What was looked at.
    pub kind: FactKind,
    /// What was found.
    pub observed: Observed,
    /// Where: a file, a system call, an API.
    pub source: String,
    /// Age of the reading in seconds when the statement that carries it was signed.
    pub age_s: u64,
    /// Made up for a demonstration or a test; counts as unknown unless the organisation allows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// Whether a fact is as the organisation asks. Only `Pass` ever satisfies a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactState {
    /// As asked.
    Pass,
    /// Not as asked.
    Fail,
    /// Could not be read, is too old, or came from too weak a source. Absent is not false.
    Unknown,
    /// This kind of device does not have it.
    Unsupported,
}

impl FactState {
    /// The wire's and the policies' name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for FactState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How strong the evidence for a fact is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Tier {
    /// 0: read through an OS API by an app nothing proves.
    Unproven,
    /// 1: the same, by an app that hardware has proven.
    ProvenApp,
    /// 2: told by another server, such as an MDM.
    Server,
    /// 3: signed by hardware and verified by us.
    Hardware,
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Unproven => 0,
            Tier::ProvenApp => 1,
            Tier::Server => 2,
            Tier::Hardware => 3,
        }
    }
}

impl TryFrom<u8> for Tier {
    type Error = ParseError;

    fn try_from(number: u8) -> Result<Self, ParseError> {
        match number {
            0 => Ok(Self::Unproven),
            1 => Ok(Self::ProvenApp),
            2 => Ok(Self::Server),
            3 => Ok(Self::Hardware),
            _ => Err(ParseError::new(&number.to_string(), "a tier from 0 to 3")),
        }
    }
}

/// A graded fact: what the broker decides on and people are shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about.
    pub kind: FactKind,
    /// Whether it is as asked.
    pub state: FactState,
    /// How strong the evidence is.
    pub tier: Tier,
    /// What was read. Only a fact that passes or fails has it, so no rule can read past an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<FactValue>,
    /// Where it was read.
    pub source: String,
    /// Why the state is what it is, in a sentence.
    pub why: String,
    /// When it was true, by the broker's clock: its receipt or the statement's nonce, whichever is older.
    pub as_of: WallTime,
    /// Made up for a demonstration or a test.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_name_on_the_wire_and_in_policies() {
        for kind in FactKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
