use axum::Json;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use ztna_api::problem::{MEDIA_TYPE, Problem};
use ztna_api::token::{TokenError, TokenErrorCode};

/// Where a refusal comes from: the two speak of the same things by other statuses (RFC 6749, 5.2; RFC 9449, 7.1 and 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Endpoint {
    /// The token endpoint.
    Token,
    /// What an access token opens.
    Resource,
}

/// A refusal in words for who wrote the client.
pub(super) fn token_error(error: TokenErrorCode, description: impl Into<String>) -> TokenError {
    TokenError { error, error_description: Some(description.into()), reason: None }
}

/// A refusal with the nonce for the next try.
pub(super) fn refuse(at: Endpoint, error: &TokenError, nonce: Option<&str>) -> Response {
    let status = match (at, error.error) {
        (_, TokenErrorCode::SlowDown) => StatusCode::TOO_MANY_REQUESTS,
        (_, TokenErrorCode::ServerError) => StatusCode::SERVICE_UNAVAILABLE,
        (Endpoint::Token, _) | (Endpoint::Resource, TokenErrorCode::InvalidRequest) => {
            StatusCode::BAD_REQUEST
        }
        (Endpoint::Resource, TokenErrorCode::AccessDenied) => StatusCode::FORBIDDEN,
        (
            Endpoint::Resource,
            TokenErrorCode::InvalidToken
            | TokenErrorCode::InvalidGrant
            | TokenErrorCode::UnsupportedGrantType
            | TokenErrorCode::InvalidDpopProof
            | TokenErrorCode::UseDpopNonce,
        ) => StatusCode::UNAUTHORIZED,
    };
    let mut response = (status, Json(error)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = format!("DPoP algs=\"ES256\", error=\"{}\"", code(error.error));
        insert(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        insert(response.headers_mut(), RETRY_AFTER, "1");
    }
    with_nonce(response, nonce)
}

/// A document that nobody may keep, with the nonce for the next request.
pub(super) fn give(document: &impl Serialize, nonce: Option<&str>) -> Response {
    with_nonce(Json(document).into_response(), nonce)
}

pub(super) fn with_nonce(mut response: Response, nonce: Option<&str>) -> Response {
    let headers = response.headers_mut();
    insert(headers, CACHE_CONTROL, "no-store");
    if let Some(nonce) = nonce {
        insert(headers, DPOP_NONCE, nonce);
    }
    response
}

/// A refusal to anybody but the token endpoint's callers (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let problem = Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or_default().into(),
        status: status.as_u16(),
        detail: Some(detail.into()),
        reason: None,
        fixes: vec![],
    };
    let mut response = (status, Json(problem)).into_response();
    insert(response.headers_mut(), CONTENT_TYPE, MEDIA_TYPE);
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        insert(response.headers_mut(), RETRY_AFTER, "1");
    }
    with_nonce(response, None)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const fn code(error: TokenErrorCode) -> &'static str {
    match error {
        TokenErrorCode::InvalidRequest => "invalid_request",
        TokenErrorCode::InvalidGrant => "invalid_grant",
        TokenErrorCode::UnsupportedGrantType => "unsupported_grant_type",
        TokenErrorCode::InvalidDpopProof => "invalid_dpop_proof",
        TokenErrorCode::UseDpopNonce => "use_dpop_nonce",
        TokenErrorCode::InvalidToken => "invalid_token",
        TokenErrorCode::AccessDenied => "access_denied",
        TokenErrorCode::SlowDown => "slow_down",
        TokenErrorCode::ServerError => "server_error",
    }
}

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
