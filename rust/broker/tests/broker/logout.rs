//! Back-channel logout: what an external provider may end, and what nobody else may.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use ztna_api::admin::{Answer, Invited, Op};
use ztna_api::dpop::{self, Claims};
use ztna_api::jws::{self, Header};
use ztna_api::key::thumbprint;
use ztna_api::token::{EXCHANGE, ID_TOKEN, LOGOUT_PATH, NONCE_PATH, Nonce, TOKEN_PATH, id_nonce};
use ztna_broker::config::Provider;
use ztna_model::{PersonId, Random as _, Signer as _, base64url};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;

use crate::id_tokens::{Elsewhere, jwks, key, sign};
use crate::world::World;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A broker whose people sign in elsewhere.
struct Scene {
    world: World,
    elsewhere: Arc<Elsewhere>,
    key: P256Key,
}

impl Scene {
    async fn new() -> Self {
        let key = key();
        let elsewhere = Elsewhere::new(jwks(&[("k1", key.public_key())])).await;
        let world = World::with(|config| {
            config.identity.provider = Provider::External;
            config.identity.issuer = Some(elsewhere.issuer.clone());
        })
        .await;
        Self { world, elsewhere, key }
    }

    fn sign(&self, claims: &Value) -> String {
        sign(&self.key, "k1", claims)
    }

