//! Gateways come in: enrolment, certificates, and the listener that is theirs alone.

use http::StatusCode;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztna_api::admin::{Answer, GatewayState, Op};
use ztna_api::keyset::KeySet;
use ztna_broker::keys::KeyRing;
use ztna_broker::store::sqlite::{Options, Sqlite};
use ztna_broker::store::{Change, Edit, Store};
use ztna_model::{OrgId, Signer as _, base64url, minutes, secs};
use ztna_net::clock::Clock;
use ztna_net::tls::{self, Alpn, GatewayName, GatewayPeer, Trust, check_gateway_chain};

use crate::dir::TempDir;
use crate::gate::Gate;
use crate::phone::Phone;
use crate::world::World;

const HOUR: u64 = 3600;

fn name(org: &OrgId, gateway: &str) -> GatewayName {
    GatewayName { org: org.clone(), gateway: gateway.parse().unwrap() }
}

fn keys(world: &World) -> KeyRing {
    KeyRing::open(&world.state("keys"), &world.org.org, Clock.wall()).unwrap()
}

async fn state(world: &World) -> GatewayState {
    let Answer::Gateways { gateways } = world.ask(Op::Gateways {}).await else { panic!() };
    gateways[0].state
}

#[tokio::test]
async fn a_gateway_enrols_with_its_token_and_is_what_the_broker_says() {
    let world = World::new().await;
    let token = world.gateway_token("gw-1").await;
    assert_eq!(state(&world).await, GatewayState::Expected);
    let gate = Gate::of(&world, &token).await;
    let enrolled = gate.enrolled.clone().unwrap();
    assert_eq!((enrolled.gateway.as_str(), enrolled.site.as_str()), ("gw-1", "hq"));
    assert_eq!(enrolled.org, world.org.org);
    assert_eq!(enrolled.listener, world.gateways.to_string());
    assert!(KeySet::verify(&enrolled.keys, &world.org.org, &world.root(), 1).is_ok());

    let authority = keys(&world).gateway_ca().certificate().unwrap().to_vec();
    let chain = [gate.certificate().to_vec()];
    let peer = check_gateway_chain(&chain, &authority, &world.org.org, Clock.wall()).unwrap();
    assert_eq!(peer.name, name(&world.org.org, "gw-1"), "whatever its request named");
    assert_eq!(peer.spki, gate.key().public_key().to_spki());
    assert!(
        peer.not_after < Clock.wall() + secs(25 * HOUR) && peer.not_after > Clock.wall() + secs(23 * HOUR)
    );
    assert_eq!(state(&world).await, GatewayState::Away);
}

#[tokio::test]
async fn b01_a_gateway_s_token_is_good_once() {
    let world = World::new().await;
    let token = world.gateway_token("gw-1").await;
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (http, url) = (world.http(), world.url("/v1/gateways/enrol"));
        let secret = token.expose().rsplit('!').next().unwrap().to_owned();
        let request = base64url::encode(Gate::new().request());
        let body = json!({"token": secret, "request": request, "software": "test"});
        at_once.spawn(async move { http.post(url).json(&body).send().await.unwrap().status() });
    }
    let statuses = at_once.join_all().await;
    assert_eq!(statuses.iter().filter(|status| status.is_success()).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| status.is_success() || *status == StatusCode::FORBIDDEN));
    let (status, body) = Gate::new().enrol(&world, &token).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(body["detail"], "the enrolment token is not good, or was used before");
}

