//! Signing keys in this process's memory.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use thiserror::Error;
use ztna_model::{PublicKey, Secret, SignError, Signer};

use crate::random::ring_random;

/// A P-256 signing key in this process's memory: device keys on machines without a key store, gateway keys, the
/// root and the OpenID provider's keys.
pub struct P256Key {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// An Ed25519 signing key in this process's memory: leases and the audit log.
pub struct Ed25519Key {
    pair: Ed25519KeyPair,
}

/// Why a private key could not be made or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KeyError {
    /// The random source failed.
    #[error("the random source failed")]
    NoRandom,
    /// The bytes are not a PKCS #8 document of the right kind of key.
    #[error("not a PKCS #8 private key of the kind expected")]
    Unreadable,
}

impl P256Key {
    /// A fresh key, as PKCS #8 (RFC 5958).
    pub fn generate() -> Result<Secret<Vec<u8>>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &ring_random())
            .map(|document| Secret::new(document.as_ref().to_vec()))
            .map_err(|_| KeyError::NoRandom)
    }

    /// The key in a PKCS #8 document.
    pub fn from_pkcs8(document: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let random = ring_random();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.expose(), &random)
            .map(|pair| Self { pair, random })
            .map_err(|_| KeyError::Unreadable)
    }
}

impl Signer for P256Key {
    fn public_key(&self) -> PublicKey {
        // ring's public keys are uncompressed points; the zero key, which verifies nothing, stands for what cannot be.
        PublicKey::from_p256_point(self.pair.public_key().as_ref())
            .unwrap_or(PublicKey::P256 { x: [0; 32], y: [0; 32] })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.pair
            .sign(&self.random, message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SignError::Refused("the random source failed".into()))
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public_key().fmt(f)
    }
}

impl Ed25519Key {
    /// A fresh key, as PKCS #8 (RFC 8410).
    pub fn generate() -> Result<Secret<Vec<u8>>, KeyError> {
        Ed25519KeyPair::generate_pkcs8(&ring_random())
            .map(|document| Secret::new(document.as_ref().to_vec()))
            .map_err(|_| KeyError::NoRandom)
    }

    /// The key in a PKCS #8 document.
    pub fn from_pkcs8(document: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8(document.expose())
            .map(|pair| Self { pair })
            .map_err(|_| KeyError::Unreadable)
    }
}

impl Signer for Ed25519Key {
    fn public_key(&self) -> PublicKey {
        PublicKey::Ed25519 { x: self.pair.public_key().as_ref().try_into().unwrap_or([0; 32]) }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public_key().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn keys_sign_what_their_public_halves_verify() {
        let p256 = P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap();
        let ed = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let message = b"message";
        let point = p256.public_key().to_bytes();
        let signature = p256.sign(message).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature).unwrap();
        let signature = ed.sign(message).unwrap();
        UnparsedPublicKey::new(&ED25519, ed.public_key().to_bytes()).verify(message, &signature).unwrap();
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        assert_eq!(P256Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap_err(), KeyError::Unreadable);
        assert_eq!(Ed25519Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap_err(), KeyError::Unreadable);
    }
}
