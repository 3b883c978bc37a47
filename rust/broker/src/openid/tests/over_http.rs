use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse as _,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use ztna_api::discovery::{Discovery, Versions};
use ztna_api::key;
use ztna_api::keyset::KeySet;
use ztna_auth::{Output, Possession, SignIn, SignInPlan};
use ztna_model::{Signer as _, Time, WallTime, base64url};

use super::world::{
    BACK, ISSUER, ORG, PASSWORD, VERIFIER, ana_with_password, encode, good_request, key, org, parameter,
    provider, random, with,
};
use crate::openid::account::Account;
use crate::openid::memory::Memory;
use crate::openid::routes::router;
use crate::openid::service::Service;

/// The provider on a port of its own, over plain HTTP: TLS is the listener's matter.
struct Server {
    address: SocketAddr,
    service: Arc<Service<Memory>>,
    account: Account,
    _runtime: Runtime,
}

impl Server {
    fn start() -> Self {
        let (store, account) = (Memory::default(), ana_with_password());
        store.put(&org(), account.clone());
        let service = Arc::new(Service::new(provider(), store, NonZeroUsize::new(2).unwrap()));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(Arc::clone(&service)).into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, service, account, _runtime: runtime }
    }

    /// One request to `path`, which may be a whole address of the organisation.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpResponse {
        let path = path.strip_prefix(ORG).unwrap_or(path);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: acme.example\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        response(&answer)
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> HttpResponse {
        self.send("POST", path, &[("content-type", FORM)], encode(fields).as_bytes())
    }

    /// For the client libraries.
    fn call(&self, request: HttpRequest) -> Result<HttpResponse, std::fmt::Error> {
        let headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let uri = request.uri().to_string();
        Ok(self.send(request.method().as_str(), &uri, &headers, request.body()))
    }
}

fn response(bytes: &[u8]) -> HttpResponse {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = http::Response::builder().status(status);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.header(name, value);
    }
    response.body(bytes[end + 4..].to_vec()).unwrap()
}

/// A browser that follows no redirect, and sends `Secure` cookies over this test's plain HTTP.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn send(&mut self, server: &Server, method: &str, path: &str, fields: &[(&str, &str)]) -> HttpResponse {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let cookies = cookies.join("; ");
        let mut headers = vec![("sec-fetch-site", "same-origin"), ("content-type", FORM)];
        headers.extend((!cookies.is_empty()).then_some(("cookie", cookies.as_str())));
        let answer = server.send(method, path, &headers, encode(fields).as_bytes());
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.into(), rest.split(';').next().unwrap().into());
        }
        answer
    }

    /// Fills the form of the page at `address` and sends it.
    fn log_in(&mut self, server: &Server, address: &str, name: &str, password: &str) -> HttpResponse {
        let page = self.send(server, "GET", address, &[]);
        assert_eq!(page.status(), 200);
        let page = String::from_utf8(page.into_body()).unwrap();
        let ticket = attribute(&page, r#"name="ticket""#, "value");
        let action = attribute(&page, "<form", "action");
        self.send(server, "POST", &action, &[("ticket", &ticket), ("username", name), ("password", password)])
    }

    /// Where the browser is sent after Ana has signed in.
    fn sign_in(&mut self, server: &Server, address: &str) -> String {
        let answer = self.log_in(server, address, "ana", PASSWORD);
        assert_eq!(answer.status(), 303);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }
}

fn attribute(page: &str, tag: &str, name: &str) -> String {
    let after = page.split_once(tag).unwrap().1.split_once(&format!(" {name}=\"")).unwrap().1;
    after.split_once('"').unwrap().0.to_owned()
}