#[tokio::test]
async fn a_gateway_s_token_is_good_for_ten_minutes() {
    let mut world = World::new().await;
    let token = world.gateway_token("gw-1").await;
    world.stop().await;
    let options = Options { writer: "broker-1".into(), patience: secs(5) };
    let store = Sqlite::open(&world.state("store.sqlite"), options).await.unwrap();
    let (org, store) = (world.org.org.clone(), std::sync::Arc::new(store) as std::sync::Arc<dyn Store>);
    let kept = store.documents(&org, &["enrolments"]).await.unwrap();
    let mut aged = 0;
    for document in kept {
        let mut row: serde_json::Value = serde_json::from_str(&document.text).unwrap();
        if row["kind"].to_string().contains("gw-1") {
            let expires = row["expires"].as_u64().unwrap();
            assert!(expires <= (Clock.wall() + minutes(10)).as_millis(), "{row}");
            row["expires"] = json!(Clock.wall().as_millis() - 1);
            aged += 1;
        }
        let edits =
            vec![Edit::Put { table: "enrolments", key: document.key, text: row.to_string(), until: None }];
        store.write_one(&org, Change { edits, ..Change::default() }).await.unwrap().unwrap();
    }
    assert_eq!(aged, 1);
    drop(store);
    world.start().await;
    assert_eq!(Gate::new().enrol(&world, &token).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_to_enrol_that_are_refused() {
    let world = World::new().await;
    let token = world.gateway_token("gw-1").await;
    let secret = token.expose().rsplit('!').next().unwrap();
    let good = Gate::new().request();
    let ed25519 = {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        CertificateParams::default().serialize_request(&pair).unwrap().der().to_vec()
    };
    let forged = {
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        forged
    };
    let rows = [
        ("a token of nobody's", "0123456789abcdef", good.clone(), 403),
        ("no token", "", good.clone(), 403),
        ("a request that its key did not sign", secret, forged, 400),
        ("a key of another kind", secret, ed25519, 400),
        ("no request", secret, vec![], 400),
    ];
    for (what, token, request, expected) in rows {
        let body = json!({"token": token, "request": base64url::encode(request), "software": "test"});
        let answer = world.http().post(world.url("/v1/gateways/enrol")).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{what}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(secret), "{what}: {text}");
    }
    let device = world.ask(Op::DeviceToken { person: None, life_s: 60 }).await;
    let Answer::Token { token: device, .. } = device else { panic!() };
    assert_eq!(Gate::new().enrol(&world, &device).await.0, StatusCode::FORBIDDEN, "a device's token");
    Gate::of(&world, &token).await; // and none of that has used it up
}

#[tokio::test]
async fn p5_12_a_gateway_renews_with_its_own_key_even_when_its_certificate_ran_out_lately() {
    let world = World::new().await;
    let gate = world.gateway("gw-1").await;
    let now = Clock.wall();
    let days = |days: u64| now - secs(days * 24 * HOUR);
    let (ring, name) = (keys(&world), name(&world.org.org, "gw-1"));
    let rows = [
        ("half its life ago", gate.certified_by(&ring, &name, now - secs(12 * HOUR)), Some(200)),
        ("ran out yesterday", gate.certified_by(&ring, &name, days(2)), Some(200)),
        ("ran out 29 days ago", gate.certified_by(&ring, &name, days(30)), Some(200)),
        ("ran out 31 days ago", gate.certified_by(&ring, &name, days(32)), None),
        ("not yet", gate.certified_by(&ring, &name, now + secs(HOUR)), None),
    ];
    for (what, certificate, expected) in rows {
        let answer = gate.renew(&world, certificate, &gate.request()).await.ok();
        assert_eq!(answer.as_ref().map(|(status, _)| status.as_u16()), expected, "{what}");
        let Some((_, body)) = answer else { continue };
        let der = base64url::decode(body["chain"][0].as_str().unwrap()).unwrap();
        let peer = GatewayPeer::from_certificate(&der).unwrap();
        assert_eq!((&peer.name, peer.spki), (&name, gate.key().public_key().to_spki()), "{what}");
        assert!(peer.not_after > now + secs(23 * HOUR), "{what}");
    }
    let old = gate.certified_by(&ring, &name, days(2));
    match gate.open_stream(&world, old).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 403),
        other => panic!("a certificate that ran out opens no stream: {other:?}"),
    }
}

#[tokio::test]
async fn p5_12_renewals_that_are_refused() {
    let world = World::new().await;
    let gate = world.gateway("gw-1").await;
    let (other, ring) = (Gate::new(), keys(&world));
    let status = async |certificate, request: &[u8]| {
        gate.renew(&world, certificate, request).await.unwrap().0.as_u16()
    };
    let own = || gate.certificate();
    assert_eq!(status(own(), &other.request()).await, 403, "another key");
    assert_eq!(status(own(), b"x").await, 400);
    let unheard_of = gate.certified_by(&ring, &name(&world.org.org, "gw-2"), Clock.wall());
    assert_eq!(status(unheard_of, &gate.request()).await, 403, "no such gateway");
    // A certificate that was given to another key, though by the right authority.
    let theirs = other.certified_by(&ring, &name(&world.org.org, "gw-1"), Clock.wall());
    let answer = other.renew(&world, theirs, &other.request()).await.unwrap();
    assert_eq!(answer.0, StatusCode::FORBIDDEN, "{}", answer.1);

    let Answer::Revoked(_) = world.ask(Op::GatewayRevoke { gateway: gate.id() }).await else { panic!() };
    assert_eq!(status(own(), &gate.request()).await, 403, "revoked");
    let (status, _) = Gate::new().enrol(&world, &world.gateway_token("gw-3").await).await;
    assert_eq!(status, StatusCode::OK, "others are not touched");
}