    /// Opens a session of `subject`, signed in as `idp_sid` at the provider.
    async fn session(&self, subject: &str, idp_sid: &str) {
        let issuer = self.elsewhere.issuer.clone();
        let who = Invited::Person(PersonId { issuer: issuer.clone(), subject: subject.into() });
        let invited = Op::PersonInvite { who, name: subject.into(), groups: Default::default() };
        let _ = self.world.admin().await.ask(invited).await; // or invited before
        let (device, http) = (key(), self.world.http());
        let nonce = http.post(self.world.url(NONCE_PATH)).send().await.unwrap().bytes().await.unwrap();
        let Nonce { nonce, time } = serde_json::from_slice(&nonce).unwrap();
        let now = Clock.wall().as_secs();
        let id_token = self.sign(&json!({
            "iss": issuer, "sub": subject, "aud": "openztna", "exp": now + 300, "iat": now, "sid": idp_sid,
            "nonce": id_nonce(&self.world.org.org, &thumbprint(&device.public_key()), &nonce),
        }));
        let proof = Claims {
            jti: base64url::encode(SystemRandom::new().array::<16>()),
            htm: "POST".into(),
            htu: self.world.url(TOKEN_PATH),
            iat: time.as_secs(),
            nonce: Some(nonce.clone()),
            ath: None,
        };
        let form = openidconnect::url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", EXCHANGE),
                ("subject_token", &id_token),
                ("subject_token_type", ID_TOKEN),
                ("salt", &nonce),
                ("device_name", "phone"),
            ])
            .finish();
        let request = http.post(self.world.url(TOKEN_PATH)).header("content-type", FORM);
        let proof = dpop::prove(&device, &proof).unwrap();
        let answer = request.header("dpop", proof).body(form).send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    /// The sessions that live, by whose they are.
    async fn sessions(&self) -> Vec<String> {
        let Answer::Sessions { sessions } = self.world.ask(Op::Sessions {}).await else { panic!() };
        let mut subjects: Vec<_> = sessions.into_iter().map(|session| session.person.subject).collect();
        subjects.sort();
        subjects
    }

    /// What a logout token of now says.
    fn claims(&self) -> Value {
        let now = Clock.wall().as_secs();
        json!({
            "iss": self.elsewhere.issuer, "aud": "openztna", "iat": now, "exp": now + 120, "sub": "ana",
            "jti": base64url::encode(SystemRandom::new().array::<16>()), "events": {EVENT: {}},
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    async fn say(&self, token: &str) -> (u16, String) {
        let form = format!("logout_token={token}");
        let request = self.world.http().post(self.world.url(LOGOUT_PATH)).header("content-type", FORM);
        let answer = request.body(form).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn p3_7_a_logout_with_a_sid_ends_that_sign_in_s_sessions_and_without_it_all_of_the_person_s() {
    let scene = Scene::new().await;
    for (subject, idp_sid) in [("ana", "s1"), ("ana", "s2"), ("ana", "s3"), ("bo", "s4"), ("bo", "s5")] {
        scene.session(subject, idp_sid).await;
    }
    assert_eq!(scene.sessions().await, ["ana", "ana", "ana", "bo", "bo"]);
    let mut by_sid = scene.with("sid", json!("s1"));
    assert_eq!(scene.say(&scene.sign(&by_sid)).await, (200, String::new()));
    assert_eq!(scene.sessions().await, ["ana", "ana", "bo", "bo"]);

    by_sid = scene.with("sid", json!("s4"));
    by_sid.as_object_mut().unwrap().remove("sub");
    scene.say(&scene.sign(&by_sid)).await;
    assert_eq!(scene.sessions().await, ["ana", "ana", "bo"], "a sid alone is enough");
    let (status, _) = scene.say(&scene.sign(&scene.with("sid", json!("s5")))).await;
    assert_eq!((status, scene.sessions().await.len()), (200, 3), "another person's sid ends nothing");

    scene.say(&scene.sign(&scene.claims())).await;
    assert_eq!(scene.sessions().await, ["bo"]);
    let again = scene.say(&scene.sign(&scene.claims())).await;
    assert_eq!(again.0, 200, "nobody is there any more: that is no error");
}

#[tokio::test]
async fn p3_7_logout_tokens_that_are_refused_end_nothing() {
    let scene = Scene::new().await;
    scene.session("ana", "s1").await;
    let (other, now) = (key(), Clock.wall().as_secs());
    let good = scene.claims();
    let typ = |typ: &str| {
        let header = Header { kid: Some("k1".into()), ..Header::default() };
        jws::sign(&scene.key, typ, &scene.claims(), header).unwrap()
    };
    let text = scene.sign(&good);
    let (_, rest) = text.split_once('.').unwrap();
    let header = |header: Value| format!("{}.{rest}", base64url::encode(header.to_string()));
    let without = |name: &str| {
        let mut claims = scene.claims();
        claims.as_object_mut().unwrap().remove(name);
        scene.sign(&claims)
    };
    let embedded = {
        let header = Header { jwk: Some(other.public_key()), ..Header::default() };
        jws::sign(&other, "logout+jwt", &scene.claims(), header).unwrap()
    };
    let critical = {
        let header = Header { kid: Some("k1".into()), crit: vec!["x".into()], ..Header::default() };
        jws::sign(&scene.key, "logout+jwt", &scene.claims(), header).unwrap()
    };
    let rows = [
        ("nothing", String::new()),
        ("no JWT", "x.y.z".into()),
        ("another key", sign(&other, "k1", &good)),
        ("an unknown key", sign(&scene.key, "k2", &good)),
        ("a key it brings along", embedded),
        ("no algorithm", header(json!({"alg": "none"}))),
        ("a MAC with the public key", header(json!({"alg": "HS256", "kid": "k1"}))),
        ("something critical", critical),
        ("another type", typ("at+jwt")),
        ("another issuer", scene.sign(&scene.with("iss", json!("https://evil.example")))),
        ("another client", scene.sign(&scene.with("aud", json!("other")))),
        ("no client", scene.sign(&scene.with("aud", json!([])))),
        ("six minutes old", scene.sign(&scene.with("iat", json!(now - 361)))),
        ("over", scene.sign(&scene.with("exp", json!(now - 61)))),
        ("of tomorrow", scene.sign(&scene.with("iat", json!(now + 3600)))),
        ("no time", without("iat")),
        ("no event", without("events")),
        ("another event", scene.sign(&scene.with("events", json!({"x": {}})))),
        ("an event that says nothing", scene.sign(&scene.with("events", json!({EVENT: 1})))),
        ("a nonce", scene.sign(&scene.with("nonce", json!("n")))),
        ("nobody", without("sub")),
        ("no id", without("jti")),
        ("an empty id", scene.sign(&scene.with("jti", json!("")))),
        (
            "an ID token",
            scene.sign(&json!({
                "iss": scene.elsewhere.issuer, "sub": "ana", "aud": "openztna", "exp": now + 300, "iat": now,
                "jti": "0123456789",
            })),
        ),
    ];
    for (what, token) in rows {
        let (status, body) = scene.say(&token).await;
        assert_eq!(status, 400, "{what}: {body}");
        assert!(body.contains("invalid_request"), "{what}: {body}");
        assert_eq!(scene.sessions().await, ["ana"], "{what}");
    }
    let other_form =
        scene.world.http().post(scene.world.url(LOGOUT_PATH)).json(&json!({"logout_token": text}));
    assert_eq!(other_form.send().await.unwrap().status(), 400);
    for typ in [typ("JWT"), typ("application/logout+JWT")] {
        scene.session("ana", "s1").await;
        assert_eq!(scene.say(&typ).await.0, 200, "and this is how it is done");
        assert_eq!(scene.sessions().await.len(), 0);
    }
}

#[tokio::test]
async fn p3_8_a_logout_token_is_good_once() {
    let scene = Scene::new().await;
    scene.session("ana", "s1").await;
    let token = scene.sign(&scene.claims());
    assert_eq!(scene.say(&token).await.0, 200);
    scene.session("ana", "s2").await;
    let (status, body) = scene.say(&token).await;
    assert_eq!(status, 400);
    assert!(body.contains("used before"), "{body}");
    assert_eq!(scene.sessions().await, ["ana"], "who signed in again stays in");
}

#[tokio::test]
async fn the_own_provider_sends_no_logout_tokens() {
    let world = World::new().await;
    let answer = world.http().post(world.url(LOGOUT_PATH)).body("logout_token=x").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

const FORM: &str = "application/x-www-form-urlencoded";