fn json(answer: &HttpResponse) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn claims(id_token: &str) -> Value {
    serde_json::from_slice(&base64url::decode(id_token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_library_that_is_not_ours_signs_in_and_refreshes() {
    let server = Server::start();
    let call = |request: HttpRequest| server.call(request);
    let metadata = CoreProviderMetadata::discover(&IssuerUrl::new(ISSUER.into()).unwrap(), &call).unwrap();
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new("openztna".into()), None)
        .set_redirect_uri(RedirectUrl::new(BACK.into()).unwrap());
    let verifier = || PkceCodeVerifier::new(VERIFIER.into());
    let (address, state, nonce) = client
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            || CsrfToken::new("state-1".into()),
            || Nonce::new("nonce-1".into()),
        )
        .add_scopes(["profile", "email", "groups", "offline_access"].map(|scope| Scope::new(scope.into())))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier()))
        .url();
    let back = Browser::default().sign_in(&server, address.as_str());
    assert!(back.starts_with(BACK));
    assert_eq!(parameter(&back, "state").as_ref(), Some(state.secret()));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(ISSUER));

    let code = AuthorizationCode::new(parameter(&back, "code").unwrap());
    let exchange = client.exchange_code(code.clone()).unwrap().set_pkce_verifier(verifier());
    let tokens = exchange.request(&call).unwrap();
    let id_token = tokens.id_token().unwrap();
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).unwrap();
    assert_eq!(claims.subject().as_str(), server.account.subject.as_str());
    assert_eq!(claims.email().map(|email| email.as_str()), Some("ana@acme.example"));
    assert_eq!(claims.email_verified(), Some(true));
    let (access, algorithm) = (tokens.access_token(), id_token.signing_alg().unwrap());
    let verifier_of_tokens = client.id_token_verifier();
    let key = id_token.signing_key(&verifier_of_tokens).unwrap();
    let hash = openidconnect::AccessTokenHash::from_token(access, algorithm, key).unwrap();
    assert_eq!(claims.access_token_hash(), Some(&hash));

    let fresh =
        client.exchange_refresh_token(tokens.refresh_token().unwrap()).unwrap().request(&call).unwrap();
    let no_nonce = |nonce: Option<&Nonce>| if nonce.is_none() { Ok(()) } else { Err("a nonce".to_owned()) };
    let again = fresh.id_token().unwrap().claims(&client.id_token_verifier(), no_nonce).unwrap();
    assert_eq!(again.subject(), claims.subject());
    assert_eq!(again.auth_time(), claims.auth_time());
    assert!(again.issue_time() >= claims.issue_time());

    let reused = client.exchange_code(code).unwrap().set_pkce_verifier(verifier()).request(&call);
    assert!(format!("{:?}", reused.unwrap_err()).contains("invalid_grant"));
    let newest = fresh.refresh_token().unwrap();
    assert!(client.exchange_refresh_token(newest).unwrap().request(&call).is_err(), "reuse ended the family");
}

