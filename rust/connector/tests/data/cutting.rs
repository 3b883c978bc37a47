use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztna_connector::plane::{Ending, OpenError, PlaneEvent};
use ztna_model::DenyReason;
use ztna_session::Plane;

use crate::gateway::Leads;
use crate::world::{World, echo, id, inside, lease, server};

/// Reads until the connection is reset.
async fn is_reset(mut stream: TcpStream) {
    let mut room = vec![0; 1 << 16];
    loop {
        match stream.read(&mut room).await {
            Ok(0) => panic!("the connection ended in good order"),
            Ok(_) => {}
            Err(cause) => return assert_eq!(cause.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// Two hundred flows of which every other is at full speed are cut by one decision: none is left at either end once
/// the data thread has taken its turn, and flows under another lease go on.
#[tokio::test(flavor = "multi_thread")]
async fn e07_a_lease_that_ends_cuts_all_of_its_flows_both_ways() {
    let floods = |mut stream: TcpStream| async move { while stream.write_all(&[1; 10_000]).await.is_ok() {} };
    let world = World::new().await;
    let flood = Leads::To(server(floods).await);
    world.grant(1, echo().await).await;
    world.grant(2, flood).await;
    world.gateway.route(ztna_model::Endpoint { port: 81, ..inside(1) }, flood).await;
    let mut live = Vec::new();
    for _ in 0..100 {
        live.push(world.tunnel(1).await);
        live.push(world.connect("app-1.demo:81").await.1);
    }
    let mut other = world.tunnel(2).await;
    let held = world.plane.open(inside(1)).await.unwrap();

    world.end(1, DenyReason::Held).await;
    // The answer comes from the same turn, or the next.
    let status = world.plane.status().await;
    assert_eq!((status.streams, status.peers[0].leases), (1, 1));
    assert_eq!(world.plane.open(inside(1)).await.unwrap_err(), OpenError::Denied(DenyReason::NoRule));
    for stream in live {
        is_reset(stream).await;
    }
    // Resets, and not the lack of a lease, end the flows at the gateway.
    world.gateway.until(|gateway| gateway.reset == 201 && gateway.streams == 1).await;
    drop(held);
    other.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_or_carries_is_told_why() {
    let world = World::new().await;
    world.grant(1, Leads::Astray).await;
    world.grant(2, echo().await).await;
    let opening = tokio::spawn({
        let plane = world.plane.clone();
        async move { plane.open(inside(1)).await.map(drop) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let application = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let socket = listener.accept().await.unwrap().0;
    let stream = world.plane.open(inside(2)).await.unwrap();
    let carrying = tokio::spawn(stream.carry(socket, b"first".to_vec(), None));
    world.until(|status| status.streams == 2).await;
    let mut first = [0; 5];
    let mut application = application;
    application.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");

    world.end(1, DenyReason::DeviceUnfit).await;
    world.end(2, DenyReason::Revoked).await;
    assert_eq!(opening.await.unwrap(), Err(OpenError::Denied(DenyReason::DeviceUnfit)));
    let carried = carrying.await.unwrap();
    assert_eq!(carried.ending, Ending::Cut(DenyReason::Revoked));
    assert_eq!((carried.traffic.up, carried.traffic.down), (5, 5));
    is_reset(application).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_cut_when_rights_are_cleared_or_the_key_is_new() {
    let mut world = World::new().await;
    world.grant(1, echo().await).await;
    let stream = world.tunnel(1).await;
    world.take_key([3; 32]).await;
    is_reset(stream).await;
    world.gateway.until(|gateway| gateway.reset == 1 && gateway.streams == 0).await;

    // With a key of its own the device is another peer, with rights of its own.
    world.gateway.end(lease(1), None).await;
    world.grant(1, echo().await).await;
    let mut stream = world.tunnel(1).await;
    stream.write_all(b"again").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();

    world.plane.carry_out(Plane::Clear(DenyReason::SignedOut)).await;
    is_reset(stream).await;
    world.gateway.until(|gateway| gateway.reset == 2 && gateway.streams == 0).await;
    let status = world.plane.status().await;
    assert_eq!((status.peers.len(), status.streams, status.flows), (0, 0, 0));
}

/// More flows than one turn's packets: the reset of each leaves before the tunnel is gone.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_told_of_every_flow_that_is_cut() {
    const FLOWS: u64 = 300;
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let mut live = Vec::new();
    for _ in 0..FLOWS {
        live.push(world.plane.open(inside(1)).await.unwrap());
    }
    world.plane.carry_out(Plane::Clear(DenyReason::SignedOut)).await;
    world.gateway.until(|gateway| gateway.reset == FLOWS && gateway.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_a_lease_says_so() {
    let mut world = World::new().await;
    world.grant(1, echo().await).await;
    let stream = world.tunnel(1).await;
    for nonsense in [&b"{}"[..], b"", b"[[[[[[[[[[[[[[[[[[[[", &[b' '; 400]] {
        world.gateway.say(world.device, nonsense).await;
    }
    world.gateway.end(lease(1), Some(DenyReason::DeviceUnfit)).await;
    let (gateway, lease) = (id(&world.gateway), lease(1));
    assert_eq!(
        world.next_event().await,
        PlaneEvent::Notice { gateway, lease, reason: DenyReason::DeviceUnfit }
    );
    is_reset(stream).await;
}
