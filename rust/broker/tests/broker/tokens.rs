//! The endpoints for sessions: what they give, and what they refuse.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use ztna_api::discovery::Discovery;
use ztna_api::dpop::{self, Claims};
use ztna_api::keyset::KeySet;
use ztna_api::token::{self, Nonce, TOKEN_PATH};
use ztna_auth::RenewalError;
use ztna_model::{Random as _, Secret, Signer, base64url, millis};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;

use crate::phone::Phone;
use crate::world::World;

const FORM: &str = "application/x-www-form-urlencoded";

async fn nonce(world: &World) -> Nonce {
    let answer = world.http().post(world.url(token::NONCE_PATH)).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let header = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    let nonce: Nonce = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(nonce.nonce, header);
    nonce
}

async fn claims(world: &World) -> Claims {
    let nonce = nonce(world).await;
    Claims {
        jti: base64url::encode(SystemRandom::new().array::<16>()),
        htm: "POST".into(),
        htu: world.url(TOKEN_PATH),
        iat: nonce.time.as_secs(),
        nonce: Some(nonce.nonce),
        ath: None,
    }
}

/// Sends a refresh with these proofs and says how it was answered: the status and the error.
async fn refresh(world: &World, refresh: &str, proofs: &[String]) -> (StatusCode, Value) {
    ask(world, format!("grant_type=refresh_token&refresh_token={refresh}"), proofs).await
}

async fn exchange(world: &World, id_token: &str, proofs: &[String]) -> (StatusCode, Value) {
    let token = format!("subject_token={id_token}&subject_token_type={}", token::ID_TOKEN);
    let form = format!("grant_type={}&{token}&salt=x&device_name=laptop", token::EXCHANGE);
    ask(world, form, proofs).await
}

async fn ask(world: &World, form: String, proofs: &[String]) -> (StatusCode, Value) {
    let mut request = world.http().post(world.url(TOKEN_PATH)).header("content-type", FORM);
    for proof in proofs {
        request = request.header("dpop", proof);
    }
    let answer = request.body(form).send().await.unwrap();
    assert!(answer.headers().contains_key("dpop-nonce"), "{:?}", answer.headers());
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body)
}

#[tokio::test]
async fn f01_discovery_says_what_devices_need_and_repeats_nothing_that_was_said() {
    let world = World::new().await;
    let request = world.http().get(world.url("/.well-known/openztna")).header("host", "evil.example");
    let answer = request.header("x-forwarded-host", "evil.example").send().await.unwrap();
    let discovery: Discovery = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(discovery.org, world.org.org);
    assert_eq!(discovery.issuer, world.url("/openid"));
    assert!(KeySet::verify(&discovery.keys, &world.org.org, &world.root(), 1).is_ok());
    assert!(discovery.scopes.contains(&"openid".to_owned()));
    assert!(Clock.wall().since(discovery.time) < millis(10_000));
}

#[tokio::test]
async fn a07_proofs_that_are_refused() {
    let world = World::new().await;
    world.person("ana").await;
    let phone = Phone::of(&world, "ana").await;
    let (key, other) = (&*phone.key, P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap());
    let secret = phone.tokens().refresh.expose().clone();
    let sound = claims(&world).await;
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = sound.clone();
        claims.jti = base64url::encode(SystemRandom::new().array::<16>());
        change(&mut claims);
        vec![dpop::prove(key, &claims).unwrap()]
    };
    let stale = sound.iat - 61;
    let (host, bad) = (world.org.org.authority(), "invalid_dpop_proof");
    let rows = [
        ("none", vec![], bad),
        ("two", [with(&|_| ()), with(&|_| ())].concat(), bad),
        ("no JWS", vec!["x".into()], bad),
        ("another method", with(&|claims| claims.htm = "GET".into()), bad),
        ("another path", with(&|claims| claims.htu.push('x')), bad),
        ("another host", with(&|claims| claims.htu = claims.htu.replace(host, "evil.example")), bad),
        ("without TLS", with(&|claims| claims.htu = claims.htu.replace("https", "http")), bad),
        ("an old one", with(&|claims| claims.iat = stale), bad),
        ("with another token", with(&|claims| claims.ath = Some("x".into())), bad),
        ("no id", with(&|claims| claims.jti.clear()), bad),
        ("no nonce", with(&|claims| claims.nonce = None), "use_dpop_nonce"),
        ("a nonce of nobody's", with(&|claims| claims.nonce = Some("x".into())), "use_dpop_nonce"),
        ("another key", vec![dpop::prove(&other, &sound).unwrap()], "invalid_grant"),
    ];
    for (what, proofs, expected) in rows {
        let (status, body) = refresh(&world, &secret, &proofs).await;
        assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!(expected)), "{what}: {body}");
    }
}

