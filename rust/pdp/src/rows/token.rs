use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ztna_api::key::sha256;
use ztna_model::{GatewayId, Jkt, PersonId, SessionId, SiteId, WallTime};

/// SHA-256 of a token: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Jkt(self.0).fmt(f) // the same 64 digits
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Jkt::from_str(&text).map(|hash| Self(hash.0)).map_err(serde::de::Error::custom)
    }
}

/// An access or refresh token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its hash.
    pub hash: TokenHash,
    /// Of which session.
    pub sid: SessionId,
    /// The key that must prove itself with each use.
    pub jkt: Jkt,
    /// When it is no longer good.
    pub expires: WallTime,
    /// Which pair of its session it belongs to, counted from 0.
    pub generation: u64,
    /// What it is for.
    pub kind: TokenKind,
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Opens the stream, and signs out.
    Access,
    /// Gets the next pair.
    Refresh {
        /// What it was given for, once it has been used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<Spent>,
    },
}

/// What a refresh token was given for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spent {
    /// The answer, base64url, sealed under a key that only the token itself gives; gone when nobody may have it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// When the new pair was first used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<WallTime>,
}

/// A token that is good once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// Its hash.
    pub hash: TokenHash,
    /// What it brings in.
    pub kind: EnrolmentKind,
    /// When it is no longer good.
    pub expires: WallTime,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<WallTime>,
}

/// What a single-use token brings in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentKind {
    /// The first owner.
    Owner,
    /// A device.
    Device {
        /// The only person who may use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<PersonId>,
    },
    /// A gateway.
    Gateway {
        /// The gateway.
        gateway: GatewayId,
        /// Where it stands.
        site: SiteId,
    },
}
