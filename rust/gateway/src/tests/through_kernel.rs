use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use ztna_api::gateway::Over;
use ztna_gate::Reach;
use ztna_model::{DenyReason, Endpoint, Flow, Inner, Protocol, Synthetic, millis};
use ztna_net::tun::{TunConfig, TunPort};
use ztna_net::udp::Bind;
use ztna_packet::{Content, IcmpErrorKind, parse};

use super::device::Device;
use super::nets::{Net, Nets, ip};
use super::site::{For, Site};
use super::*;
use crate::config::{ForwardingMode, TunnelledConfig};
use crate::kernel::{Forwarding, put_back, ruleset, somebody_elses};
use crate::resolver::Resolver;

const REACH: [&str; 2] = ["10.78.0.0/24", "fd78::/64"];

/// A gateway on its own machine, for which the kernel forwards.
fn site(net: &Net, reach: &[&str]) -> Site {
    site_with(net, reach, Resolver::System)
}

fn site_with(net: &Net, reach: &[&str], resolver: Resolver) -> Site {
    net.within(|| {
        let mut site = Site::enrolled(reach);
        site.config.forwarding = ForwardingMode::Tun;
        site.config.udp.bind = Bind::V4;
        site.config.udp.port = 51_820;
        site.config.udp.advertise = vec!["10.77.0.1:51820".parse().unwrap()];
        site.start(resolver);
        site
    })
}

fn device(nets: &Nets, site: &mut Site) -> Device {
    site.introduce(nets.device.within(|| Device::bound(Bind::V4)))
}

/// What this machine is like, as far as a gateway might change it.
fn state(net: &Net) -> (Vec<Vec<u8>>, Vec<String>) {
    let names = [
        "ipv4/ip_forward",
        "ipv4/conf/all/accept_redirects",
        "ipv4/conf/near/forwarding",
        "ipv4/conf/far/forwarding",
        "ipv4/conf/default/forwarding",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/near/forwarding",
        "ipv6/conf/far/forwarding",
        "ipv6/conf/far/accept_ra",
    ];
    (net.within(ruleset), names.map(|name| net.setting(name)).to_vec())
}

fn exchange(device: &mut Device, to: IpAddr) {
    let stream = device.dial_address(Protocol::Tcp, to, 80);
    device.connected(stream);
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let mut back = Vec::new();
    for chunk in bytes.chunks(50_000) {
        device.send(stream, chunk);
        back.extend(device.receive(stream, chunk.len()));
    }
    assert!(back == bytes);
    device.netstack.shutdown_write(stream);
    device.event(stream, |event| event == ztna_netstack::Event::Closed);
}

#[test]
fn the_kernel_forwards_both_families_and_all_protocols() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &REACH);
    let mut device = device(&nets, &mut site);
    for (index, host) in [(10, "10.78.0.2"), (20, "[fd78::2]")] {
        let (tcp, callers) = nets.server.tcp_echo(&format!("{host}:0"));
        let udp = nets.server.udp_echo(&format!("{host}:0"));
        site.grant(&device, &For::tcp(index, tcp));
        site.grant(&device, &For::udp(index + 1, udp));
        site.grant(&device, &For::echo(index + 2, udp.ip()));
        let stand_in = |index: u16| -> IpAddr {
            let pair = Synthetic::from_index(index);
            if udp.is_ipv4() { pair.v4.into() } else { pair.v6.into() }
        };
        exchange(&mut device, stand_in(index));
        // The site sees the gateway, and not what stands behind it.
        let seen = callers.recv_timeout(PATIENCE).unwrap().ip();
        assert_eq!(seen.to_string(), if udp.is_ipv4() { "10.78.0.1" } else { "fd78::1" });
        let stream = device.dial_address(Protocol::Udp, stand_in(index + 1), 80);
        for number in 0..50_u8 {
            device.netstack.send_datagram(stream, &[number; 1_100], Clock.now()).unwrap();
            let answer = device.until(|device| device.netstack.recv_datagram(stream).map(<[u8]>::to_vec));
            assert_eq!(answer, [number; 1_100]);
        }
        device.others.clear();
        device.ping(stand_in(index + 2), 4_000, 7, b"hello");
        let answer = device.until(|device| {
            device.others.retain(|packet| matches!(parse(packet).unwrap().content(), Content::Echo(_)));
            device.others.pop()
        });
        let answer = parse(&answer).unwrap();
        assert_eq!((answer.payload(), answer.source()), (&b"hello"[..], stand_in(index + 2)));
        assert!(answer.checksums_hold());
    }
    let plane = site.status().plane;
    assert!(plane.forwarding.starts_with("kernel, "), "{}", plane.forwarding);
    assert!(plane.flows >= 4 && plane.refused_dials.is_empty(), "{plane:?}");
}