#[tokio::test]
async fn p3_1_nobody_looks_at_an_id_token_without_a_nonce_of_ours() {
    let world = World::new().await;
    let key = P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap();
    let sound = claims(&world).await;
    let rows = [
        (None, "use_dpop_nonce"),
        (Some("x".to_owned()), "use_dpop_nonce"),
        (sound.nonce.clone(), "invalid_grant"),
    ];
    for (nonce, expected) in rows {
        let jti = base64url::encode(SystemRandom::new().array::<16>());
        let proof = dpop::prove(&key, &Claims { jti, nonce, ..sound.clone() }).unwrap();
        let (status, body) = exchange(&world, "no.id.token", &[proof]).await;
        assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!(expected)), "{body}");
    }
}

#[tokio::test]
async fn a07_a_proof_is_good_once() {
    let world = World::new().await;
    world.person("ana").await;
    let phone = Phone::of(&world, "ana").await;
    let proof = vec![dpop::prove(&*phone.key, &claims(&world).await).unwrap()];
    let secret = phone.tokens().refresh.expose().clone();
    assert_eq!(refresh(&world, &secret, &proof).await.0, StatusCode::OK);
    let (status, body) = refresh(&world, &secret, &proof).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_dpop_proof")), "{body}");
}

#[tokio::test]
async fn p3_4_a_lost_answer_is_repeated_to_the_same_key_and_a_used_one_ends_the_session() {
    let world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    let first = phone.tokens().refresh.clone();
    let second = phone.renew(first.clone()).await.unwrap();
    let again = phone.renew(first.clone()).await.unwrap();
    assert_eq!((&second.access, &second.refresh), (&again.access, &again.refresh), "the same sealed answer");
    phone.renew(second.refresh.clone()).await.unwrap();
    let stream = phone.open_stream(&world, |_| ()).await;
    assert!(stream.is_ok(), "the new pair is in use");

    // Within the grace the same key may still have lost the answer; another key cannot have.
    assert!(phone.renew(first.clone()).await.is_ok());
    let mut mallory = Phone::new(&world);
    mallory.signed_in = phone.signed_in.take();
    let refresh = mallory.tokens().refresh.clone();
    let honest = mallory.possession();
    let key = std::sync::Arc::clone(&mallory.key) as _;
    let mut possession = ztna_auth::Possession::new(world.org.org.clone(), key);
    possession.learn(&nonce(&world).await, Clock.now());
    mallory.signed_in.as_mut().unwrap().possession = possession;
    let replayed = mallory.renew(first).await;
    assert!(matches!(replayed, Err(RenewalError::SessionOver(_))), "{replayed:?}");
    phone.signed_in = mallory.signed_in.take();
    phone.signed_in.as_mut().unwrap().possession = honest;
    assert!(matches!(phone.renew(refresh).await, Err(RenewalError::SessionOver(_))), "the family is dead");
}

