use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ztna_api::token::{TokenError, TokenErrorCode};

use super::answer::{Endpoint, refuse, token_error, with_nonce};
use super::form;
use super::front::Front;
use super::public::overloaded;
use crate::desk::Overloaded;
use crate::id_tokens::{IdTokenError, Logout};
use crate::store::Down;

/// An external provider says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0, 2.5 to 2.8). The
/// answer comes once the sessions are over.
pub(super) async fn logged_out(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    // A provider that hangs up must not leave its word claimed and the sessions alive.
    let ending = tokio::spawn(async move { end_sessions(&front, &headers, &body).await });
    match ending.await.unwrap_or_else(|_| Err(overloaded())) {
        Ok(()) => with_nonce(StatusCode::OK.into_response(), None),
        Err(error) => refuse(Endpoint::Token, &error, None),
    }
}

async fn end_sessions(front: &Front, headers: &HeaderMap, body: &[u8]) -> Result<(), TokenError> {
    let token = form::logout_token(headers, body)?;
    let logout = front.id_tokens.logged_out(&token).await.map_err(|error| {
        tracing::info!(%error, "a logout token is not believed");
        let code = match error {
            IdTokenError::Malformed | IdTokenError::Refused(_) => TokenErrorCode::InvalidRequest,
            IdTokenError::KeysAway(_) => TokenErrorCode::ServerError,
        };
        token_error(code, error.to_string())
    })?;
    let claimed = claim(front, &logout).await;
    if claimed == Ok(false) {
        return Err(token_error(TokenErrorCode::InvalidRequest, "it was used before"));
    }
    // What takes something away does not wait for the store; the provider may try again all the same.
    front.desk.logged_out(logout).await.map_err(|Overloaded| overloaded())?.answer?;
    claimed.map(|_| ()).map_err(|_| overloaded())
}

async fn claim(front: &Front, logout: &Logout) -> Result<bool, Down> {
    front.store.claim_once(&front.org, "logout", logout.id.clone(), logout.until).await
}
