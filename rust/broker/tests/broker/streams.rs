//! Control streams: who gets one, what is said on it, how it ends.

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use ztna_api::device::FromDevice;

use crate::phone::{Phone, Stream};
use crate::world::World;

/// The status with which a stream is refused.
fn refused(outcome: Result<crate::phone::Socket, Error>) -> u16 {
    match outcome {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}

async fn signed_in() -> (World, Phone) {
    let world = World::new().await;
    world.person("ana").await;
    let phone = Phone::of(&world, "ana").await;
    (world, phone)
}

#[tokio::test]
async fn p3_5_requests_for_a_stream_that_are_refused_before_there_is_one() {
    let (world, phone) = signed_in().await;
    let set = |name: &'static str, value: &'static str| {
        move |parts: &mut http::request::Parts| {
            parts.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    };
    let rows = [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("sec-websocket-protocol", "other", 400),
        ("authorization", "DPoP wrong", 401),
        ("authorization", "Bearer x", 401),
        ("dpop", "x", 401),
    ];
    for (name, value, expected) in rows {
        assert_eq!(refused(phone.open_stream(&world, set(name, value)).await), expected, "{name}: {value}");
    }
    let own = format!("https://{}", world.org.org.authority());
    let same = |parts: &mut http::request::Parts| {
        parts.headers.insert("origin", HeaderValue::from_str(&own).unwrap());
    };
    assert_eq!(refused(phone.open_stream(&world, same).await), 403, "not even our own pages");
    let gone = |parts: &mut http::request::Parts| drop(parts.headers.remove("dpop"));
    assert_eq!(refused(phone.open_stream(&world, gone).await), 401);
    assert_eq!(refused(phone.open_stream(&world, |_| ()).await), 101, "and a good one is taken");
}

#[tokio::test]
async fn a07_a_stolen_access_token_opens_nothing() {
    let (world, phone) = signed_in().await;
    let mut mallory = Phone::new(&world);
    mallory.signed_in = None;
    let proof = {
        let claims = ztna_api::dpop::Claims {
            jti: "0123456789abcdef".into(),
            htm: "GET".into(),
            htu: world.url("/v1/stream"),
            iat: ztna_net::clock::Clock.wall().as_secs(),
            nonce: None,
            ath: Some(ztna_api::dpop::token_hash(phone.tokens().access.expose())),
        };
        HeaderValue::from_str(&ztna_api::dpop::prove(&*mallory.key, &claims).unwrap()).unwrap()
    };
    let his = |parts: &mut http::request::Parts| drop(parts.headers.insert("dpop", proof));
    assert_eq!(refused(phone.open_stream(&world, his).await), 401);
}

#[tokio::test]
async fn f03_frames_that_end_a_stream() {
    let (world, mut phone) = signed_in().await;
    let long = format!(r#"{{"type":"hello","x":"{}"}}"#, "x".repeat(FromDevice::LONGEST));
    let deep = format!(r#"{{"type":"hello","x":{}"#, "[".repeat(64));
    let rows = [
        ("too long", Message::text(long), 1009),
        ("too deep", Message::text(deep), 1007),
        ("no JSON", Message::text("x"), 1007),
        ("unheard of", Message::text(r#"{"type":"adieu"}"#), 1007),
        (
            "a must that is unknown",
            Message::text(r#"{"type":"need-nonces","count":1,"must":["z"],"z":1}"#),
            1007,
        ),
        ("binary", Message::binary(vec![0]), 1003),
    ];
    for (what, message, expected) in rows {
        let mut stream = phone.stream(&world).await;
        stream.wait_for("resources").await;
        stream.0.send(message).await.unwrap();
        assert_eq!(stream.closed().await, Some(expected), "{what}");
    }
}

#[tokio::test]
async fn a_stream_without_a_hello_hears_nothing() {
    let (world, phone) = signed_in().await;
    let mut stream = Stream(phone.open_stream(&world, |_| ()).await.unwrap());
    assert!(stream.is_quiet().await);
    stream.0.send(Message::Ping(vec![1].into())).await.unwrap();
    assert!(matches!(stream.0.next().await, Some(Ok(Message::Pong(_)))));
}

#[tokio::test]
async fn a_broker_that_stops_says_come_back_and_knows_its_sessions_afterwards() {
    let (mut world, mut phone) = signed_in().await;
    let mut stream = phone.stream(&world).await;
    stream.wait_for("resources").await;
    let close = tokio::spawn(async move { stream.closed().await });
    world.stop().await;
    assert_eq!(close.await.unwrap(), Some(1012));

    world.start().await;
    let mut stream = phone.stream(&world).await;
    stream.wait_for("resources").await;
    let refresh = phone.tokens().refresh.clone();
    phone.renew(refresh).await.unwrap();
}

#[tokio::test]
async fn p3_5_two_devices_with_one_key_are_both_ended() {
    let (world, mut ana) = signed_in().await;
    let mut stream = ana.stream(&world).await;
    stream.wait_for("resources").await;
    // Mallory has everything that is on Ana's disk, and comes with a link of his own.
    let mut mallory = Stream(ana.open_stream(&world, |_| ()).await.unwrap());
    let hello = ztna_api::device::Hello {
        org: world.org.org.clone(),
        versions: ztna_api::discovery::Versions::OURS,
        prev: None,
        next: ztna_model::LinkId([7; 16]),
        software: "stolen".into(),
        platform: "linux".into(),
    };
    mallory.say(hello).await;
    assert_eq!(stream.wait_for("ended").await.kind(), "ended");
    assert!(stream.closed().await.is_some());
    assert!(mallory.closed().await.is_some());
}
