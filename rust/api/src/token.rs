//! Sessions over HTTP: open by token exchange (RFC 8693), renew by refresh, end by sign-out; DPoP on each.

use serde::{Deserialize, Serialize};
use ztna_model::{DenyReason, DeviceId, Jkt, OrgId, Secret, SessionId, WallTime, base64url};

use crate::key;

/// Where nonces are given: `POST`, no body, no token.
pub const NONCE_PATH: &str = "/v1/nonce";
/// Where sessions are opened and renewed: `POST`, form-encoded, with a DPoP proof.
pub const TOKEN_PATH: &str = "/v1/token";
/// Where a session is ended: `POST`, with access token and DPoP proof.
pub const SIGN_OUT_PATH: &str = "/v1/sign-out";
/// Where an external identity provider says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0):
/// `POST`, form-encoded.
pub const LOGOUT_PATH: &str = "/v1/back-channel-logout";
/// The control stream: `GET`, WebSocket upgrade, with access token and DPoP proof.
pub const STREAM_PATH: &str = "/v1/stream";

/// `grant_type` of an exchange (RFC 8693, 2.1).
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of a renewal (RFC 6749, 6).
pub const REFRESH: &str = "refresh_token";
/// `subject_token_type` of an ID token (RFC 8693, 3).
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// `issued_token_type` of an access token (RFC 8693, 3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The longest request or answer of these endpoints, in bytes.
pub const LONGEST: usize = 32 * 1024;

/// The broker's answer to a request for a nonce.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nonce {
    /// For DPoP proofs, and as the salt of a sign-in's `nonce`: sealed broker time, good for 5 minutes as the one
    /// and for the life of a pending sign-in (10 minutes) as the other.
    pub nonce: String,
    /// The broker's clock: proofs are dated by it, so a wrong device clock costs nothing.
    pub time: WallTime,
}

/// A request for tokens, form-encoded.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "grant_type")]
pub enum TokenRequest {
    /// Open a session, or step an open one up.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    Exchange(Exchange),
    /// Renew the tokens of a session.
    #[serde(rename = "refresh_token")]
    Refresh {
        /// The refresh token.
        refresh_token: Secret<String>,
    },
}

/// An exchange of an ID token for a session.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Exchange {
    /// The ID token.
    pub subject_token: Secret<String>,
    /// Always [`ID_TOKEN`].
    pub subject_token_type: String,
    /// The broker nonce that went into the ID token's `nonce`.
    pub salt: String,
    /// What people call the device.
    pub device_name: String,
    /// A single-use token that admits the device.
    #[serde(default)]
    pub enrolment_token: Option<Secret<String>>,
}

/// Tokens, as the broker gives them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenResponse {
    /// Opaque; opens the stream and signs out.
    pub access_token: String,
    /// Always [`ACCESS_TOKEN`] for an exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
    /// Always `DPoP`.
    pub token_type: String,
    /// Seconds that the access token lives.
    pub expires_in: u64,
    /// Opaque; used once.
    pub refresh_token: String,
    /// The session.
    pub sid: SessionId,
    /// The device.
    pub device: DeviceId,
    /// Whether the device is admitted.
    pub state: Admission,
}

/// Whether a session's device is admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// It waits to be.
    Pending,
    /// It is.
    Open,
}

/// A refusal by the token endpoint (RFC 6749, 5.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenError {
    /// The kind of refusal.
    pub error: TokenErrorCode,
    /// What went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
    /// The reason, where a person can act on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenyReason>,
}

/// The kinds of refusal (RFC 6749, 5.2; RFC 9449, 5 and 8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenErrorCode {
    /// The request lacks something, or says it twice.
    InvalidRequest,
    /// The token presented is not good.
    InvalidGrant,
    /// The grant type is neither of the two.
    UnsupportedGrantType,
    /// The proof is not good.
    InvalidDpopProof,
    /// The proof needs the nonce in the answer's `DPoP-Nonce` header.
    UseDpopNonce,
    /// The access token is not good.
    InvalidToken,
    /// The person may not come in.
    AccessDenied,
    /// Too many tries.
    SlowDown,
    /// Our fault.
    ServerError,
}

/// The `nonce` of a sign-in: it commits the ID token to this organisation, this device key and this broker nonce.
pub fn id_nonce(org: &OrgId, jkt: &Jkt, salt: &str) -> String {
    let parts = [b"openztna/id/1".as_slice(), org.as_str().as_bytes(), &jkt.0, salt.as_bytes()];
    base64url::encode(key::sha256_list(&parts))
}
