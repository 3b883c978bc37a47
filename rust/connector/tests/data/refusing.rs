use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztna_connector::local::{Local, LocalConfig, LocalError};
use ztna_connector::plane::OpenError;
use ztna_model::DenyReason;
use ztna_net::random::SystemRandom;

use crate::gateway::Leads;
use crate::world::{PORT, World, config, echo, inside, rest};

/// What an application reads in all for one CONNECT.
async fn whole_answer(world: &World, authority: &str) -> Vec<u8> {
    let (head, mut stream) = world.connect(authority).await;
    let mut answer = head.into_bytes();
    answer.extend(rest(&mut stream).await);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_said_in_both_protocols() {
    let world = World::new().await;
    world.grant(1, Leads::Nowhere).await;
    let rows = [
        ("unfit.demo", "HTTP/1.1 403 ", 2),
        ("hidden.demo", "HTTP/1.1 502 ", 4),
        ("app-1.demo", "HTTP/1.1 502 ", 5),
        // No rule covers it: as good as absent.
        ("app-9.demo", "HTTP/1.1 502 ", 4),
    ];
    for (name, http, socks) in rows {
        let (answer, _) = world.connect(&format!("{name}:{PORT}")).await;
        assert!(answer.starts_with(http), "{name}: {answer}");
        assert_eq!(world.socks(name, PORT).await.0, socks, "{name}");
    }
    world.until(|status| status.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_like_what_does_not_exist() {
    let world = World::new().await;
    let hidden = whole_answer(&world, "hidden.demo:80").await;
    assert_eq!(hidden, whole_answer(&world, "absent.demo:80").await);
    assert_eq!(hidden, whole_answer(&world, "app-9.demo:80").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_nothing_is_asked() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let mut stream = world.call().await;
    stream.write_all(b"CONNECT app-1.demo:80 HTTP/1.1\r\nHost: app-1.demo\r\n\r\n").await.unwrap();
    assert!(crate::world::head(&mut stream).await.starts_with("HTTP/1.1 407 "));
    let mut stream = world.call().await;
    stream.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(rest(&mut stream).await, [5, 0xff]);
    assert_eq!(world.gateway.standing().await.came, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_leaves_takes_its_wish_back() {
    let world = World::new().await;
    world.grant(1, Leads::Astray).await;
    let mut stream = world.call().await;
    let request =
        format!("CONNECT slow.demo:80 HTTP/1.1\r\nHost: slow.demo\r\n{}\r\nahead", world.credentials());
    stream.write_all(request.as_bytes()).await.unwrap();
    while world.dials.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while world.dials.waiting.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }

    let mut stream = world.call().await;
    let request =
        format!("CONNECT app-1.demo:80 HTTP/1.1\r\nHost: app-1.demo\r\n{}\r\n", world.credentials());
    stream.write_all(request.as_bytes()).await.unwrap();
    world.gateway.until(|gateway| gateway.came == 1).await;
    assert_eq!(world.plane.status().await.streams, 1);
    drop(stream);
    world.until(|status| status.streams == 0).await;
    world.gateway.until(|gateway| gateway.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_is_dropped_is_taken_back() {
    let world = World::new().await;
    world.grant(1, Leads::Astray).await;
    world.grant(2, echo().await).await;
    let wish = tokio::spawn({
        let plane = world.plane.clone();
        async move { plane.open(inside(1)).await.map(drop) }
    });
    world.until(|status| status.streams == 1).await;
    wish.abort();
    world.until(|status| status.streams == 0).await;

    let stream = world.plane.open(inside(2)).await.unwrap();
    assert_eq!(world.plane.status().await.streams, 1);
    drop(stream);
    world.until(|status| status.streams == 0).await;
    world.gateway.until(|gateway| gateway.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_for_this_machine_alone() {
    for listen in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let listen = LocalConfig::at(listen.parse().unwrap());
        let refused = Local::bind(listen, &mut SystemRandom::new()).await.unwrap_err();
        assert!(matches!(refused, LocalError::BeyondLoopback(_)), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_not_waited_for() {
    let head = Duration::from_millis(50);
    let world = World::with(config(), |listen| LocalConfig { head, ..LocalConfig::at(listen) }).await;
    for beginning in [&b""[..], b"\x05", b"CONNECT app-1.demo:80 HT"] {
        let mut stream = world.call().await;
        stream.write_all(beginning).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{beginning:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_waits_for_its_turn() {
    let world =
        World::with(config(), |listen| LocalConfig { connections: 2, ..LocalConfig::at(listen) }).await;
    world.grant(1, echo().await).await;
    let (one, _other) = (world.tunnel(1).await, world.tunnel(1).await);
    let mut third = world.call().await;
    let request =
        format!("CONNECT app-1.demo:80 HTTP/1.1\r\nHost: app-1.demo\r\n{}\r\n", world.credentials());
    third.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(world.plane.status().await.streams, 2);
    drop(one);
    assert!(crate::world::head(&mut third).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_opened() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    world.plane.carry_out(ztna_session::Plane::Clear(DenyReason::SignedOut)).await;
    let refused = world.plane.open(inside(1)).await.unwrap_err();
    assert_eq!(refused, OpenError::Denied(DenyReason::SignedOut));
    let (answer, mut stream) = world.connect("app-1.demo:80").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let mut body = String::new();
    stream.read_to_string(&mut body).await.unwrap();
    assert!(body.contains(DenyReason::SignedOut.code()), "{body}");
}
