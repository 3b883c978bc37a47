//! The one signed form that all others share: a compact JWS with a `typ` of its own.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{PublicKey, SignError, Signer, base64url};

use crate::key;

/// The protected header of a compact JWS (RFC 7515, section 4).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// The algorithm; must be the verifying key's own.
    pub alg: String,
    /// The kind of thing signed; every kind has its own (RFC 8725, 3.11).
    pub typ: String,
    /// Which key, where a set is to be searched: its thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The signer's key itself, where possession is what is proven (DPoP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<PublicKey>,
    /// The signer's certificates, leaf first, base64url DER (RFC 7515, 4.1.6, but in the alphabet of everything here).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub x5c: Vec<String>,
    /// Claims that a verifier must understand or refuse the whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crit: Vec<String>,
}

/// A compact JWS whose form is right and whose signature nobody has looked at.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a JWS is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum JwsError {
    /// Longer than anything of its kind can be.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Not three base64url parts with a JSON header.
    #[error("not a compact JWS")]
    Malformed,
    /// Another kind of thing, or none stated.
    #[error("`typ` is not the one expected")]
    WrongType,
    /// The header's algorithm is not the key's: `none`, a MAC with a public key, or a plain mix-up.
    #[error("`alg` is not the key's algorithm")]
    WrongAlgorithm,
    /// Something must be understood that is not.
    #[error("`crit` names something unknown")]
    UnknownCritical,
    /// The header lacks the key it must carry, or carries one it must not.
    #[error("the header's key is missing or out of place")]
    KeyMisplaced,
    /// Nobody we trust signed it.
    #[error("the signature does not verify")]
    BadSignature,
    /// The payload is not what its type promises.
    #[error("the claims are not what the type promises")]
    BadClaims,
}

impl<'a> Unverified<'a> {
    /// Reads `text`, which must say that it is a `typ`. `critical` lists the claims the caller understands.
    pub fn parse(text: &'a str, typ: &str, critical: &[&str]) -> Result<Self, JwsError> {
        if text.len() > LONGEST {
            return Err(JwsError::TooLong(LONGEST));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let part = |text| base64url::decode(text).ok_or(JwsError::Malformed);
        let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| JwsError::Malformed)?;
        if header.typ != typ {
            return Err(JwsError::WrongType);
        }
        if header.crit.iter().any(|name| !critical.contains(&name.as_str())) {
            return Err(JwsError::UnknownCritical);
        }
        Ok(Self { header, signed, payload: part(payload)?, signature: part(signature)? })
    }

    /// The header: a claim, like everything here, until [`Unverified::verify`] has passed.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The claims, if `key` signed them.
    pub fn verify<C: DeserializeOwned>(&self, key: &PublicKey) -> Result<C, JwsError> {
        if self.header.alg != key.algorithm() {
            return Err(JwsError::WrongAlgorithm);
        }
        if !key::verifies(key, self.signed.as_bytes(), &self.signature) {
            return Err(JwsError::BadSignature);
        }
        serde_json::from_slice(&self.payload).map_err(|_| JwsError::BadClaims)
    }
}

/// Signs `claims` as a `typ`; `header` gives what else the header says.
pub fn sign(
    signer: &dyn Signer,
    typ: &str,
    claims: &impl Serialize,
    header: Header,
) -> Result<String, SignError> {
    let header = Header { alg: signer.public_key().algorithm().into(), typ: typ.into(), ..header };
    let part = |value: Result<Vec<u8>, serde_json::Error>| {
        value.map(base64url::encode).map_err(|error| SignError::Refused(error.to_string()))
    };
    let signed = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(claims))?);
    let signature = signer.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", base64url::encode(signature)))
}

/// Room for a facts statement with every fact at its longest, or a key set with certificates.
const LONGEST: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{ed25519_key, p256_key};

    const TYP: &str = "openztna-test+jws";

    fn signed(signer: &dyn Signer) -> String {
        sign(signer, TYP, &json!({"a": 1}), Header::default()).unwrap()
    }

    #[test]
    fn what_was_signed_verifies_under_its_key_alone() {
        let (p256, other, ed) = (p256_key(), p256_key(), ed25519_key());
        for signer in [&p256 as &dyn Signer, &ed] {
            let text = signed(signer);
            let jws = Unverified::parse(&text, TYP, &[]).unwrap();
            assert_eq!(jws.verify::<Value>(&signer.public_key()), Ok(json!({"a": 1})));
            assert!(jws.verify::<Value>(&other.public_key()).is_err());
        }
    }

    #[test]
    fn p3_8_a01_forms_that_must_be_refused() {
        let key = p256_key();
        let good = signed(&key);
        let (head, rest) = good.split_once('.').unwrap();
        let with = |header: Value| format!("{}.{rest}", base64url::encode(header.to_string()));
        let rows = [
            (with(json!({"alg": "none", "typ": TYP})), JwsError::WrongAlgorithm),
            (with(json!({"alg": "HS256", "typ": TYP})), JwsError::WrongAlgorithm),
            (with(json!({"alg": "EdDSA", "typ": TYP})), JwsError::WrongAlgorithm),
            (with(json!({"alg": "ES256", "typ": "JWT"})), JwsError::WrongType),
            (with(json!({"alg": "ES256"})), JwsError::Malformed),
            (with(json!({"alg": "ES256", "typ": TYP, "crit": ["x"]})), JwsError::UnknownCritical),
            (with(json!({"alg": "ES256", "typ": TYP, "x": 1})), JwsError::BadSignature),
            (format!("{head}."), JwsError::Malformed),
            (format!("{good}="), JwsError::Malformed),
            (format!("{good}.AAAA"), JwsError::Malformed),
            (good.replacen(rest, &rest.replacen('.', "A.", 1), 1), JwsError::BadSignature),
            ("x".repeat(LONGEST + 1), JwsError::TooLong(LONGEST)),
        ];
        for (text, expected) in rows {
            let outcome =
                Unverified::parse(&text, TYP, &[]).and_then(|jws| jws.verify::<Value>(&key.public_key()));
            assert_eq!(outcome, Err(expected), "{text}");
        }
    }
}
