use ztna_model::{DenyReason, Protocol};
use ztna_netstack::Event;

use super::site::{For, Site, echo, nobody, udp_echo};
use super::*;
use crate::dial::DialRefusal;
use crate::status::Source;

#[test]
fn a_lease_lets_bytes_through_both_ways() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(7, wiki));
    let stream = device.dial(Protocol::Tcp, 7, 80);
    device.connected(stream);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut back = Vec::new();
    for chunk in bytes.chunks(50_000) {
        device.send(stream, chunk);
        back.extend(device.receive(stream, chunk.len()));
    }
    assert!(back == bytes);
    // Each direction ends by itself: the application hears the end, and then ends its own.
    device.netstack.shutdown_write(stream);
    device.event(stream, |event| event == Event::PeerClosed);
    device.event(stream, |event| event == Event::Closed);
    let plane = site.plane_when(|plane| plane.flows == 0);
    assert_eq!((plane.leases, plane.sessions), (1, 1));
    assert!(plane.denied.is_empty() && plane.unsealed == 0, "{plane:?}");
}

#[test]
fn a_lease_lets_datagrams_through_both_ways() {
    let names = udp_echo();
    let mut site = Site::new(&[&names.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::udp(9, names));
    let stream = device.dial(Protocol::Udp, 9, 80);
    for number in 0..100_u8 {
        device.netstack.send_datagram(stream, &[number; 700], Clock.now()).unwrap();
        let answer = device.until(|device| device.netstack.recv_datagram(stream).map(<[u8]>::to_vec));
        assert_eq!(answer, [number; 700]);
    }
    assert_eq!(site.status().plane.flows, 1);
}

#[test]
fn h01_packets_that_begin_nothing_take_no_room() {
    let names = udp_echo();
    let mut site = Site::new(&[&names.to_string()]);
    let mut device = site.device();
    let mut lease = site.lease(&device, &For::udp(9, names));
    lease.limits.flows = 64;
    assert_eq!(site.offer(&lease), Ok(()));
    for _ in 0..2 {
        let stream = device.dial(Protocol::Udp, 9, 80);
        device.netstack.send_datagram(stream, b"a", Clock.now()).unwrap();
        device.until(|device| device.netstack.recv_datagram(stream).map(drop));
        device.spoil(9, 1_000..1_200);
        device.idle_until(Clock.now() + ztna_model::millis(100));
    }
    assert_eq!(site.status().plane.flows, 2);
}

#[test]
fn e09_what_no_lease_covers_is_reset_whatever_the_device_thinks() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(7, wiki));
    let rows = [
        device.dial(Protocol::Tcp, 8, 80), // another name
        device.dial(Protocol::Tcp, 7, 81), // another port
        device.dial_address(Protocol::Tcp, "10.9.9.9".parse().unwrap(), 80),
        device.dial_address(Protocol::Tcp, "2001:db8::1".parse().unwrap(), 80),
    ];
    for stream in rows {
        device.reset(stream);
    }
    let plane = site.status().plane;
    assert_eq!(plane.denied[&DenyReason::NoRule], 4);
    assert_eq!(plane.flows, 0);
}

#[test]
fn a_target_that_is_away_is_told_from_one_that_refuses() {
    let refusing = nobody();
    let mut site = Site::new(&[&refusing.to_string(), "nowhere.invalid", "192.0.2.0/24"]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(1, refusing));
    site.grant(&device, &For::tcp(2, "nowhere.invalid:80"));
    for index in [1, 2] {
        let stream = device.dial(Protocol::Tcp, index, 80);
        device.reset(stream);
    }
    let refused = site.status().plane.refused_dials;
    assert_eq!(
        refused.into_iter().collect::<Vec<_>>(),
        [(DialRefusal::Unresolved, 1), (DialRefusal::Refused, 1)]
    );
}

#[test]
fn an_application_that_resets_resets_the_flow() {
    let rude = site::application(|stream| {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let mut site = Site::new(&[&rude.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(7, rude));
    let stream = device.dial(Protocol::Tcp, 7, 80);
    device.reset(stream);
    assert_eq!(site.status().plane.flows, 0);
}

#[test]
fn the_status_says_where_leases_come_from() {
    let mut site = Site::new(&[]);
    let status =
        site.status_when(|status| !matches!(status.source, Source::Broker { connected_since: None, .. }));
    assert_eq!(status.identity.gateway.as_str(), GATEWAY);
    assert_eq!(status.identity.run, site.link().hello.beat.run);
    let Source::Broker { connected_since, trouble, carriers, certificate_until } = status.source else {
        panic!("{:?}", status.source)
    };
    let only_here = site.status().source.no_way().unwrap();
    assert!(only_here.starts_with("only devices on this very machine"), "{only_here}");
    assert!(connected_since.is_some() && trouble.is_none() && carriers == site.link().hello.carriers);
    assert!(certificate_until > Clock.wall() + secs(23 * 3600));
    assert!(status.plane.offloads.contains("segmentation offload"));
}