#[test]
fn a01_the_claims_of_an_id_token_as_the_wire_has_them() {
    let server = Server::start();
    let back = Browser::default().sign_in(&server, &authorize(&good_request()));
    let answer = server.post("/openid/token", &token_form(&parameter(&back, "code").unwrap()));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let tokens = json(&answer);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"bearer".into(), &300.into()));
    assert_eq!(tokens["scope"], "openid profile email groups offline_access");
    let id_token = tokens["id_token"].as_str().unwrap();
    let header: Value =
        serde_json::from_slice(&base64url::decode(id_token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header["alg"], "ES256");
    let jwks = json(&server.send("GET", "/openid/jwks", &[], b""));
    assert_eq!(header["kid"], jwks["keys"][0]["kid"]);
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "the current key and the next");
    assert!(jwks["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));

    let claims = claims(id_token);
    let expected = [
        ("iss", ISSUER.into()),
        ("sub", server.account.subject.as_str().into()),
        ("aud", serde_json::json!(["openztna"])),
        ("nonce", "nonce-1".into()),
        ("acr", "https://refeds.org/profile/sfa".into()),
        ("amr", serde_json::json!(["pwd"])),
        ("name", "Ana <b>Lima</b>".into()),
        ("email", "ana@acme.example".into()),
        ("email_verified", true.into()),
        ("groups", serde_json::json!(["staff", "finance"])),
    ];
    for (name, value) in expected {
        assert_eq!(claims[name], value, "{name}");
    }
    let number = |name: &str| claims[name].as_u64().unwrap();
    assert_eq!(number("exp"), number("iat") + 300);
    assert!(number("auth_time") <= number("iat"));
    assert_eq!(claims["sid"].as_str().unwrap().len(), 22);

    let refreshed = json(&server.post(
        "/openid/token",
        &[
            ("grant_type", "refresh_token"),
            ("client_id", "openztna"),
            ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
            ("scope", "openid"),
        ],
    ));
    let fresh = self::claims(refreshed["id_token"].as_str().unwrap());
    for name in ["iss", "sub", "aud", "acr", "amr", "auth_time", "sid"] {
        assert_eq!(fresh[name], claims[name], "{name}");
    }
    for name in ["nonce", "name", "email", "groups"] {
        assert_eq!(fresh.get(name), None, "{name}");
    }
    assert_ne!(refreshed["refresh_token"], tokens["refresh_token"]);
}

#[test]
fn a02_the_provider_says_who_it_is_in_metadata_and_every_answer() {
    let server = Server::start();
    let answer =
        server.send("GET", "/openid/.well-known/openid-configuration", &[("host", "evil.example")], b"");
    let metadata = json(&answer);
    let expected = [
        ("issuer", ISSUER.into()),
        ("authorization_endpoint", format!("{ISSUER}/authorize").into()),
        ("token_endpoint", format!("{ISSUER}/token").into()),
        ("jwks_uri", format!("{ISSUER}/jwks").into()),
        ("revocation_endpoint", format!("{ISSUER}/revoke").into()),
        ("authorization_response_iss_parameter_supported", true.into()),
        ("response_types_supported", serde_json::json!(["code"])),
        ("response_modes_supported", serde_json::json!(["query"])),
        ("grant_types_supported", serde_json::json!(["authorization_code", "refresh_token"])),
        ("subject_types_supported", serde_json::json!(["public"])),
        ("id_token_signing_alg_values_supported", serde_json::json!(["ES256"])),
        ("token_endpoint_auth_methods_supported", serde_json::json!(["none"])),
        ("code_challenge_methods_supported", serde_json::json!(["S256"])),
        ("request_parameter_supported", false.into()),
        ("request_uri_parameter_supported", false.into()),
        ("claims_parameter_supported", false.into()),
    ];
    for (name, value) in expected {
        assert_eq!(metadata[name], value, "{name}");
    }
    let same = json(&server.send("GET", "/.well-known/oauth-authorization-server/openid", &[], b""));
    assert_eq!(same, metadata);
    let refused =
        server.send("GET", &authorize(&with(&good_request(), &[("prompt", Some("none"))])), &[], b"");
    let location = refused.headers()["location"].to_str().unwrap();
    assert_eq!(parameter(location, "iss").as_deref(), Some(ISSUER));
    assert_eq!(parameter(location, "error").as_deref(), Some("login_required"));
}

/// Our own client signs in at our own provider, up to the ID token that it brings to the broker.
#[test]
fn the_connector_s_own_sign_in_fits() {
    let server = Server::start();
    let (device, root) = (Arc::new(key()), key());
    let pinned = format!("{ORG}#{}", key::root_hash(&root.public_key()));
    let plan = SignInPlan {
        org: pinned.parse().unwrap(),
        redirect: BACK.into(),
        device_name: "test".into(),
        enrolment_token: None,
    };
    let mut sign_in = SignIn::begin(plan, Possession::new(org(), device), Time::ZERO);
    let now = ztna_net::clock::Clock.wall();
    let mut browser = Browser::default();
    let id_token = loop {
        match sign_in.poll().expect("it goes on") {
            Output::Call(call) => {
                let path = call.request.uri().path().to_owned();
                let answer = match path.as_str() {
                    "/.well-known/openztna" => ok(&serde_json::to_value(discovery(&root, now)).unwrap()),
                    "/v1/nonce" => ok(&serde_json::json!({"nonce": "salt", "time": now})),
                    "/v1/token" => break form_field(call.request.body(), "subject_token"),
                    _ => server.call(call.request).unwrap(),
                };
                sign_in.handle_answer(call.number, Ok(answer), Time::ZERO, &mut random());
            }
            Output::OpenBrowser(address) => {
                let back = browser.sign_in(&server, &address);
                sign_in.handle_redirect(&back, Time::ZERO, &mut random()).unwrap();
            }
            Output::Done(_) => panic!("done without the broker"),
            Output::Failed(error) => panic!("{error}"),
        }
    };
    assert_eq!(claims(&id_token)["sub"], server.account.subject.as_str());
}

#[test]
fn h04_pages_are_guarded_and_cookies_tied_to_the_host() {
    let server = Server::start();
    let pages = [
        server.send("GET", &authorize(&good_request()), &[], b""),
        server.send("GET", "/openid/authorize?client_id=%3Cscript%3E", &[], b""),
        server.send(
            "POST",
            "/openid/login",
            &[("content-type", FORM), ("sec-fetch-site", "cross-site")],
            b"",
        ),
        server.send(
            "POST",
            "/openid/authorize",
            &[("content-type", FORM)],
            encode(&good_request()).as_bytes(),
        ),
    ];
    for (page, status) in pages.iter().zip([200, 400, 403, 200]) {
        assert_eq!(page.status(), status);
        let header = |name: &str| page.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        let html = String::from_utf8_lossy(page.body());
        assert!(!html.contains("<script"));
    }
    let cookie = pages[0].headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-openztna-browser="));
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(server.service.store().events().is_empty());
}

#[test]
fn a04_parallel_sign_ins_in_one_browser_do_not_disturb_each_other() {
    let server = Server::start();
    let mut browser = Browser::default();
    let address = |state| authorize(&with(&good_request(), &[("state", Some(state))]));
    let page = |browser: &mut Browser, state| {
        let page = browser.send(&server, "GET", &address(state), &[]).into_body();
        attribute(&String::from_utf8(page).unwrap(), r#"name="ticket""#, "value")
    };
    let (one, two) = (page(&mut browser, "one"), page(&mut browser, "two"));
    let mut codes = vec![];
    for (ticket, state) in [(two, "two"), (one, "one")] {
        let form = [("ticket", ticket.as_str()), ("username", "ana"), ("password", PASSWORD)];
        let answer = browser.send(&server, "POST", "/openid/login", &form);
        let location = answer.headers()["location"].to_str().unwrap();
        assert_eq!(parameter(location, "state").as_deref(), Some(state));
        codes.push(parameter(location, "code").unwrap());
    }
    assert_ne!(codes[0], codes[1]);
}

#[test]
fn h01_who_guesses_is_told_to_wait() {
    let server = Server::start();
    let mut browser = Browser::default();
    let address = authorize(&good_request());
    for _ in 0..5 {
        assert_eq!(browser.log_in(&server, &address, "ana", "wrong").status(), 403);
    }
    let answer = browser.log_in(&server, &address, "ana", "wrong");
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[test]
fn refusals_of_the_token_endpoint_over_http() {
    let server = Server::start();
    let form = encode(&token_form("guess"));
    let basic = ("authorization", "Basic b3Blbnp0bmE6eA==");
    let rows = [
        (vec![("content-type", FORM)], 400, "invalid_grant"),
        (vec![("content-type", "application/json")], 400, "invalid_request"),
        (vec![("content-type", FORM), basic], 401, "invalid_client"),
    ];
    for (headers, status, error) in rows {
        let answer = server.send("POST", "/openid/token", &headers, form.as_bytes());
        assert_eq!((answer.status().as_u16(), json(&answer)["error"].as_str()), (status, Some(error)));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
    }
    let too_long = server.send("POST", "/openid/token", &[("content-type", FORM)], &vec![b'a'; 20_000]);
    assert_eq!(too_long.status(), 413);
    assert_eq!(server.send("GET", "/openid/token", &[], b"").status(), 405);
    assert_eq!(server.post("/openid/revoke", &[("client_id", "openztna"), ("token", "guess")]).status(), 200);
}

fn authorize(fields: &[(&str, &str)]) -> String {
    format!("/openid/authorize?{}", encode(fields))
}

fn token_form(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", "openztna"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ]
}

fn discovery(root: &ztna_net::keys::P256Key, time: WallTime) -> Discovery {
    Discovery {
        org: org(),
        title: "ACME".into(),
        issuer: ISSUER.into(),
        client_id: "openztna".into(),
        scopes: vec!["openid".into(), "profile".into(), "groups".into()],
        keys: KeySet { org: org(), seq: 1, keys: vec![] }.sign(root).unwrap(),
        versions: Versions::OURS,
        time,
    }
}

fn ok(body: &Value) -> HttpResponse {
    let response = http::Response::builder().header("content-type", "application/json");
    response.body(body.to_string().into_bytes()).unwrap()
}

fn form_field(form: &[u8], name: &str) -> String {
    parameter(&format!("?{}", std::str::from_utf8(form).unwrap()), name).unwrap()
}

const FORM: &str = "application/x-www-form-urlencoded";
