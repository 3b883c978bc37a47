use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::base64url;

/// A private key that can be asked to sign, wherever it lives: in memory, in a TPM or in a phone's secure element.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> PublicKey;

    /// A signature over `message` in the form JWS wants (RFC 7518, 3.4: r ‖ s for ES256; RFC 8037 for EdDSA).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why a key did not sign.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SignError {
    /// The key is gone: erased, invalidated by a new screen lock, or left behind on another device.
    #[error("the signing key is gone")]
    KeyLost,
    /// The key is there and refused, or its hardware did not answer.
    #[error("the signing key refused: {0}")]
    Refused(String),
}

/// A public signing key of one of the two kinds in use. Its `serde` form is a JWK (RFC 7517, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA on P-256 (`ES256`): device keys, gateway keys, the root and the OpenID provider.
    P256 {
        /// The point's x coordinate.
        x: [u8; 32],
        /// The point's y coordinate.
        y: [u8; 32],
    },
    /// Ed25519 (`EdDSA`): leases and the audit log.
    Ed25519 {
        /// The key.
        x: [u8; 32],
    },
}

impl PublicKey {
    /// The key in the uncompressed form `04 ‖ x ‖ y` that X.509 uses for P-256.
    pub fn from_p256_point(point: &[u8]) -> Option<Self> {
        let (tag, rest) = point.split_first()?;
        let (x, y) = rest.split_first_chunk::<32>()?;
        Some(Self::P256 { x: *x, y: y.try_into().ok()? }).filter(|_| *tag == UNCOMPRESSED)
    }

    /// The one algorithm this key is used with (RFC 7518, RFC 8037).
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::P256 { .. } => "ES256",
            Self::Ed25519 { .. } => "EdDSA",
        }
    }

    /// The bytes verifiers want: the uncompressed point, or the Ed25519 key.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::P256 { x, y } => [&[UNCOMPRESSED], &x[..], &y[..]].concat(),
            Self::Ed25519 { x } => x.to_vec(),
        }
    }

    /// The key as a DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7): what a root hash is taken over.
    pub fn to_spki(&self) -> Vec<u8> {
        let algorithm = match self {
            Self::P256 { .. } => &P256_SPKI[..],
            Self::Ed25519 { .. } => &ED25519_SPKI[..],
        };
        [algorithm, &self.to_bytes()].concat()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), base64url::encode(self.to_bytes()))
    }
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    // A private member in a public place is a leak in progress: refuse it loudly.
    #[serde(default, skip_serializing)]
    d: Option<serde::de::IgnoredAny>,
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kty, crv, x, y) = match self {
            Self::P256 { x, y } => ("EC", "P-256", x, Some(y)),
            Self::Ed25519 { x } => ("OKP", "Ed25519", x, None),
        };
        let (kty, crv, x, y) = (kty.into(), crv.into(), base64url::encode(x), y.map(base64url::encode));
        Jwk { kty, crv, x, y, d: None }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let jwk = Jwk::deserialize(deserializer)?;
        if jwk.d.is_some() {
            return Err(D::Error::custom("a private key stands where a public one belongs"));
        }
        let coordinate =
            |text: Option<&str>| -> Option<[u8; 32]> { base64url::decode(text?)?.try_into().ok() };
        let key = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("EC", "P-256") => {
                coordinate(Some(&jwk.x)).zip(coordinate(jwk.y.as_deref())).map(|(x, y)| Self::P256 { x, y })
            }
            ("OKP", "Ed25519") => coordinate(Some(&jwk.x)).map(|x| Self::Ed25519 { x }),
            _ => None,
        };
        key.ok_or_else(|| D::Error::custom("not a P-256 or Ed25519 public key (RFC 7517, RFC 8037)"))
    }
}

const UNCOMPRESSED: u8 = 4;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING … }` up to the point.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING … }` up to the key.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_the_jwk_it_was() {
        let text = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key: PublicKey = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), text);
    }

    #[test]
    fn keys_that_are_refused() {
        let rows = [
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            r#"{"kty":"oct","k":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"secret"}"#,
        ];
        for text in rows {
            assert!(serde_json::from_str::<PublicKey>(text).is_err(), "{text}");
        }
    }
}