#[tokio::test]
async fn e01_nobody_but_a_gateway_gets_in_at_the_gateways_listener() {
    let world = World::new().await;
    let gate = world.gateway("gw-1").await;
    let ours = name(&world.org.org, "gw-1");
    // Somebody who has made an organisation of the same name, with a root of his own.
    let dir = TempDir::new();
    let mallorys = KeyRing::open(&dir.path("keys"), &world.org.org, Clock.wall()).unwrap();
    let elsewhere: OrgId = "https://other.example".parse().unwrap();
    let rows = [
        ("another authority", gate.certified_by(&mallorys, &ours, Clock.wall())),
        ("another organisation", gate.certified_by(&keys(&world), &name(&elsewhere, "gw-1"), Clock.wall())),
        ("its own authority", self_signed(&gate, &ours)),
    ];
    for (what, certificate) in rows {
        assert!(gate.renew(&world, certificate, &gate.request()).await.is_err(), "{what}");
    }
    // A device, which has no certificate.
    let url = format!("https://{}/v1/gateways/renew", world.gateways);
    assert!(world.http().post(&url).json(&json!({"request": ""})).send().await.is_err());
    let tls = tls::client_config(&Trust::Pinned(world.root()), None, Alpn::Http1).unwrap();
    let tcp = tokio::net::TcpStream::connect(world.gateways).await.unwrap();
    let server = tls::server_name(&world.org.org).unwrap();
    let mut stream = tls::connect(tcp, server, tls, secs(10)).await.unwrap(); // TLS 1.3: the server's word comes later
    let _ = stream.write_all(b"GET /v1/gateways/stream HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = vec![];
    assert!(stream.read_to_end(&mut answer).await.is_err(), "an alert");
    assert_eq!(answer, b"");
}

/// A certificate that the gateway's key has made out to itself.
fn self_signed(gate: &Gate, name: &GatewayName) -> CertificateDer<'static> {
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(gate.pkcs8().expose().as_slice())).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.to_string().try_into().unwrap())];
    params.self_signed(&pair).unwrap().der().clone()
}

#[tokio::test]
async fn a_gateway_s_certificate_opens_nothing_that_is_for_devices() {
    let world = World::new().await;
    world.person("ana").await;
    let gate = world.gateway("gw-1").await;
    let http = gate.http(&world, gate.certificate());
    for path in ["/v1/token", "/v1/nonce", "/v1/sign-out", "/v1/gateways/enrol", "/openid/token"] {
        let at_gateways = http.post(format!("https://{}{path}", world.gateways)).send().await.unwrap();
        assert_eq!(at_gateways.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/.well-known/openztna", "/v1/stream", "/openid/authorize"] {
        let at_gateways = http.get(format!("https://{}{path}", world.gateways)).send().await.unwrap();
        assert_eq!(at_gateways.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // The public listener asks for no certificate, and one that is offered changes nothing.
    let refused = http.get(world.url("/v1/stream")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let refused =
        http.post(world.url("/v1/gateways/renew")).json(&json!({"request": ""})).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    // Nor does a person's session open anything for a gateway.
    let phone = Phone::of(&world, "ana").await;
    let access = phone.tokens().access.expose().clone();
    let request = http.get(format!("https://{}/v1/stream", world.gateways));
    let answer = request.header("authorization", format!("DPoP {access}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_revoked_gateway_s_stream_is_closed_and_no_other_is_opened() {
    let world = World::new().await;
    let gate = world.gateway("gw-1").await;
    let mut stream = gate.connect(&world).await;
    stream.listed().await;
    assert_eq!(state(&world).await, GatewayState::Up);
    world.ask(Op::GatewayRevoke { gateway: gate.id() }).await;
    let close = loop {
        if let Err(close) = stream.next().await {
            break close;
        }
    };
    assert_eq!(close, Some(1000));
    let mut again = gate.connect(&world).await;
    assert_eq!(again.next().await.err(), Some(Some(1000)));
    assert_eq!(state(&world).await, GatewayState::Revoked);
}

#[tokio::test]
async fn a_gateway_that_is_not_who_it_says_is_closed() {
    let world = World::new().await;
    let (one, two) = (world.gateway("gw-1").await, world.gateway("gw-2").await);
    let mut stream = one.connect_saying(&world, two.id()).await;
    assert_eq!(stream.next().await.err(), Some(Some(1000)));
    let mut stream = one.connect(&world).await;
    stream.listed().await;
}
