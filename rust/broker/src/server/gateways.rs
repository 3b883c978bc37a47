use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use ztna_api::gateway::{RENEW_PATH, RenewRequest, STREAM_PATH};
use ztna_api::{token, wire};
use ztna_model::base64url;
use ztna_net::tls::GatewayPeer;

use super::answer::problem;
use super::front::Front;
use super::public::{certified, in_time, nothing_here};
use super::stream;
use crate::keys::GatewayRequest;

/// What gateways may ask; who they are, their certificates have shown.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route(RENEW_PATH, post(renew))
        .route(STREAM_PATH, get(stream::of_gateway))
        .layer(DefaultBodyLimit::max(token::LONGEST))
        .with_state(front)
        .fallback(nothing_here)
        .layer(from_fn(in_time))
}

/// Renews a certificate for the key that the presented one is for, even where that ran out lately.
async fn renew(
    State(front): State<Arc<Front>>,
    Extension(peer): Extension<GatewayPeer>,
    body: Bytes,
) -> Response {
    let asked: RenewRequest = match wire::read(&body, token::LONGEST) {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let request = base64url::decode(&asked.request).unwrap_or_default();
    let request = match GatewayRequest::from_der(&request) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if request.key().to_spki() != peer.spki {
        return problem(StatusCode::FORBIDDEN, &ztna_pdp::EnrolError::WrongKey.to_string());
    }
    let answer = front.desk.renew(peer.name.gateway, request.key()).await;
    certified(&front, answer, &request)
}
