//! What a device learns from one string: `GET /.well-known/openztna`.

use serde::{Deserialize, Serialize};
use ztna_model::{OrgId, WallTime};

/// Where an organisation's parts are, as its broker says at [`PATH`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Discovery {
    /// The organisation; must equal the origin that was asked.
    pub org: OrgId,
    /// What people call it.
    pub title: String,
    /// The OpenID provider's issuer.
    pub issuer: String,
    /// The public client's id at that issuer.
    pub client_id: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// The root-signed key set.
    pub keys: String,
    /// The versions of this protocol that the broker speaks.
    pub versions: Versions,
    /// The broker's wall clock, so that a wrong device clock can be told.
    pub time: WallTime,
}

/// Versions of the protocol: the highest that both ends know is used, and each end refuses below its minimum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest acceptable.
    pub min: u16,
    /// The highest known.
    pub max: u16,
}

impl Versions {
    /// What this code speaks.
    pub const OURS: Self = Self { min: 1, max: 1 };

    /// The highest that both know, if each accepts it.
    pub fn agree(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min && highest >= other.min).then_some(highest)
    }
}

/// Where discovery is.
pub const PATH: &str = "/.well-known/openztna";

/// The longest discovery document, in bytes.
pub const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_f01_versions_below_the_minimum_are_refused() {
        let versions = |min, max| Versions { min, max };
        let rows = [
            (versions(1, 1), versions(1, 1), Some(1)),
            (versions(1, 3), versions(2, 5), Some(3)),
            (versions(2, 3), versions(1, 1), None),
            (versions(1, 1), versions(2, 3), None),
        ];
        for (ours, theirs, expected) in rows {
            assert_eq!(ours.agree(theirs), expected);
            assert_eq!(theirs.agree(ours), expected);
        }
    }
}