#[test]
fn what_the_kernel_cannot_forward_goes_by_sockets() {
    let nets = Nets::new();
    let local = nets.gateway.tcp_echo("127.0.0.1:0").0;
    let mut site = site(&nets.gateway, &[REACH[0], REACH[1], &local.to_string()]);
    let mut device = device(&nets, &mut site);
    let v6 = nets.server.tcp_echo("[fd78::2]:0").0;
    site.grant(&device, &For::tcp(7, v6));
    site.grant(&device, &For::tcp(8, local));
    exchange(&mut device, Synthetic::from_index(7).v4.into()); // another family on the other side
    exchange(&mut device, Synthetic::from_index(8).v4.into()); // the gateway's own machine, named exactly
}

#[test]
fn e07_a_lease_that_is_over_cuts_its_flows_both_ways() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &REACH);
    let mut device = device(&nets, &mut site);
    let listener = nets.server.within(|| std::net::TcpListener::bind("10.78.0.2:0").unwrap());
    let address = listener.local_addr().unwrap();
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut room = [0; 1_024];
        loop {
            match std::io::Read::read(&mut stream, &mut room) {
                Ok(0) => break tell.send(false).unwrap(),
                Ok(length) => std::io::Write::write_all(&mut stream, &room[..length]).unwrap(),
                Err(_) => break tell.send(true).unwrap(),
            }
        }
    });
    let lease = site.grant(&device, &For::tcp(7, address));
    let stream = device.dial(Protocol::Tcp, 7, 80);
    device.connected(stream);
    device.send(stream, b"hello");
    assert_eq!(device.receive(stream, 5), b"hello");
    site.link().say(Over { lease: lease.id, reason: DenyReason::Revoked });
    device.reset(stream);
    assert!(ended.recv_timeout(PATIENCE).unwrap(), "the server heard a reset");
    assert_eq!(site.plane_when(|plane| plane.leases == 0).flows, 0);
}

#[test]
fn e01_e02_spoofed_sources_foreign_destinations_and_callers_from_the_site_are_refused() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &["10.78.0.0/24", "fd78::/64"]);
    let mut device = device(&nets, &mut site);
    let (server, callers) = nets.server.tcp_echo("10.78.0.2:0");
    site.grant(&device, &For::tcp(7, server));
    exchange(&mut device, Synthetic::from_index(7).v4.into());
    callers.recv_timeout(PATIENCE).unwrap();
    let end = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
    let stand_in = Endpoint::new(Synthetic::from_index(7).v4.into(), 80);
    let own = Endpoint::new(Inner::DEVICE.v4.into(), 1_000);
    let rows = [
        (end("100.64.0.1:1000"), stand_in), // its own address there
        (end("100.64.0.2:1000"), stand_in), // another peer's
        (end("10.78.0.2:1000"), stand_in),
        (own, Endpoint::from(server)), // the site's own address
        (own, end("100.64.0.2:80")),
        (own, end("10.78.0.1:22")),
        (own, end("198.18.0.8:80")),
    ];
    for (source, destination) in rows {
        let flow = Flow { protocol: Protocol::Udp, source, destination };
        let mut packet = [0; 100];
        let length = ztna_packet::datagram(flow, b"let me in", &mut packet).unwrap();
        device.send_packet(&packet[..length]);
    }
    device.idle_until(Clock.now() + millis(200));
    let denied = site.status().plane.denied;
    assert_eq!((denied[&DenyReason::SpoofedSource], denied[&DenyReason::NoRule]), (3, 4));
    // Nobody at the site reaches a device, and no device the gateway's own machine.
    ip(&format!("-n {} route add 100.64.0.0/16 via 10.78.0.1", nets.server.name()));
    device.others.clear();
    let socket = nets.server.within(|| std::net::UdpSocket::bind("10.78.0.2:0").unwrap());
    for number in 1..4 {
        socket.send_to(b"hello", format!("100.64.0.{number}:1000")).unwrap();
    }
    device.idle_until(Clock.now() + millis(200));
    assert!(device.others.is_empty());
    // One that `reach` allows and that is the gateway's own address all the same.
    site.grant(&device, &For::tcp(9, "10.78.0.1:22"));
    let stream = device.dial(Protocol::Tcp, 9, 80);
    device.reset(stream);
}

