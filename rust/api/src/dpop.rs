//! Proofs of possession (RFC 9449): each request shows that its sender holds the device key.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{Jkt, PublicKey, SignError, Signer, WallTime, base64url};

use crate::jws::{self, Header, JwsError, Unverified};
use crate::key;

/// What a proof says (RFC 9449, 4.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The proof's own id: 128 random bits, used once.
    pub jti: String,
    /// The HTTP method.
    pub htm: String,
    /// The HTTP URI without query and fragment; the stream has its `https` form too.
    pub htu: String,
    /// When it was made, in broker time.
    pub iat: u64,
    /// The nonce the server asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The hash of the access token it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ath: Option<String>,
}

/// The request a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The configured public origin and the path: never what `Host` or a forwarded header says.
    pub uri: &'a str,
    /// The access token that came along, if one did.
    pub access_token: Option<&'a str>,
    /// The broker's clock.
    pub now: WallTime,
}

/// A proof that holds, but for its nonce and its first use: the caller's to check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The key that made it.
    pub key: PublicKey,
    /// That key's thumbprint.
    pub jkt: Jkt,
    /// Its id, to be claimed.
    pub jti: String,
    /// The nonce it carries.
    pub nonce: Option<String>,
}

/// Why a proof is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProofError {
    /// It is not a signed proof at all.
    #[error("the proof is not sound: {0}")]
    Unsound(#[from] JwsError),
    /// It is for another method.
    #[error("the proof is for another method")]
    WrongMethod,
    /// It is for another URI.
    #[error("the proof is for another URI")]
    WrongUri,
    /// It goes with another access token, or with none.
    #[error("the proof is for another access token")]
    WrongToken,
    /// It is older than a minute, or from a minute in the future.
    #[error("the proof is not fresh")]
    Stale,
    /// Its id is missing or overlong.
    #[error("the proof has no usable id")]
    BadId,
}

/// Makes a proof with `signer`.
pub fn prove(signer: &dyn Signer, claims: &Claims) -> Result<String, SignError> {
    jws::sign(signer, TYP, claims, Header { jwk: Some(signer.public_key()), ..Header::default() })
}

/// The hash by which a proof names an access token.
pub fn token_hash(access_token: &str) -> String {
    base64url::encode(key::sha256(access_token.as_bytes()))
}

/// Checks all of `text` but nonce and first use.
pub fn verify(text: &str, expected: Expected<'_>) -> Result<Proof, ProofError> {
    let jws = Unverified::parse(text, TYP, &[])?;
    let signer = jws.header().jwk.filter(|key| matches!(key, PublicKey::P256 { .. }));
    let signer = signer.ok_or(JwsError::KeyMisplaced)?;
    let claims: Claims = jws.verify(&signer)?;
    let ath = expected.access_token.map(token_hash);
    if claims.htm != expected.method {
        return Err(ProofError::WrongMethod);
    }
    if claims.htu != expected.uri {
        return Err(ProofError::WrongUri);
    }
    if claims.ath != ath {
        return Err(ProofError::WrongToken);
    }
    if claims.iat.abs_diff(expected.now.as_secs()) > FRESH_S {
        return Err(ProofError::Stale);
    }
    if !(16..=64).contains(&claims.jti.len()) {
        return Err(ProofError::BadId);
    }
    Ok(Proof { key: signer, jkt: key::thumbprint(&signer), jti: claims.jti, nonce: claims.nonce })
}

const TYP: &str = "dpop+jwt";

/// `iat` is stamped in broker time, so this only has to cover the way.
const FRESH_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ed25519_key, p256_key};

    const URI: &str = "https://acme.example/v1/token";

    fn claims() -> Claims {
        Claims {
            jti: "0123456789abcdef".into(),
            htm: "POST".into(),
            htu: URI.into(),
            iat: 1_000,
            nonce: Some("n".into()),
            ath: Some(token_hash("token")),
        }
    }

    fn check(claims: &Claims) -> Result<Proof, ProofError> {
        let expected = Expected {
            method: "POST",
            uri: URI,
            access_token: Some("token"),
            now: WallTime::from_secs(1_000),
        };
        verify(&prove(&p256_key(), claims).unwrap(), expected)
    }

    #[test]
    fn p3_1_a07_a_proof_is_good_for_its_own_request_alone() {
        let rows: [(&str, Claims, Option<ProofError>); 9] = [
            ("as it should be", claims(), None),
            ("another method", Claims { htm: "GET".into(), ..claims() }, Some(ProofError::WrongMethod)),
            ("another path", Claims { htu: format!("{URI}2"), ..claims() }, Some(ProofError::WrongUri)),
            ("wss form", Claims { htu: URI.replace("https", "wss"), ..claims() }, Some(ProofError::WrongUri)),
            (
                "another token",
                Claims { ath: Some(token_hash("other")), ..claims() },
                Some(ProofError::WrongToken),
            ),
            ("no token", Claims { ath: None, ..claims() }, Some(ProofError::WrongToken)),
            ("61 s old", Claims { iat: 939, ..claims() }, Some(ProofError::Stale)),
            ("61 s early", Claims { iat: 1_061, ..claims() }, Some(ProofError::Stale)),
            ("no id", Claims { jti: String::new(), ..claims() }, Some(ProofError::BadId)),
        ];
        for (name, claims, error) in rows {
            assert_eq!(check(&claims).err(), error, "{name}");
        }
    }

    #[test]
    fn a07_the_proof_names_the_key_that_made_it() {
        let signer = p256_key();
        let expected = Expected {
            method: "POST",
            uri: URI,
            access_token: Some("token"),
            now: WallTime::from_secs(1_000),
        };
        let proof = verify(&prove(&signer, &claims()).unwrap(), expected).unwrap();
        assert_eq!(proof.jkt, key::thumbprint(&signer.public_key()));
        let by_ed = prove(&ed25519_key(), &claims()).unwrap();
        assert_eq!(verify(&by_ed, expected), Err(ProofError::Unsound(JwsError::KeyMisplaced)));
        let forged = jws::sign(
            &signer,
            TYP,
            &claims(),
            Header { jwk: Some(p256_key().public_key()), ..Header::default() },
        );
        assert_eq!(verify(&forged.unwrap(), expected), Err(ProofError::Unsound(JwsError::BadSignature)));
    }
}
