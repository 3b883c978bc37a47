use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ztna_api::key::sha256_list;
use ztna_model::{Random, base64url};

/// Binds a record to a text without telling it: SHA-256 over a salt and the text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commitment([u8; 32]);

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64url::decode(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not a commitment of 32 bytes"))
    }
}

/// Text about a person, and the salt without which a commitment to it tells nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Personal {
    /// 128 random bits, base64url.
    pub salt: String,
    /// The text.
    pub text: String,
}

impl Personal {
    /// The text under a fresh salt.
    pub fn new(text: &str, random: &mut dyn Random) -> Self {
        let mut salt = [0; 16];
        random.fill(&mut salt);
        Self { salt: base64url::encode(salt), text: text.to_owned() }
    }

    /// The commitment that a record holds.
    pub fn commitment(&self) -> Commitment {
        Commitment(sha256_list(&[b"openztna/personal/1", self.salt.as_bytes(), self.text.as_bytes()]))
    }
}