#[test]
fn e02_e03_a_name_is_looked_up_when_a_flow_begins_and_every_address_checked() {
    let nets = Nets::new();
    let (server, _callers) = nets.server.tcp_echo("10.78.0.2:0");
    let forbidden = ["127.0.0.1", "169.254.169.254", "100.64.0.9", "10.78.0.1", "224.0.0.1", "198.18.0.9"];
    let mut answers = vec![("wiki.test".parse().unwrap(), vec![server.ip()])];
    answers.extend(forbidden.map(|text| ("wiki.test".parse().unwrap(), vec![text.parse().unwrap()])));
    let resolver = Resolver::Listed(std::sync::Mutex::new(answers));
    let mut site = site_with(&nets.gateway, &["*.test"], resolver);
    let mut device = device(&nets, &mut site);
    site.grant(&device, &For::tcp(7, format!("wiki.test:{}", server.port())));
    let first = device.dial(Protocol::Tcp, 7, 80);
    device.connected(first);
    for _ in forbidden {
        let stream = device.dial(Protocol::Tcp, 7, 80);
        device.reset(stream);
    }
    // What was begun goes on to the address that was checked.
    device.send(first, b"hello");
    assert_eq!(device.receive(first, 5), b"hello");
    let refused = site.status().plane.refused_dials;
    let expected = [(crate::dial::DialRefusal::OutOfReach, forbidden.len() as u64)];
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_gateway_that_ends_ends_its_flows() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &REACH);
    let mut device = device(&nets, &mut site);
    let (server, _callers) = nets.server.tcp_echo("10.78.0.2:0");
    site.grant(&device, &For::tcp(7, server));
    let stream = device.dial(Protocol::Tcp, 7, 80);
    device.connected(stream);
    site.stop();
    device.reset(stream);
}

#[test]
fn a_packet_that_is_too_big_on_its_way_is_answered_with_what_fits() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &REACH);
    let mut device = device(&nets, &mut site);
    let udp = nets.server.udp_echo("10.78.0.2:0");
    site.grant(&device, &For::udp(7, udp));
    ip(&format!("-n {} link set far mtu 900", nets.gateway.name()));
    let stream = device.dial(Protocol::Udp, 7, 80);
    device.netstack.send_datagram(stream, &[7; 1_000], Clock.now()).unwrap();
    let error = device.until(|device| device.others.pop());
    let error = parse(&error).unwrap();
    let Content::IcmpError(told) = error.content() else { panic!("{error:?}") };
    assert_eq!(told.kind, IcmpErrorKind::TooBig { mtu: 900 });
    assert_eq!(told.about.destination, Endpoint::new(Synthetic::from_index(7).v4.into(), 80));
    // It comes from whom the device knows, not from whoever stands on the way.
    assert_eq!(error.source(), IpAddr::from(Synthetic::from_index(7).v4));
    assert!(error.checksums_hold());
    device.netstack.send_datagram(stream, &[8; 500], Clock.now()).unwrap();
    assert_eq!(device.until(|device| device.netstack.recv_datagram(stream).map(<[u8]>::to_vec)), [8; 500]);
}

#[test]
fn afterwards_the_machine_is_as_it_was() {
    let nets = Nets::new();
    nets.gateway.set("ipv4/conf/far/forwarding", "1"); // somebody's own wish
    nets.gateway.set("ipv6/conf/far/accept_ra", "1");
    nets.gateway.within(|| somebody_elses("firewall"));
    let before = state(&nets.gateway);
    let mut site = site(&nets.gateway, &REACH);
    let during = state(&nets.gateway);
    assert!(during.0.len() > before.0.len() && during.1[0] == "1" && during.1[5] == "1", "{during:?}");
    assert!(before.0.iter().all(|entry| during.0.contains(entry)), "what is another's stays");
    assert_eq!(during.1[8], "2", "routers are still listened to");
    site.stop();
    assert_eq!(state(&nets.gateway), before);
}

#[test]
fn after_a_crash_the_next_start_puts_everything_back() {
    let nets = Nets::new();
    nets.gateway.within(|| somebody_elses("firewall"));
    let before = state(&nets.gateway);
    let home = TempDir::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::through_kernel::a_process_that_is_killed", "--nocapture"])
        .env(VICTIM, format!("{} {}", nets.gateway.name(), home.path("note").display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("it forwards")));
    child.kill().unwrap();
    child.wait().unwrap();
    let crashed = state(&nets.gateway);
    assert_eq!(crashed.1[0], "1");
    assert!(crashed.0.len() > before.0.len(), "what it forbade stays forbidden");
    nets.gateway.within(|| put_back(&home.path("note")).unwrap());
    assert_eq!(state(&nets.gateway), before);
    // And once more with nothing to put back.
    nets.gateway.within(|| put_back(&home.path("note")).unwrap());
    assert_eq!(state(&nets.gateway), before);
}

/// Does something only in a process of its own, which another test begins.
#[test]
fn a_process_that_is_killed() {
    let Ok(place) = std::env::var(VICTIM) else { return };
    let (net, note) = place.split_once(' ').unwrap();
    let net = std::mem::ManuallyDrop::new(Net::existing(net));
    net.within(|| {
        let config = TunnelledConfig::default();
        let device =
            TunConfig { name: config.device.clone(), addresses: Vec::new(), ..TunConfig::device(1_280) };
        let _tun = TunPort::create(&device).unwrap();
        let reach = Reach::new(REACH.iter().map(|entry| entry.parse().unwrap()).collect());
        let peers = [config.peers_v4, config.peers_v6];
        let _forwarding = Forwarding::begin(&config.device, peers, &reach, Path::new(note)).unwrap();
        println!("it forwards");
        thread::park_timeout(PATIENCE);
    });
}

const VICTIM: &str = "ZTNA_GATEWAY_VICTIM";
