use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, RawQuery, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    PRAGMA, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use serde::Serialize;
use ztna_net::random::SystemRandom;

use super::authorization::{Misdirected, Refused};
use super::browser::{BrowserId, Cookies};
use super::exchange::{ExchangeError, Refusal as TokenRefusal};
use super::fields::LONGEST;
use super::issuer::{AUTHORIZE, DISCOVERY, JWKS, LOGIN, OAUTH_DISCOVERY, REVOKE, TOKEN};
use super::pages::{Page, Pages, Refusal, SupportCode};
use super::service::{Failure, Service};
use super::sign_in::SignIn;
use super::store::{Accounts, Grants};

/// The provider over HTTP. Who serves it tells the peer's address by `ConnectInfo<SocketAddr>`; it must be the true
/// one, since tries are counted on it.
pub fn router<S: Accounts + Grants>(service: Arc<Service<S>>) -> Router {
    let pages = Pages::new(service.provider().title().clone(), service.provider().issuer().org());
    let desk = Arc::new(Desk { service, pages });
    Router::new()
        .route(DISCOVERY, get(discovery))
        .route(OAUTH_DISCOVERY, get(discovery))
        .route(JWKS, get(jwks))
        .route(AUTHORIZE, get(authorize).post(authorize_by_form))
        .route(LOGIN, post(login))
        .route(TOKEN, post(token))
        .route(REVOKE, post(revoke))
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(map_response(guard))
        .with_state(desk)
}

/// What the handlers share.
struct Desk<S> {
    service: Arc<Service<S>>,
    pages: Pages,
}

type Shared<S> = State<Arc<Desk<S>>>;

async fn discovery<S: Accounts + Grants>(State(desk): Shared<S>) -> Response {
    public(desk.service.provider().metadata())
}

async fn jwks<S: Accounts + Grants>(State(desk): Shared<S>) -> Response {
    public(&desk.service.provider().jwks())
}

async fn authorize<S: Accounts + Grants>(
    State(desk): Shared<S>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    desk.ask(&query.unwrap_or_default(), &headers)
}

/// OpenID Connect Core, 3.1.2.1 wants requests by POST as well.
async fn authorize_by_form<S: Accounts + Grants>(
    State(desk): Shared<S>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match std::str::from_utf8(&body) {
        Ok(query) if is_form(&headers) => desk.ask(query, &headers),
        Ok(_) | Err(_) => desk.refuse(Refusal::Misdirected(Misdirected::Unreadable), "not a form"),
    }
}

async fn login<S: Accounts + Grants>(
    State(desk): Shared<S>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if comes_from_another_site(&headers) {
        return desk.refuse(Refusal::AnotherSite, "sent by another site");
    }
    let cookies = Cookies::read(&headers);
    let (browser, fresh) = browser(&cookies);
    match desk.service.sign_in(&body, &cookies, browser, source.ip()).await {
        Ok(SignIn::Done { address, known }) => with_cookie(see_other(&address), &known),
        Ok(SignIn::Again { login, name, notice }) => {
            let page = response(desk.pages.login(&login, &name, Some(notice)));
            if fresh { with_cookie(page, &browser.set_cookie()) } else { page }
        }
        Err(Failure::Refused(refused)) => desk.refused(refused),
        Err(Failure::Fault(cause)) => desk.refuse(Refusal::Fault, &cause),
    }
}

async fn token<S: Accounts + Grants>(State(desk): Shared<S>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(authenticates) = form_client(&headers) else { return not_a_form() };
    match desk.service.exchange(&body, authenticates).await {
        Ok(tokens) => uncached(Json(tokens).into_response()),
        Err(failure) => token_refusal(failure, authenticates),
    }
}

async fn revoke<S: Accounts + Grants>(State(desk): Shared<S>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(authenticates) = form_client(&headers) else { return not_a_form() };
    match desk.service.revoke(&body, authenticates).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(failure) => token_refusal(failure, authenticates),
    }
}

impl<S: Accounts + Grants> Desk<S> {
    fn ask(&self, query: &str, headers: &HeaderMap) -> Response {
        let (browser, fresh) = browser(&Cookies::read(headers));
        match self.service.ask(query, browser) {
            Ok(login) => {
                let name = login.authorization.login_hint.clone().unwrap_or_default();
                let page = response(self.pages.login(&login, &name, None));
                if fresh { with_cookie(page, &browser.set_cookie()) } else { page }
            }
            Err(refused) => self.refused(refused),
        }
    }

    fn refused(&self, refused: Refused) -> Response {
        match refused {
            Refused::Here(why) => self.refuse(Refusal::Misdirected(why), &why.to_string()),
            Refused::Back { redirect, error, state } => {
                see_other(&self.service.provider().refuse(&redirect, error, state.as_deref()))
            }
        }
    }

    fn refuse(&self, refusal: Refusal, cause: &str) -> Response {
        let code = SupportCode::random(&mut SystemRandom::new());
        if refusal == Refusal::Fault {
            tracing::error!(%code, cause, "a sign-in failed");
        } else {
            tracing::info!(%code, cause, "a sign-in was refused");
        }
        response(self.pages.refusal(refusal, code))
    }
}

/// The browser, and whether it has to be told who it is.
fn browser(cookies: &Cookies) -> (BrowserId, bool) {
    match cookies.browser {
        Some(browser) => (browser, false),
        None => (BrowserId::random(&mut SystemRandom::new()), true),
    }
}

/// Browsers say themselves where a form comes from (Fetch Metadata).
fn comes_from_another_site(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

/// For a form, whether its client tries to authenticate.
fn form_client(headers: &HeaderMap) -> Option<bool> {
    is_form(headers).then(|| headers.contains_key(AUTHORIZATION))
}

fn response(page: Page) -> Response {
    let mut response = (page.status, [(CONTENT_TYPE, HTML)], page.html).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(page.policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    if let Some(wait) = page.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// Sends a browser on, as GET whatever it did before (RFC 9700, 4.12).
fn see_other(address: &str) -> Response {
    match HeaderValue::try_from(address) {
        Ok(address) => (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// What changes with a rotation or an update only.
fn public(document: &impl Serialize) -> Response {
    ([(CACHE_CONTROL, "public, max-age=600")], Json(document)).into_response()
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache")); // RFC 6749, 5.1
    response
}

fn not_a_form() -> Response {
    token_refusal(Failure::Refused(ExchangeError::Malformed("the request must be a form")), false)
}

fn token_refusal(failure: Failure<ExchangeError>, authenticates: bool) -> Response {
    match failure {
        Failure::Refused(error) if authenticates && error == ExchangeError::WrongClient => {
            let basic = [(WWW_AUTHENTICATE, "Basic realm=\"none: this client is public\"")]; // RFC 6749, 5.2
            uncached((StatusCode::UNAUTHORIZED, basic, Json(error.refusal())).into_response())
        }
        Failure::Refused(error) => uncached((StatusCode::BAD_REQUEST, Json(error.refusal())).into_response()),
        Failure::Fault(cause) => {
            tracing::error!(cause, "no tokens could be given");
            let error_description = "the provider failed; try again".into();
            let refusal = TokenRefusal { error: "server_error", error_description };
            uncached((StatusCode::INTERNAL_SERVER_ERROR, Json(refusal)).into_response())
        }
    }
}

/// What every answer says to browsers. Nothing here is cached, framed or guessed at unless it says so itself.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in GUARDS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

const GUARDS: [(HeaderName, &str); 7] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORM: &str = "application/x-www-form-urlencoded";
const HTML: &str = "text/html; charset=utf-8";
