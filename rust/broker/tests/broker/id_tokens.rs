//! Whose ID tokens are believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use ztna_api::jws::{self, Header};
use ztna_broker::id_tokens::{FetchError, IdTokenError, IdTokens, KeySource, RemoteError, RemoteKeys};
use ztna_model::{PublicKey, Signer, base64url};
use ztna_net::clock::Clock;
use ztna_net::keys::{Ed25519Key, P256Key};
use ztna_net::tls::Trust;

const ISSUER: &str = "https://id.example";

pub(crate) fn key() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

pub(crate) fn jwks(keys: &[(&str, PublicKey)]) -> Value {
    let jwk = |(kid, key): &(&str, PublicKey)| {
        let mut jwk = serde_json::to_value(key).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

fn claims() -> Value {
    let now = Clock.wall().as_secs();
    json!({
        "iss": ISSUER, "sub": "ana", "aud": "openztna", "exp": now + 300, "iat": now, "nonce": "n",
        "sid": "s", "acr": "1", "amr": ["pwd"], "auth_time": now - 5, "name": "Ana",
        "email": "ana@acme.example", "email_verified": true, "groups": ["staff"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(crate) fn sign(signer: &dyn Signer, kid: &str, claims: &Value) -> String {
    jws::sign(signer, "JWT", claims, Header { kid: Some(kid.into()), ..Header::default() }).unwrap()
}

/// No server here has a certificate; a client without any root cannot be made.
fn trust() -> Trust {
    let root = rcgen::generate_simple_self_signed(["id.example".to_owned()]).unwrap();
    Trust::Roots(vec![root.cert.der().clone()])
}

fn own(key: &P256Key) -> IdTokens {
    let keys = serde_json::from_value(jwks(&[("k1", key.public_key())])).unwrap();
    IdTokens::new(ISSUER, "openztna", KeySource::Own(keys)).unwrap()
}

#[tokio::test]
async fn what_a_token_says() {
    let key = key();
    let token = sign(&key, "k1", &claims());
    let said = own(&key).verify(&token).await.unwrap();
    assert_eq!((said.issuer.as_str(), said.subject.as_str()), (ISSUER, "ana"));
    assert_eq!(said.audiences, ["openztna"]);
    assert_eq!(
        (said.nonce.as_deref(), said.idp_sid.as_deref(), said.acr.as_deref()),
        (Some("n"), Some("s"), Some("1"))
    );
    assert_eq!((said.amr, said.groups), (vec!["pwd".to_owned()], vec!["staff".to_owned()]));
    assert_eq!((said.email.as_deref(), said.email_verified), (Some("ana@acme.example"), true));
    assert_eq!(said.name.as_deref(), Some("Ana"));
    assert_eq!(said.auth_time.unwrap().as_secs(), said.issued.as_secs() - 5);
    assert_eq!(said.hash, ztna_api::key::sha256(token.rsplit_once('.').unwrap().0.as_bytes()));
    for groups in [json!("staff"), json!(null)] {
        assert!(own(&key).verify(&sign(&key, "k1", &with("groups", groups))).await.is_ok());
    }
}

#[tokio::test]
async fn a01_tokens_that_are_not_believed() {
    let (key, other) = (key(), key());
    let ed = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
    let now = Clock.wall().as_secs();
    let good = sign(&key, "k1", &claims());
    let (_, rest) = good.split_once('.').unwrap();
    let header = |header: Value| format!("{}.{rest}", base64url::encode(header.to_string()));
    let unsigned = format!("{}.{}.", base64url::encode(r#"{"alg":"none"}"#), rest.split_once('.').unwrap().0);
    let embedded = {
        let jwk = Some(other.public_key());
        jws::sign(&other, "JWT", &claims(), Header { jwk, ..Header::default() }).unwrap()
    };
    let critical = Header { kid: Some("k1".into()), crit: vec!["x".into()], ..Header::default() };
    let rows = [
        ("another key", sign(&other, "k1", &claims())),
        ("an unknown key", sign(&key, "k2", &claims())),
        ("another kind of key", sign(&ed, "k1", &claims())),
        ("no algorithm", unsigned),
        ("a MAC with the public key", header(json!({"alg": "HS256", "kid": "k1"}))),
        ("an unheard-of algorithm", header(json!({"alg": "ES257", "kid": "k1"}))),
        ("an embedded key", embedded),
        ("something critical", jws::sign(&key, "JWT", &claims(), critical).unwrap()),
        ("another issuer", sign(&key, "k1", &with("iss", json!("https://evil.example")))),
        ("an issuer that almost is", sign(&key, "k1", &with("iss", json!("https://id.example/")))),
        ("another client", sign(&key, "k1", &with("aud", json!("other")))),
        ("a second client", sign(&key, "k1", &with("aud", json!(["openztna", "other"])))),
        ("no audience", sign(&key, "k1", &with("aud", json!([])))),
        ("a logout token", sign(&key, "k1", &with("events", json!({"x": {}})))),
        ("another party", sign(&key, "k1", &with("azp", json!("other")))),
        ("an end 61 s ago", sign(&key, "k1", &with("exp", json!(now - 61)))),
        ("no end", sign(&key, "k1", &with("exp", json!(null)))),
        ("no subject", sign(&key, "k1", &with("sub", json!(null)))),
        ("nothing", String::new()),
        ("no JWT", "x.y.z".into()),
        ("a forged signature", format!("{}AAAA", good.get(..good.len() - 4).unwrap())),
    ];
    for (what, token) in rows {
        let outcome = own(&key).verify(&token).await;
        assert!(
            matches!(outcome, Err(IdTokenError::Malformed | IdTokenError::Refused(_))),
            "{what}: {outcome:?}"
        );
    }
    assert!(
        own(&key).verify(&sign(&key, "k1", &with("exp", json!(now - 50)))).await.is_ok(),
        "clocks differ"
    );
}

/// An identity provider that can be taken away, and counts who asks.
pub(crate) struct Elsewhere {
    pub(crate) issuer: String,
    asked: AtomicUsize,
    answers: Mutex<Option<(String, Value)>>,
}

impl Elsewhere {
    pub(crate) async fn new(keys: Value) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let answers = Mutex::new(Some((issuer.clone(), keys)));
        let this = Arc::new(Self { issuer, asked: AtomicUsize::new(0), answers });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(Self::metadata))
            .route("/jwks", get(Self::keys))
            .with_state(Arc::clone(&this));
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    async fn metadata(State(this): State<Arc<Self>>) -> Result<String, StatusCode> {
        let (issuer, _) = this.answers.lock().await.clone().ok_or(StatusCode::BAD_GATEWAY)?;
        Ok(json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "jwks_uri": format!("{}/jwks", this.issuer), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
        .to_string())
    }

    async fn keys(State(this): State<Arc<Self>>) -> Result<String, StatusCode> {
        this.asked.fetch_add(1, Ordering::Relaxed);
        let (_, keys) = this.answers.lock().await.clone().ok_or(StatusCode::BAD_GATEWAY)?;
        Ok(keys.to_string())
    }

    pub(crate) fn tokens(&self) -> IdTokens {
        let remote = RemoteKeys::new(&self.issuer, &trust()).unwrap();
        IdTokens::new(&self.issuer, "openztna", KeySource::Remote(Arc::new(remote))).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_external_issuer_is_asked_once_and_again_for_an_unknown_key_but_not_in_a_row() {
    let (first, second) = (key(), key());
    let elsewhere = Elsewhere::new(jwks(&[("k1", first.public_key())])).await;
    let (tokens, claims) = (Arc::new(elsewhere.tokens()), with("iss", json!(elsewhere.issuer)));
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (tokens, token) = (Arc::clone(&tokens), sign(&first, "k1", &claims));
        at_once.spawn(async move { tokens.verify(&token).await });
    }
    assert!(at_once.join_all().await.iter().all(Result::is_ok));
    assert_eq!(elsewhere.asked(), 1);

    *elsewhere.answers.lock().await = Some((elsewhere.issuer.clone(), jwks(&[("k2", second.public_key())])));
    for _ in 0..3 {
        assert!(tokens.verify(&sign(&second, "k2", &claims)).await.is_err(), "asked a moment ago");
    }
    assert_eq!(elsewhere.asked(), 1);
    assert!(elsewhere.tokens().verify(&sign(&second, "k2", &claims)).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_or_another_one_has_no_keys() {
    let key = key();
    let elsewhere = Elsewhere::new(jwks(&[("k1", key.public_key())])).await;
    let token = sign(&key, "k1", &with("iss", json!(elsewhere.issuer)));
    *elsewhere.answers.lock().await = None;
    let tokens = elsewhere.tokens();
    let away = |outcome| matches!(outcome, Err(IdTokenError::KeysAway(FetchError::NoAnswer(..))));
    assert!(away(tokens.verify(&token).await));
    assert_eq!(tokens.verify(&token).await, Err(IdTokenError::KeysAway(FetchError::NotYet)));

    *elsewhere.answers.lock().await = Some(("https://evil.example".into(), jwks(&[])));
    let another = elsewhere.tokens().verify(&token).await;
    assert!(matches!(another, Err(IdTokenError::KeysAway(FetchError::AnotherIssuer(..)))), "{another:?}");

    for issuer in
        ["http://id.example", "ftp://id.example", "id.example", "https://ana@id.example", "http://localhost"]
    {
        let refused = RemoteKeys::new(issuer, &trust());
        assert!(matches!(refused, Err(RemoteError::Unprotected(_))), "{issuer}");
    }
}
