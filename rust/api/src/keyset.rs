//! The organisation's public keys, signed by its root (JWS ES256, `openztna-keys+jws`).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{OrgId, PublicKey, RootHash, SignError, Signer};

use crate::jws::{self, Header, JwsError, Unverified};
use crate::key;

/// Which keys an organisation uses, and for what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeySet {
    /// The organisation.
    pub org: OrgId,
    /// Grows with each set; an older set than the one known is refused.
    pub seq: u64,
    /// The keys.
    pub keys: Vec<Key>,
}

/// One key of the set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Key {
    /// What it is used for, and for nothing else.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// Whether it signs today or waits for its turn.
    pub state: KeyState,
    /// The key.
    pub jwk: PublicKey,
    /// The certificate of a certificate authority, base64url DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// What a key is used for. Keys are apart: none serves two purposes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// Signs leases.
    Lease,
    /// Signs gateways' certificates.
    GatewayCa,
    /// Signs ID tokens of the broker's own OpenID provider.
    OpenId,
    /// Signs the audit log's checkpoints.
    Audit,
}

/// Whether a key signs today.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Signs today.
    Current,
    /// Will sign next; already trusted.
    Next,
}

/// Why a key set is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KeySetError {
    /// The root did not sign it.
    #[error("the key set is not sound: {0}")]
    Unsound(#[from] JwsError),
    /// The root that signed it is not the one pinned.
    #[error("the key set is signed by another root")]
    WrongRoot,
    /// It is another organisation's.
    #[error("the key set is another organisation's")]
    WrongOrg,
    /// A newer one is known.
    #[error("the key set is older than the one known")]
    Old,
}

impl KeySet {
    /// Signs the set with the root.
    pub fn sign(&self, root: &dyn Signer) -> Result<String, SignError> {
        jws::sign(root, TYP, self, Header { jwk: Some(root.public_key()), ..Header::default() })
    }

    /// The set in `text`, if it is `org`'s, signed by the root that hashes to `root`, and not older than `known`.
    pub fn verify(text: &str, org: &OrgId, root: &RootHash, known: u64) -> Result<Self, KeySetError> {
        let jws = Unverified::parse(text, TYP, &[])?;
        let signer = jws.header().jwk.ok_or(JwsError::KeyMisplaced)?;
        if key::root_hash(&signer) != *root {
            return Err(KeySetError::WrongRoot);
        }
        let set: Self = jws.verify(&signer)?;
        if set.org != *org {
            return Err(KeySetError::WrongOrg);
        }
        if set.seq < known {
            return Err(KeySetError::Old);
        }
        Ok(set)
    }

    /// The root that the set in `text` says it is signed by: a claim, to be pinned only where something else vouches
    /// for the text.
    pub fn claimed_root(text: &str) -> Result<RootHash, KeySetError> {
        let signer = Unverified::parse(text, TYP, &[])?.header().jwk.ok_or(JwsError::KeyMisplaced)?;
        Ok(key::root_hash(&signer))
    }

    /// The key for `usage` whose thumbprint is `kid`.
    pub fn signing(&self, usage: KeyUse, kid: &str) -> Option<&PublicKey> {
        self.of(usage).map(|key| &key.jwk).find(|jwk| key::thumbprint(jwk).to_string() == kid)
    }

    /// All keys for `usage`.
    pub fn of(&self, usage: KeyUse) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.usage == usage)
    }
}

const TYP: &str = "openztna-keys+jws";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ed25519_key, p256_key};

    #[test]
    fn p1_2_f01_only_the_pinned_root_s_newest_set_counts() {
        let (root, rogue, lease) = (p256_key(), p256_key(), ed25519_key());
        let org: OrgId = "https://acme.example".parse().unwrap();
        let other: OrgId = "https://other.example".parse().unwrap();
        let key = Key {
            usage: KeyUse::Lease,
            state: KeyState::Current,
            jwk: lease.public_key(),
            certificate: None,
        };
        let set = KeySet { org: org.clone(), seq: 7, keys: vec![key] };
        let pin = key::root_hash(&root.public_key());
        let text = set.sign(&root).unwrap();
        assert_eq!(KeySet::verify(&text, &org, &pin, 7), Ok(set.clone()));
        assert_eq!(KeySet::verify(&text, &org, &pin, 8), Err(KeySetError::Old));
        assert_eq!(KeySet::verify(&text, &other, &pin, 0), Err(KeySetError::WrongOrg));
        assert_eq!(KeySet::verify(&set.sign(&rogue).unwrap(), &org, &pin, 0), Err(KeySetError::WrongRoot));
        let kid = key::thumbprint(&lease.public_key()).to_string();
        assert!(set.signing(KeyUse::Lease, &kid).is_some());
        assert!(set.signing(KeyUse::Audit, &kid).is_none());
    }
}
