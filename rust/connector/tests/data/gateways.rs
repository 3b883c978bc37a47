use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztna_connector::local::LocalConfig;
use ztna_connector::plane::PlaneEvent;
use ztna_model::DenyReason;

use crate::gateway::Gateway;
use crate::world::{World, echo, id, impatient, inside};

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_application_is_reached_through_its_own_gateway() {
    let world = World::new().await;
    let other = Gateway::start("gw-2", [9; 32]);
    other.know(world.device).await;
    other.route(inside(2), echo().await).await;
    world.grant(1, echo().await).await;
    world.grant_through(&other, 2).await;
    echoes(&mut world.tunnel(1).await).await;
    echoes(&mut world.tunnel(2).await).await;
    assert_eq!((world.gateway.standing().await.came, other.standing().await.came), (1, 1));
    let status = world.plane.status().await;
    assert_eq!(status.peers.len(), 2);
    for peer in status.peers {
        assert!(peer.path.is_some() && peer.handshake_age.is_some() && peer.rx_bytes > 0, "{peer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_new_key_is_a_new_peer() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let mut stream = world.tunnel(1).await;
    echoes(&mut stream).await;
    let successor = Gateway::start("gw-1", [9; 32]);
    successor.know(world.device).await;
    successor.route(inside(1), echo().await).await;
    world.grant_through(&successor, 1).await;
    assert!(stream.read(&mut [0; 1]).await.is_err());
    world.gateway.until(|gateway| gateway.reset == 1).await;
    echoes(&mut world.tunnel(1).await).await;
    let status = world.plane.status().await;
    assert_eq!((status.peers.len(), status.peers[0].key), (1, successor.key));
}

/// The same key at another address, and no memory of any session: what it is sent before the next handshake is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_away_is_greeted_again() {
    for reason in [DenyReason::Restarted, DenyReason::GatewayAway] {
        let world = World::new().await;
        world.grant(1, echo().await).await;
        let mut stream = world.tunnel(1).await;
        echoes(&mut stream).await;
        let successor = Gateway::start("gw-1", [2; 32]);
        successor.know(world.device).await;
        successor.route(inside(1), echo().await).await;
        world.gateway.deaf(true).await;
        world.end(1, reason).await;
        assert!(stream.read(&mut [0; 1]).await.is_err());
        world.grant_through(&successor, 1).await;
        echoes(&mut world.tunnel(1).await).await;
        assert_eq!(successor.standing().await.came, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_never_answers_is_told_of() {
    let mut world = World::with(impatient(), LocalConfig::at).await;
    world.gateway.deaf(true).await;
    world.grant(1, echo().await).await;
    let opening = tokio::spawn({
        let plane = world.plane.clone();
        async move { plane.open(inside(1)).await.map(drop) }
    });
    let silent = PlaneEvent::Silent { gateway: id(&world.gateway) };
    assert_eq!(world.next_event().await, silent);
    assert!(world.plane.status().await.peers[0].silent);
    opening.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_no_more_is_told_of_once() {
    let mut world = World::with(impatient(), LocalConfig::at).await;
    world.grant(1, echo().await).await;
    let mut stream = world.tunnel(1).await;
    echoes(&mut stream).await;
    world.gateway.deaf(true).await;
    stream.write_all(b"anyone?").await.unwrap();
    let silent = PlaneEvent::Silent { gateway: id(&world.gateway) };
    assert_eq!(world.next_event().await, silent);
    // It comes back: flows go on, and the next silence is another.
    world.gateway.deaf(false).await;
    let mut back = [0; 7];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"anyone?");
    world.until(|status| !status.peers[0].silent).await;
    world.gateway.deaf(true).await;
    stream.write_all(b"anyone?").await.unwrap();
    assert_eq!(world.next_event().await, silent);
    assert!(world.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_needs_may_be_silent() {
    let mut world = World::with(impatient(), LocalConfig::at).await;
    world.grant(1, echo().await).await;
    let mut stream = world.tunnel(1).await;
    echoes(&mut stream).await;
    // The last word is an acknowledgement, which nobody answers.
    drop(stream);
    world.until(|status| status.flows == 0).await;
    assert!(world.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_network_gateways_and_session_are_told() {
    let mut world = World::new().await;
    world.grant(1, echo().await).await;
    echoes(&mut world.tunnel(1).await).await;
    let before = world.gateway.standing().await.datagrams;
    world.plane.network_changed().await;
    assert!(matches!(world.next_event().await, PlaneEvent::Carriers(carriers) if carriers.len() == 1));
    world.gateway.until(|gateway| gateway.datagrams > before).await;
}
