//! What devices try, and what comes of it (6.4, 6.7; attacks on enforcement).

use std::fs;
use std::path::Path;

use ztna_api::gateway::Offered;
use ztna_model::{Carrier, DenyReason, Endpoint, Host, Match, Port, secs};

use super::draft::{Draft, named};
use super::site::{Came, Device, Site, TTL, flow, reach, to_app};
use crate::Destination;

fn one() -> (Site, Device, Draft) {
    let mut site = Site::new();
    let mut device = Device::new(1);
    let draft = Draft::new(&site, &device, 1);
    site.offer(&draft).unwrap();
    assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Through(draft.lease.id));
    (site, device, draft)
}

#[test]
fn p6_4_a_packet_finds_its_lease_by_peer_destination_protocol_and_port() {
    let (mut site, mut device, draft) = one();
    let rows = [
        ("198.19.0.1:6000", "198.18.0.1:53", Came::Through(draft.lease.id)),
        ("[2001:2::1]:6000", "[2001:2:0:1::1]:53", Came::Through(draft.lease.id)),
        ("198.19.0.1:6000", "198.18.0.1:54", Came::Denied(DenyReason::NoRule)),
        ("198.19.0.1:6000", "198.18.0.2:53", Came::Denied(DenyReason::NoRule)),
        ("198.19.0.1:6000", "10.0.0.1:53", Came::Denied(DenyReason::NoRule)),
        ("[2001:2::1]:6000", "[2001:2:0:1::2]:53", Came::Denied(DenyReason::NoRule)),
    ];
    for (source, destination, expected) in rows {
        assert_eq!(device.send(&mut site, flow(source, destination)), expected, "{source} {destination}");
    }
}

#[test]
fn p5_3_a_lease_lets_no_more_flows_live_than_it_says() {
    let (mut site, mut device) = (Site::new(), Device::new(1));
    let mut draft = Draft::new(&site, &device, 1);
    draft.lease.limits.flows = 2;
    site.offer(&draft).unwrap();
    let came = [5_000, 5_001, 5_002, 5_000].map(|port| device.send(&mut site, to_app(port, 1)));
    let through = || Came::Through(draft.lease.id);
    assert_eq!(came, [through(), through(), Came::Denied(DenyReason::TooManyFlows), through()]);
}

#[test]
fn e01_a_source_that_is_not_the_device_s_is_dropped() {
    let (mut site, mut device, _) = one();
    for source in
        ["198.19.0.9:5000", "198.18.0.1:5000", "10.0.0.1:5000", "127.0.0.1:5000", "[2001:db8::1]:5000"]
    {
        let destination = if source.starts_with('[') { "[2001:2:0:1::1]:53" } else { "198.18.0.1:53" };
        device.received.clear();
        let came = device.send(&mut site, flow(source, destination));
        assert_eq!(came, Came::Denied(DenyReason::SpoofedSource), "{source}");
        assert_eq!(device.received, [[0; 0]; 0], "{source}");
    }
}

#[test]
fn e01_another_peer_s_lease_is_of_no_use() {
    let (mut site, _, _) = one();
    let mut other = Device::new(2);
    let own = Draft::new(&site, &other, 2);
    site.offer(&own).unwrap();
    assert_eq!(other.send(&mut site, to_app(5_000, 2)), Came::Through(own.lease.id));
    assert_eq!(other.send(&mut site, to_app(5_000, 1)), Came::Denied(DenyReason::NoRule));
    // Both mean something else by the same stand-in.
    let mut same = Draft::new(&site, &other, 3);
    same.lease.rule.covers = named("elsewhere.demo", 1);
    site.offer(&same).unwrap();
    assert_eq!(other.send(&mut site, to_app(5_000, 1)), Came::Through(same.lease.id));
}

#[test]
fn e09_a_device_that_ignores_its_own_table_is_denied_here() {
    let (mut site, mut device, draft) = one();
    for port in 1..300 {
        let came = device.send(&mut site, flow("198.19.0.1:5000", &format!("198.18.0.1:{port}")));
        let expected =
            if port == 53 { Came::Through(draft.lease.id) } else { Came::Denied(DenyReason::NoRule) };
        assert_eq!(came, expected, "{port}");
    }
}

