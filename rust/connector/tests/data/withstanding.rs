use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztna_model::Random as _;
use ztna_net::random::SystemRandom;

use crate::gateway::Leads;
use crate::world::{World, echo, server};

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

/// Datagrams that are no gateway's change nothing, whatever they look like and wherever they say they come from.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_udp_port_is_counted_and_ignored() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let mut stream = world.tunnel(1).await;
    echoes(&mut stream).await;
    let port = world.plane.status().await.address.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = SystemRandom::new();
    for length in (1..1400).step_by(7) {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        // Half of them claim to be one of WireGuard's messages.
        if length % 2 == 0 && length >= 4 {
            bytes[..4].copy_from_slice(&[(length % 8 / 2 + 1) as u8, 0, 0, 0]);
        }
        stranger.send_to(&bytes, port).unwrap();
    }
    stranger.send_to(&[], port).unwrap();
    world.until(|status| status.refused >= 150).await;
    echoes(&mut stream).await;
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 1]).is_err(), "a stranger was answered");
}

/// An application that does not read holds up its own flow and nothing else, and costs no more the longer it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_makes_nothing_grow() {
    let sent = Arc::new(AtomicU64::new(0));
    let floods = {
        let sent = Arc::clone(&sent);
        move |mut stream: TcpStream| {
            let sent = Arc::clone(&sent);
            async move {
                while let Ok(written @ 1..) = stream.write(&[1; 100_000]).await {
                    sent.fetch_add(written as u64, Ordering::SeqCst);
                }
            }
        }
    };
    let world = World::new().await;
    world.grant(1, echo().await).await;
    world.grant(2, Leads::To(server(floods).await)).await;
    let stalled = world.tunnel(2).await;
    let mut other = world.tunnel(1).await;
    echoes(&mut other).await;
    let buffered = world.plane.status().await.buffered;
    // Much passes meanwhile.
    let piece = vec![3; 500_000];
    let mut back = vec![0; piece.len()];
    let (mut read, mut write) = other.split();
    for _ in 0..40 {
        let (written, heard) = tokio::join!(write.write_all(&piece), read.read_exact(&mut back));
        assert!(written.is_ok() && heard.is_ok() && back == piece);
    }
    // What the kernel holds for four sockets, and what the flow's buffers hold at both ends.
    let settled = sent.load(Ordering::SeqCst);
    assert!(settled < 32 << 20, "{settled}");
    assert_eq!(world.plane.status().await.buffered, buffered);
    // It reads again, and everything is there.
    let mut stalled = stalled;
    let mut left = settled + 1_000_000;
    let mut room = vec![0; 1 << 16];
    while left > 0 {
        left = left.saturating_sub(stalled.read(&mut room).await.unwrap() as u64);
    }
    echoes(&mut other).await;
}
