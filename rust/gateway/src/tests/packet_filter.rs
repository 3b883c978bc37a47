use std::net::UdpSocket;

use ztna_gate::Reach;
use ztna_model::{Endpoint, Flow, Protocol, millis};
use ztna_net::tun::{TunBuffer, TunConfig, TunPort};
use ztna_packet::datagram;

use super::nets::{Net, Nets, ip};
use super::*;
use crate::config::TunnelledConfig;
use crate::kernel::Forwarding;

/// The device alone, as if the process behind it did not know what it does.
struct Bare {
    tun: TunPort,
    _forwarding: Forwarding,
    _home: TempDir,
}

fn bare(net: &Net, reach: &[&str]) -> Bare {
    net.within(|| {
        let config = TunnelledConfig::default();
        let home = TempDir::new();
        let device =
            TunConfig { name: config.device.clone(), addresses: Vec::new(), ..TunConfig::device(1_280) };
        let tun = TunPort::create(&device).unwrap();
        let reach = Reach::new(reach.iter().map(|entry| entry.parse().unwrap()).collect());
        let peers = [config.peers_v4, config.peers_v6];
        let forwarding = Forwarding::begin(&config.device, peers, &reach, &home.path("note")).unwrap();
        Bare { tun, _forwarding: forwarding, _home: home }
    })
}

fn packet(source: &str, destination: &str) -> Vec<u8> {
    let end = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
    let flow = Flow { protocol: Protocol::Udp, source: end(source), destination: end(destination) };
    let mut packet = [0; 100];
    let length = datagram(flow, source.as_bytes(), &mut packet).unwrap();
    packet[..length].to_vec()
}

fn listen(net: &Net, at: &str) -> UdpSocket {
    let socket = net.within(|| UdpSocket::bind(at).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

fn hears(socket: &UdpSocket) -> bool {
    socket.recv(&mut [0; 100]).is_ok()
}

#[test]
fn e01_e02_the_packet_filter_alone_stops_what_the_process_would_never_send() {
    let nets = Nets::new();
    for address in ["10.78.0.20/24", "fd78::20/64"] {
        ip(&format!("-n {} address add {address} dev uplink", nets.server.name()));
    }
    let mut bare = bare(&nets.gateway, &["10.78.0.0/29", "fd78::2/128"]);
    let rows = [
        (&nets.server, "100.64.0.1:1000", "10.78.0.2:4000", true),
        (&nets.server, "100.64.0.1:1000", "10.78.0.20:4000", false), // out of reach
        (&nets.server, "198.19.0.1:1000", "10.78.0.2:4000", false),  // nobody of ours
        (&nets.server, "10.77.0.2:1000", "10.78.0.2:4000", false),
        (&nets.gateway, "100.64.0.1:1000", "10.78.0.1:4000", false), // the gateway's own machine
        (&nets.gateway, "100.64.0.1:1000", "10.77.0.1:4000", false),
        (&nets.device, "100.64.0.1:1000", "10.77.0.2:4000", false),
        (&nets.server, "[fd6f:7a74:6e61::1]:1000", "[fd78::2]:4000", true),
        (&nets.server, "[fd6f:7a74:6e61::1]:1000", "[fd78::20]:4000", false),
        (&nets.server, "[fd77::2]:1000", "[fd78::2]:4000", false),
        (&nets.gateway, "[fd6f:7a74:6e61::1]:1000", "[fd78::1]:4000", false),
    ];
    for (net, source, destination, expected) in rows {
        let socket = listen(net, destination);
        let mut heard = false;
        // Who has just been made may not hear the first.
        for _ in 0..if expected { 20 } else { 2 } {
            assert!(bare.tun.send(&packet(source, destination)));
            heard = heard || hears(&socket);
            if heard {
                break;
            }
        }
        assert_eq!(heard, expected, "{source} {destination}");
    }
    nets.gateway.within(|| drop(bare));
}

#[test]
fn nothing_else_is_forwarded_that_was_not_before() {
    let nets = Nets::new();
    ip(&format!("-n {} route add default via 10.77.0.1", nets.device.name()));
    ip(&format!("-n {} route add 10.77.0.0/24 via 10.78.0.1", nets.server.name()));
    let server = listen(&nets.server, "10.78.0.2:4000");
    let passes = || {
        let device = nets.device.within(|| UdpSocket::bind("10.77.0.2:0").unwrap());
        (0..3).any(|_| {
            device.send_to(b"x", "10.78.0.2:4000").unwrap();
            hears(&server)
        })
    };
    assert!(!passes(), "it is no router");
    let forwarding = bare(&nets.gateway, &["10.78.0.0/24"]);
    assert!(!passes(), "and does not become one");
    nets.gateway.within(|| drop(forwarding));
    assert!(!passes());
    // A router stays one.
    nets.gateway.set("ipv4/ip_forward", "1");
    assert!(passes());
    let forwarding = bare(&nets.gateway, &["10.78.0.0/24"]);
    assert!(passes());
    nets.gateway.within(|| drop(forwarding));
    assert!(passes());
}

#[test]
fn nobody_at_the_site_begins_anything() {
    let nets = Nets::new();
    let mut bare = bare(&nets.gateway, &["10.78.0.0/24"]);
    ip(&format!("-n {} route add 100.64.0.0/16 via 10.78.0.1", nets.server.name()));
    let server = nets.server.within(|| UdpSocket::bind("10.78.0.2:4000").unwrap());
    server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    server.send_to(b"unasked", "100.64.0.1:1000").unwrap();
    assert!(!brings(&mut bare.tun, b"unasked"));
    for _ in 0..10 {
        assert!(bare.tun.send(&packet("100.64.0.1:1000", "10.78.0.2:4000")));
        if let Ok((_, from)) = server.recv_from(&mut [0; 100]) {
            server.send_to(b"asked", from).unwrap();
            break;
        }
    }
    assert!(brings(&mut bare.tun, b"asked"));
    nets.gateway.within(|| drop(bare));
}

/// Whether the device brings a packet that holds this, within a moment.
fn brings(tun: &mut TunPort, payload: &[u8]) -> bool {
    let (mut buffer, until) = (TunBuffer::new(), Clock.now() + millis(500));
    while Clock.now() < until {
        while let Some(burst) = tun.recv(&mut buffer).unwrap() {
            if burst.bytes().ends_with(payload) {
                return true;
            }
        }
        std::thread::yield_now();
    }
    false
}
