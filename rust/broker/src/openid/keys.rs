use std::fmt;
use std::sync::Arc;

use openidconnect::core::{CoreJsonCurveType, CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey, SigningError};
use thiserror::Error;
use ztna_api::key;
use ztna_model::{PublicKey, Signer, base64url};

/// The keys that sign ID tokens, by ES256: the current one signs, the others are published beside it, so that a
/// rotation breaks nothing (the next one before it, the last one until its tokens are over).
#[derive(Clone)]
pub struct SigningKeys {
    current: Arc<dyn Signer>,
    published: Vec<CoreJsonWebKey>,
}

/// A key is not on P-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a key that signs ID tokens must be on P-256")]
pub struct WrongCurve;

impl SigningKeys {
    /// Signs with `current` and publishes it with `others`.
    pub fn new(current: Arc<dyn Signer>, others: &[PublicKey]) -> Result<Self, WrongCurve> {
        let keys = [current.public_key()].into_iter().chain(others.iter().copied());
        let published = keys.map(|key| jwk(&key)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { current, published })
    }

    /// What the world verifies with.
    pub(crate) fn public(&self) -> CoreJsonWebKeySet {
        CoreJsonWebKeySet::new(self.published.clone())
    }
}

impl PrivateSigningKey for SigningKeys {
    type VerificationKey = CoreJsonWebKey;

    fn sign(&self, algorithm: &CoreJwsSigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if *algorithm != ALGORITHM {
            return Err(SigningError::UnsupportedAlg("only ES256 is".into()));
        }
        self.current.sign(message).map_err(|error| SigningError::Other(error.to_string()))
    }

    fn as_verification_key(&self) -> CoreJsonWebKey {
        // `new` made the list from the current key on; a symmetric key without bytes, which verifies nothing, stands
        // for what cannot be.
        self.published.first().cloned().unwrap_or_else(|| openidconnect::JsonWebKey::new_symmetric(vec![]))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("current", &self.current.public_key()).finish_non_exhaustive()
    }
}

/// A key as JWKS lists it, named by its thumbprint (RFC 7638).
fn jwk(key: &PublicKey) -> Result<CoreJsonWebKey, WrongCurve> {
    match key {
        PublicKey::P256 { x, y } => {
            let id = JsonWebKeyId::new(base64url::encode(key::thumbprint(key).0));
            Ok(CoreJsonWebKey::new_ec(x.to_vec(), y.to_vec(), CoreJsonCurveType::P256, Some(id)))
        }
        PublicKey::Ed25519 { .. } => Err(WrongCurve),
    }
}

/// ES256 (RFC 7518, 3.4), and nothing else.
pub(crate) const ALGORITHM: CoreJwsSigningAlgorithm = CoreJwsSigningAlgorithm::EcdsaP256Sha256;
