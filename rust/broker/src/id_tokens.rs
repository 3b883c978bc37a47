//! ID tokens that sign-ins bring, and logout tokens that providers send: whose key signed them, by which algorithm, and
//! for whom they are.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreGenderClaim, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, ClientId, IdTokenClaims, IssuerUrl, Nonce,
    SignatureVerificationError,
};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use ztna_api::key::sha256;
use ztna_model::WallTime;
use ztna_net::clock::Clock;
use ztna_pdp::IdToken;

mod remote; // the keys of somebody else's provider
pub use remote::{FetchError, RemoteError, RemoteKeys};

mod logout; // what a provider says of who signed out there
pub use logout::Logout;

/// Believes one issuer, for one client.
pub struct IdTokens {
    issuer: IssuerUrl,
    client: ClientId,
    keys: KeySource,
    clock: Clock,
}

/// Where the issuer's keys are.
pub enum KeySource {
    /// Here: the issuer is the broker's own provider.
    Own(CoreJsonWebKeySet),
    /// Where the issuer's metadata says.
    Remote(Arc<RemoteKeys>),
}

/// Why an ID token is not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IdTokenError {
    /// It is no JWT, or holds not what an ID token holds.
    #[error("it is no ID token")]
    Malformed,
    /// It is another issuer's, for another client, expired, or signed by nobody we know in a way we accept.
    #[error("{0}")]
    Refused(String),
    /// The issuer's keys are not to be had.
    #[error("the keys of the identity provider cannot be had: {0}")]
    KeysAway(#[from] FetchError),
}

impl IdTokens {
    /// Believes `issuer`, which must be written exactly as its tokens write it.
    pub fn new(issuer: &str, client: &str, keys: KeySource) -> Option<Self> {
        let issuer = IssuerUrl::new(issuer.to_owned()).ok()?;
        Some(Self { issuer, client: ClientId::new(client.to_owned()), keys, clock: Clock })
    }

    /// What `token` says, if the issuer said it, to us.
    pub async fn verify(&self, token: &str) -> Result<IdToken, IdTokenError> {
        let parsed: Parsed = token.parse().map_err(|_| IdTokenError::Malformed)?;
        let keys = self.keys.known().await?;
        let unknown =
            ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey);
        let claims = match (self.claims(&parsed, keys), &self.keys) {
            (Err(cause), KeySource::Remote(remote)) if cause == unknown => {
                self.claims(&parsed, remote.looked_up_again().await?)
            }
            (claims, _) => claims,
        };
        let claims = claims.map_err(|cause| IdTokenError::Refused(cause.to_string()))?;
        match claims.authorized_party() {
            Some(party) if *party != self.client => {
                Err(IdTokenError::Refused("its authorized party is another client".into()))
            }
            // A logout token is signed by the same key, for us, and may name a person as well.
            _ if claims.additional_claims().events.is_some() => {
                Err(IdTokenError::Refused("it is an event, and no ID token".into()))
            }
            Some(_) | None => Ok(said(token, &claims)),
        }
    }

    /// Whether the issuer is somebody else's provider.
    pub(crate) const fn are_remote(&self) -> bool {
        matches!(self.keys, KeySource::Remote(_))
    }

    fn claims(&self, parsed: &Parsed, keys: CoreJsonWebKeySet) -> Result<Claims, ClaimsVerificationError> {
        let now = utc(self.clock.wall());
        let verifier = CoreIdTokenVerifier::new_public_client(self.client.clone(), self.issuer.clone(), keys)
            .set_allowed_algs(ALGORITHMS)
            .set_other_audience_verifier_fn(|_| false)
            .set_time_fn(move || now - chrono::Duration::seconds(SKEW_S));
        // What the nonce commits to is for the decision on the exchange.
        parsed.claims(&verifier, |_: Option<&Nonce>| Ok(())).cloned()
    }
}

impl KeySource {
    async fn known(&self) -> Result<CoreJsonWebKeySet, FetchError> {
        match self {
            Self::Own(keys) => Ok(keys.clone()),
            Self::Remote(remote) => remote.known().await,
        }
    }
}

type Parsed = openidconnect::IdToken<
    Beside,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Claims = IdTokenClaims<Beside, CoreGenderClaim>;

/// What providers say beside the standard claims.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Beside {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<serde_json::Value>,
}

impl AdditionalClaims for Beside {}

/// Some providers say `"groups": "staff"`, or null.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => vec![],
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    })
}

fn said(token: &str, claims: &Claims) -> IdToken {
    let name = claims.name().and_then(|name| name.get(None)).map(|name| name.as_str().to_owned());
    let texts =
        |list: Option<&Vec<_>>, text: fn(&_) -> String| list.into_iter().flatten().map(text).collect();
    IdToken {
        // Signatures can be bent without breaking (ECDSA has two for each), what they cover cannot.
        hash: sha256(token.rsplit_once('.').map_or(token, |(signed, _)| signed).as_bytes()),
        issuer: claims.issuer().as_str().to_owned(),
        subject: claims.subject().as_str().to_owned(),
        audiences: claims.audiences().iter().map(|audience| audience.as_str().to_owned()).collect(),
        authorized_party: claims.authorized_party().map(|party| party.as_str().to_owned()),
        expires: wall(claims.expiration()),
        issued: wall(claims.issue_time()),
        nonce: claims.nonce().map(|nonce| nonce.secret().clone()),
        idp_sid: claims.additional_claims().sid.clone(),
        acr: claims.auth_context_ref().map(|acr| acr.as_str().to_owned()),
        amr: texts(claims.auth_method_refs(), |amr: &openidconnect::AuthenticationMethodReference| {
            amr.as_str().to_owned()
        }),
        auth_time: claims.auth_time().map(wall),
        email: claims.email().map(|email| email.as_str().to_owned()),
        email_verified: claims.email_verified().unwrap_or(false),
        name: name.or_else(|| claims.preferred_username().map(|name| name.as_str().to_owned())),
        groups: claims.additional_claims().groups.clone(),
    }
}

fn utc(time: WallTime) -> DateTime<Utc> {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

fn wall(time: DateTime<Utc>) -> WallTime {
    WallTime::from_millis(u64::try_from(time.timestamp_millis()).unwrap_or(0))
}

/// Asymmetric algorithms of our choice: no `none`, no MAC with a public key, nothing on SHA-1.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 6] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];
const SKEW_S: i64 = 60;
