//! What public keys can do: verify, and be named by their prints.

use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use ztna_model::{Jkt, PublicKey, RootHash, base64url};

/// Whether `signature` is `key`'s over `message`.
pub fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let bytes = key.to_bytes();
    match key {
        PublicKey::P256 { .. } => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).verify(message, signature).is_ok()
        }
        PublicKey::Ed25519 { .. } => {
            UnparsedPublicKey::new(&ED25519, bytes).verify(message, signature).is_ok()
        }
    }
}

/// The key's JWK thumbprint (RFC 7638, SHA-256).
pub fn thumbprint(key: &PublicKey) -> Jkt {
    let required = match key {
        PublicKey::P256 { x, y } => {
            let (x, y) = (base64url::encode(x), base64url::encode(y));
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        PublicKey::Ed25519 { x } => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(x))
        }
    };
    Jkt(sha256(required.as_bytes()))
}

/// The hash by which a device pins `key` as an organisation's root.
pub fn root_hash(key: &PublicKey) -> RootHash {
    RootHash(sha256(&key.to_spki()))
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// SHA-256 of a list of byte strings, each behind its length, so that no two lists hash alike.
pub fn sha256_list(parts: &[&[u8]]) -> [u8; 32] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.3.
    #[test]
    fn the_thumbprint_of_the_rfc() {
        let x = base64url::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let print = base64url::decode("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k").unwrap();
        let key = PublicKey::Ed25519 { x: x.try_into().unwrap() };
        assert_eq!(thumbprint(&key).0.as_slice(), print);
    }

    #[test]
    fn lists_that_concatenate_alike_hash_apart() {
        assert_ne!(sha256_list(&[b"ab", b"c"]), sha256_list(&[b"a", b"bc"]));
        assert_ne!(sha256_list(&[b"", b"a"]), sha256_list(&[b"a"]));
    }
}
