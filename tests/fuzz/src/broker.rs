//! What a broker reads from people, their browsers and its administrators.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};
use ztna_api::{admin, wire};
use ztna_broker::admin::{LocalReply, LocalRequest};
use ztna_broker::audit::{self, Line, read_line, write_line};
use ztna_broker::openid::{
    AUTHORIZE, Account, Accounts, Change, Client, Event, Grants, Kept, NotChanged, Provider, Service, Setup,
    SignInId, SigningKeys, StoreError, Subject, TOKEN, UserName, router,
};
use ztna_model::{OrgId, Secret, Signer as _, WallTime};
use ztna_net::keys::P256Key;

/// Requests to sign somebody in: only the client's own addresses are ever sent to, and nobody is signed in unasked.
pub(crate) fn authorize(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let uri = format!("{AUTHORIZE}?{}", query.trim_end());
    let Ok(request) = Request::get(uri).body(Body::empty()) else { return };
    let answer = answer(request);
    if let Some(to) = answer.headers().get(LOCATION) {
        let to = to.to_str().expect("an address is text");
        assert!(
            to.starts_with("http://127.0.0.1:") || to.starts_with("http://127.0.0.1/back"),
            "sent to {to}"
        );
        assert!(!to.contains("code="), "nobody was asked");
    }
    assert!(!answer.status().is_server_error(), "{}", answer.status());
}

/// Requests for tokens: where no code was ever given, none is redeemed.
pub(crate) fn token(bytes: &[u8]) {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let request = Request::post(TOKEN).header(CONTENT_TYPE, form).body(Body::from(bytes.to_vec()));
    let status = answer(request.expect("a request")).status();
    assert!(status.is_client_error(), "{status}");
}

/// Cookies, in as many headers as there are lines.
pub(crate) fn cookies(bytes: &[u8]) {
    let mut request = Request::get(AUTHORIZE).body(Body::empty()).expect("a request");
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = HeaderValue::from_bytes(line) else { return };
        request.headers_mut().append(COOKIE, line);
    }
    assert_eq!(answer(request).status(), StatusCode::BAD_REQUEST, "a cookie is no request");
}

/// Lines of the administrators' socket about the broker itself: what is read writes back, and prints no password.
pub(crate) fn local_lines(bytes: &[u8]) {
    if let Ok(request) = wire::read::<LocalRequest>(bytes, admin::LONGEST) {
        let text = wire::write(&request);
        assert_eq!(wire::read::<LocalRequest>(text.as_bytes(), admin::LONGEST), Ok(request), "{text}");
    }
    if let Ok(reply) = wire::read::<LocalReply>(bytes, admin::LONGEST) {
        let text = wire::write(&reply);
        assert_eq!(wire::read::<LocalReply>(text.as_bytes(), admin::LONGEST), Ok(reply), "{text}");
    }
}

/// Exported logs: a row that is read writes back to itself, and nothing the fuzzer makes up is signed for.
pub(crate) fn exported_log(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines() {
        if let Ok(Line::Row(row)) = read_line(line) {
            assert_eq!(read_line(&write_line(&row)), Ok(Line::Row(row)), "{line}");
        }
    }
    let org = org();
    let log = audit::Log { org: &org, writer: "broker-1", keys: &[] };
    if audit::verify_export(text, log, None).is_ok() {
        assert!(!text.contains("\"head\""), "a head of nobody's");
    }
}

/// What the provider answers, on a thread of its own.
fn answer(mut request: Request<Body>) -> Response<Body> {
    static SERVED: OnceLock<(Runtime, Router)> = OnceLock::new();
    let (runtime, router) = SERVED.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        (runtime, router(Arc::new(service())))
    });
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4_000))));
    let service = TowerToHyperService::new(router.clone());
    runtime.block_on(service.call(request)).unwrap_or_else(|never| match never {})
}

fn service() -> Service<Nobody> {
    let key = P256Key::from_pkcs8(&P256Key::generate().expect("a key")).expect("a key");
    let public = key.public_key();
    let setup = Setup {
        org: org(),
        title: tokio::sync::watch::channel("Acme".into()).1,
        client: Client::new("openztna", vec!["http://127.0.0.1/back".parse().expect("a rule")]),
        keys: SigningKeys::new(Arc::new(key), &[public]).expect("keys on P-256"),
        secret: Secret::new([7; 32]),
    };
    Service::new(Provider::new(setup).expect("a provider"), Nobody, NonZeroUsize::MIN)
}

fn org() -> OrgId {
    "https://acme.example".parse().expect("an organisation")
}

/// A store in which nobody has an account.
struct Nobody;

impl Accounts for Nobody {
    async fn named(&self, _: &OrgId, _: &UserName) -> Result<Option<Account>, StoreError> {
        Ok(None)
    }

    async fn of(&self, _: &OrgId, _: &Subject) -> Result<Option<Account>, StoreError> {
        Ok(None)
    }
}

impl Grants for Nobody {
    async fn find(&self, _: &OrgId, _: SignInId) -> Result<Option<Kept>, StoreError> {
        Ok(None)
    }

    async fn change(&self, _: &OrgId, _: Change) -> Result<Result<(), NotChanged>, StoreError> {
        Ok(Ok(()))
    }

    async fn note(&self, _: &OrgId, _: Event, _: WallTime) -> Result<(), StoreError> {
        Ok(())
    }
}
