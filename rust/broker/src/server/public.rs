use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::time::timeout;
use ztna_api::gateway::{ENROL_PATH, EnrolRequest};
use ztna_api::token::{
    self, Exchange, ID_TOKEN, LOGOUT_PATH, NONCE_PATH, SIGN_OUT_PATH, STREAM_PATH, TOKEN_PATH, TokenError,
    TokenErrorCode, TokenRequest, TokenResponse,
};
use ztna_api::{discovery, wire};
use ztna_model::{base64url, secs};
use ztna_pdp::EnrolError;

use super::answer::{Endpoint, give, problem, refuse, token_error, with_nonce};
use super::front::Front;
use super::{form, logout, presented, stream};
use crate::desk::{Overloaded, Told};
use crate::id_tokens::IdTokenError;
use crate::keys::GatewayRequest;

/// What everybody may ask; `provider` is the OpenID provider's part of it.
pub(crate) fn router(front: Arc<Front>, provider: Router) -> Router {
    let mut limited = Router::new()
        .route(NONCE_PATH, post(nonce))
        .route(TOKEN_PATH, post(tokens))
        .route(SIGN_OUT_PATH, post(sign_out))
        .route(STREAM_PATH, get(stream::of_device))
        .route(ENROL_PATH, post(enrol));
    if front.id_tokens.are_remote() {
        limited = limited.route(LOGOUT_PATH, post(logout::logged_out));
    }
    let limited = limited.layer(from_fn_with_state(Arc::clone(&front), at_a_rate));
    Router::new()
        .route(discovery::PATH, get(discover))
        .merge(limited)
        .layer(DefaultBodyLimit::max(token::LONGEST))
        .with_state(front)
        .merge(provider)
        .fallback(nothing_here)
        .layer(from_fn(in_time))
}

/// Turns away who asks too much.
async fn at_a_rate(
    State(front): State<Arc<Front>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if front.sources.may_ask(source.ip(), front.clock.now()) {
        return next.run(request).await;
    }
    let error = token_error(TokenErrorCode::SlowDown, "too many requests from this address");
    refuse(Endpoint::Token, &error, None)
}

/// No request takes for ever, however slowly it comes in.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    timeout(LONGEST_REQUEST, next.run(request))
        .await
        .unwrap_or_else(|_| problem(StatusCode::REQUEST_TIMEOUT, "the request took too long"))
}

pub(super) async fn nothing_here() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here")
}

async fn discover(State(front): State<Arc<Front>>) -> Response {
    give(&front.discovery(), None)
}

async fn nonce(State(front): State<Arc<Front>>) -> Response {
    match front.desk.nonce().await {
        Ok(nonce) => give(&nonce, Some(&nonce.nonce)),
        Err(Overloaded) => refuse(Endpoint::Token, &overloaded(), None),
    }
}

async fn tokens(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    match ask_for_tokens(&front, &headers, &body).await {
        Ok(Told { answer: Ok(tokens), nonce }) => give(&tokens, Some(&nonce)),
        Ok(Told { answer: Err(error), nonce }) => refuse(Endpoint::Token, &error, Some(&nonce)),
        Err(error) => refuse_with_nonce(&front, Endpoint::Token, &error).await,
    }
}

/// In the order of protocol: first the proof and its nonce, then the ID token's signature, then all that needs the rows.
async fn ask_for_tokens(
    front: &Front,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Told<Result<TokenResponse, TokenError>>, TokenError> {
    let asked = form::token_request(headers, body)?;
    let proof = presented::proof(front, headers, &Method::POST, TOKEN_PATH, None)?;
    front.nonces.check(&proof, front.clock.wall())?;
    let answer = match asked {
        TokenRequest::Refresh { refresh_token } => front.desk.refresh(proof, refresh_token).await,
        TokenRequest::Exchange(asked) => {
            let id_token = believe(front, &asked).await?;
            front.desk.exchange(proof, id_token, asked).await
        }
    };
    answer.map_err(|Overloaded| overloaded())
}

async fn believe(front: &Front, asked: &Exchange) -> Result<ztna_pdp::IdToken, TokenError> {
    if asked.subject_token_type != ID_TOKEN {
        return Err(token_error(
            TokenErrorCode::InvalidRequest,
            "`subject_token_type` must be an ID token's",
        ));
    }
    front.id_tokens.verify(asked.subject_token.expose()).await.map_err(|error| {
        tracing::info!(%error, "an ID token is not believed");
        let code = match error {
            IdTokenError::Malformed | IdTokenError::Refused(_) => TokenErrorCode::InvalidGrant,
            IdTokenError::KeysAway(_) => TokenErrorCode::ServerError,
        };
        token_error(code, error.to_string())
    })
}

async fn sign_out(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    let asked = presented::access_token(&headers).and_then(|token| {
        presented::proof(&front, &headers, &Method::POST, SIGN_OUT_PATH, Some(&token))
            .map(|proof| (proof, token))
    });
    let (proof, token) = match asked {
        Ok(asked) => asked,
        Err(error) => return refuse_with_nonce(&front, Endpoint::Resource, &error).await,
    };
    match front.desk.sign_out(proof, token).await {
        Ok(Told { answer: Ok(()), nonce }) => {
            with_nonce(StatusCode::NO_CONTENT.into_response(), Some(&nonce))
        }
        Ok(Told { answer: Err(error), nonce }) => refuse(Endpoint::Resource, &error, Some(&nonce)),
        Err(Overloaded) => refuse(Endpoint::Resource, &overloaded(), None),
    }
}

async fn enrol(State(front): State<Arc<Front>>, body: Bytes) -> Response {
    let asked: EnrolRequest = match wire::read(&body, token::LONGEST) {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let request = base64url::decode(&asked.request).unwrap_or_default();
    let request = match GatewayRequest::from_der(&request) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let answer = front.desk.enrol(asked.token, request.key()).await;
    certified(&front, answer, &request)
}

/// Gives a gateway its certificate, or the reason why not.
pub(super) fn certified(
    front: &Front,
    answer: Result<Result<ztna_pdp::EnrolledGateway, EnrolError>, Overloaded>,
    request: &GatewayRequest,
) -> Response {
    let busy = || problem(StatusCode::SERVICE_UNAVAILABLE, "the broker has too much to do");
    match answer {
        Ok(Ok(names)) => match front.certify(names, request) {
            Ok(enrolled) => give(&enrolled, None),
            Err(error) => {
                tracing::error!(%error, "a gateway could not be certified");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "no certificate could be made")
            }
        },
        Ok(Err(error @ EnrolError::StoreDown)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Ok(Err(error)) => problem(StatusCode::FORBIDDEN, &error.to_string()),
        Err(Overloaded) => busy(),
    }
}

/// A refusal that did not reach the desk, with a nonce all the same: most who err need one.
pub(super) async fn refuse_with_nonce(front: &Front, at: Endpoint, error: &TokenError) -> Response {
    let nonce = front.desk.nonce().await.ok();
    refuse(at, error, nonce.as_ref().map(|nonce| nonce.nonce.as_str()))
}

pub(super) fn overloaded() -> TokenError {
    token_error(TokenErrorCode::ServerError, "the broker has too much to do")
}

const LONGEST_REQUEST: Duration = secs(30);