#[test]
fn e04_what_hides_its_ports_or_ends_goes_nowhere() {
    let (mut site, mut device, mut draft) = one();
    // Even where the device may go anywhere within reach.
    draft.lease.id.0[1] = 9;
    draft.lease.rule.covers = Match::Prefix("10.0.0.0/8".parse().unwrap());
    draft.lease.rule.ports = "*".parse().unwrap();
    site.offer(&draft).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/packet");
    let mut tried = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap()) {
        let name = file.file_name().into_string().unwrap();
        let bytes = fs::read(file.path()).unwrap();
        if !name.starts_with("e04-") || bytes.is_empty() || bytes.len() > 1_280 {
            continue;
        }
        let came = device.try_to_send(&mut site, &bytes);
        assert!(!matches!(came, Came::Through(_)), "{name}: {came:?}");
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn p6_4_unbound_expired_and_foreign_destinations_get_one_and_the_same_answer() {
    let answer = |prepare: fn(&mut Site, &mut Device)| {
        let mut site = Site::new();
        let mut device = Device::new(1);
        let other = Draft::new(&site, &device, 9);
        site.offer(&other).unwrap();
        prepare(&mut site, &mut device);
        device.send(&mut site, to_app(5_000, 9));
        device.receive(&mut site);
        device.received.clear();
        assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Denied(DenyReason::NoRule));
        let [answer] = &device.received[..] else { panic!("{:?}", device.received) };
        answer.clone()
    };
    let unbound = answer(|_, _| {});
    let expired = answer(|site, device| {
        let mut short = Draft::new(site, device, 1);
        short.lease.ttl = 30_000;
        site.offer(&short).unwrap();
        device.send(site, to_app(5_000, 1));
        site.after(secs(30));
    });
    let foreign = answer(|site, _| {
        let theirs = Draft::new(site, &Device::new(2), 1);
        site.offer(&theirs).unwrap();
    });
    let voided = answer(|site, device| {
        let floored = Draft::new(site, device, 1);
        site.offer(&floored).unwrap();
        let mut kept = Draft::new(site, device, 9);
        kept.lease = site.gate.leases().find(|held| held.lease.id.0[1] == 9).unwrap().lease.clone();
        kept.lease.epoch.0 = 2;
        site.floor_with(1, 2, vec![kept.text(site)]);
    });
    assert_eq!(unbound, expired);
    assert_eq!(unbound, foreign);
    assert_eq!(unbound, voided);
}

#[test]
fn p6_4_a_flow_goes_to_the_lease_s_target() {
    let check = |change: fn(&mut Draft), dialled: &str, expected: Option<(&str, u16)>| {
        let mut site = Site::new();
        let mut draft = Draft::new(&site, &Device::new(1), 1);
        change(&mut draft);
        site.offer(&draft).unwrap();
        let held = site.gate.leases().next().unwrap();
        let dialled: Endpoint = dialled.parse::<std::net::SocketAddr>().unwrap().into();
        let expected = expected.map(|(host, port)| Destination {
            host: host.parse::<Host>().unwrap(),
            port: Port::new(port).unwrap(),
        });
        assert_eq!(held.destination(dialled), expected);
    };
    check(|_| {}, "198.18.0.1:53", Some(("app-1.internal", 80)));
    check(
        |draft| draft.lease.target = "app-1.internal".parse().unwrap(),
        "198.18.0.1:53",
        Some(("app-1.internal", 53)),
    );
    let prefix: fn(&mut Draft) =
        |draft| draft.lease.rule.covers = Match::Prefix("10.1.0.0/16".parse().unwrap());
    check(prefix, "10.1.2.3:443", Some(("10.1.2.3", 443)));
    check(prefix, "10.1.2.3:0", None);
}

#[test]
fn p6_7_a_path_is_opened_to_public_addresses_and_those_in_reach_alone() {
    let rows = [
        ("203.0.113.9:4000", true),
        ("[2600::1]:4000", true),
        ("10.1.2.3:4000", true),
        ("192.168.1.1:4000", false),
        ("172.16.0.1:4000", false),
        ("100.64.0.1:4000", false),
        ("[fd00::1]:4000", false),
        ("127.0.0.1:8080", false),
        ("[::1]:4000", false),
        ("169.254.169.254:80", false),
        ("[fe80::1]:4000", false),
        ("224.0.0.251:5353", false),
        ("255.255.255.255:4000", false),
        ("0.0.0.0:4000", false),
        ("[::ffff:10.0.0.1]:4000", false),
        ("198.18.0.1:4000", false),
        ("203.0.113.9:0", false),
    ];
    for (address, expected) in rows {
        let carrier = Carrier::Udp(address.parse().unwrap());
        let mut site = Site::new();
        let lease = Draft::new(&site, &Device::new(1), 1).text(&site);
        site.hear(Offered { lease, carriers: vec![carrier] });
        let opened = vec![Vec::<u8>::new(); expected.into()];
        assert_eq!(site.sent_to(carrier), opened, "{address}");
    }
    let here = Carrier::Udp("127.0.0.1:4000".parse().unwrap());
    assert!(reach(&[]).may_open_path(here, true), "a demonstration's devices are on this machine");
}

#[test]
fn p6_7_five_datagrams_at_most() {
    let mut site = Site::new();
    let lease = Draft::new(&site, &Device::new(1), 1).text(&site);
    let near = (1..200).map(|last| ([192, 168, 0, last], 4_000));
    let far = (1..200).map(|last| ([203, 0, 113, last], 4_000));
    let carriers = near.chain(far).map(|address| Carrier::Udp(address.into())).collect();
    site.hear(Offered { lease, carriers });
    assert_eq!(site.sent.len(), 5);
    assert!(site.sent.iter().all(|(_, datagram)| datagram.is_empty()));
}

#[test]
fn e08_cut_off_from_its_broker_a_gateway_closes_when_the_lease_is_over() {
    let (mut site, mut device, draft) = one();
    let mut passed = secs(0);
    // The device goes on sending, and nobody answers what is asked.
    while device.send(&mut site, to_app(5_000, 1)) == Came::Through(draft.lease.id) {
        site.run(secs(1));
        passed += secs(1);
    }
    assert!(passed <= TTL, "{passed:?}");
    assert_eq!(site.leases(), []);
}