#[tokio::test]
async fn a06_a_stolen_refresh_token_is_of_no_use_to_another_key() {
    let world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    let mut mallory = Phone::new(&world);
    mallory.signed_in = phone.signed_in.take();
    let signed_in = mallory.signed_in.as_mut().unwrap();
    let possession =
        ztna_auth::Possession::new(world.org.org.clone(), std::sync::Arc::clone(&mallory.key) as _);
    let honest = std::mem::replace(&mut signed_in.possession, possession);
    let stolen = signed_in.tokens.refresh.clone();
    // His own proofs are dated by his clock, which is right on this machine; the nonce comes with the refusal.
    signed_in.possession.learn(&nonce(&world).await, Clock.now());
    assert!(matches!(mallory.renew(stolen.clone()).await, Err(RenewalError::SessionOver(_))));
    let mut signed_in = mallory.signed_in.take().unwrap();
    signed_in.possession = honest;
    phone.signed_in = Some(signed_in);
    drop(phone.renew(stolen).await); // whether the owner is thrown out as well is for the decision to say
}

#[tokio::test]
async fn f03_requests_that_are_too_long_or_of_no_kind_are_refused() {
    let world = World::new().await;
    let http = world.http();
    let send = async |method: Method, path: &str, kind: &str, body: String| {
        let request = http.request(method, world.url(path)).header("content-type", kind).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("content-type").cloned())
    };
    let long = "x".repeat(token::LONGEST + 1);
    let rows = [
        (Method::POST, TOKEN_PATH, FORM, format!("grant_type=refresh_token&refresh_token={long}"), 413),
        (Method::POST, "/v1/gateways/enrol", "application/json", format!("\"{long}\""), 413),
        (Method::POST, TOKEN_PATH, "application/json", "{}".into(), 400),
        (Method::POST, TOKEN_PATH, FORM, "grant_type=password".into(), 400),
        (Method::POST, "/v1/gateways/enrol", "application/json", "[[[[[[[[[[[[[[[[[[".into(), 400),
        (Method::POST, "/v1/gateways/enrol", "application/json", "{}".into(), 400),
        (Method::GET, TOKEN_PATH, FORM, String::new(), 405),
        (Method::GET, "/v1/nothing", FORM, String::new(), 404),
        (Method::POST, "/v1/sign-out", FORM, String::new(), 401),
        (Method::POST, "/v1/gateways/renew", "application/json", "{}".into(), 404),
        (Method::GET, "/v1/gateways/stream", "text/plain", String::new(), 404),
    ];
    for (method, path, kind, body, expected) in rows {
        let (status, _) = send(method, path, kind, body).await;
        assert_eq!(status, expected, "{path}");
    }
    let (_, kind) = send(Method::GET, "/v1/nothing", FORM, String::new()).await;
    assert_eq!(kind.unwrap(), "application/problem+json");
}

#[tokio::test]
async fn h01_a_flood_from_one_address_is_slowed_down() {
    let world = World::with(|config| {
        config.limits.requests_at_once = 5;
        config.limits.requests_per_second = 1;
    })
    .await;
    let http = world.http();
    let mut statuses = vec![];
    for _ in 0..10 {
        let answer = http.post(world.url(token::NONCE_PATH)).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            let error: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            assert_eq!(error["error"], "slow_down");
        }
    }
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses.iter().filter(|status| **status == 429).count() >= 3, "{statuses:?}");
    let discovery = http.get(world.url("/.well-known/openztna")).send().await.unwrap();
    assert_eq!(discovery.status(), 200, "discovery costs nothing");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_its_stream() {
    let world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    let mut stream = phone.stream(&world).await;
    stream.wait_for("resources").await;
    let (access, random) = (phone.tokens().access.clone(), &mut SystemRandom::new());
    let request =
        phone.possession().request(Method::POST, token::SIGN_OUT_PATH, Some(&access), Clock.now(), random);
    let answer = phone.call(request.unwrap().body(vec![]).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(stream.wait_for("ended").await.kind(), "ended");
    assert_eq!(stream.closed().await, Some(1000));
    let refresh = phone.tokens().refresh.clone();
    assert!(matches!(phone.renew(refresh).await, Err(RenewalError::SessionOver(_))));
    let never: Secret<String> = Secret::new("never given".into());
    assert!(matches!(phone.renew(never).await, Err(RenewalError::SessionOver(_))));
    assert_ne!(phone.key.public_key().to_spki(), Vec::<u8>::new());
}
