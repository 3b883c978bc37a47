//! A client and a gateway joined in memory.

mod words; // what gateway and device say to each other: notices, questions, answers

use std::net::SocketAddr;
use std::num::NonZeroU16;

use ztna_model::{
    Carrier, DenyReason, Endpoint, Flow, LeaseId, Match, Protocol, Random, Rule as Terms, Secret, Synthetic,
    Time, secs,
};
use ztna_packet::{Burst, ChecksumDepth, Segments, datagram, parse};
use ztna_policy::{Effect, Limits, Rule, Scope, Table, Via};
use ztna_tunnel::{PeerId, Role, Tunnel, wg_public};

use crate::{Area, Datagrams, Datapath, Opened, Sealed, Side};

const WIKI: Synthetic = Synthetic::from_index(7);
const LEASE: LeaseId = LeaseId([1; 16]);

/// Counts up: every tunnel gets other indices.
struct Count(u8);

impl Random for Count {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// Keeps what is sent.
#[derive(Default)]
struct Wire {
    room: Vec<u8>,
    sent: Vec<(Carrier, Vec<u8>)>,
    to: Option<Carrier>,
}

impl Datagrams for Wire {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        self.to = Some(to);
        self.room.clear();
        self.room.resize(length, 0);
        &mut self.room
    }

    fn commit(&mut self, length: usize) {
        self.sent.push((self.to.expect("room was asked for"), self.room[..length].to_vec()));
    }
}

struct Pair {
    client: Datapath,
    gateway: Datapath,
    to_gateway: PeerId,
    to_client: PeerId,
    now: Time,
}

/// What came out of the gateway: packets for the site, and denials.
#[derive(PartialEq, Eq, Debug)]
enum Out {
    Packet(Vec<u8>),
    Notice(Vec<u8>),
    Query(Endpoint, Vec<u8>),
    Answer(Vec<u8>),
    Denied(DenyReason),
}

impl Pair {
    fn new() -> Self {
        let now = Time::ZERO + secs(1);
        let (ours, theirs) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let mut random = Count(0);
        let mut client = Tunnel::new(&ours, Tunnel::DEFAULT_MTU, now);
        let mut gateway = Tunnel::new(&theirs, Tunnel::DEFAULT_MTU, now);
        let to_gateway =
            client.add_peer(wg_public(&theirs), None, Role::Initiator, &mut random, now).unwrap();
        let to_client = gateway.add_peer(wg_public(&ours), None, Role::Responder, &mut random, now).unwrap();
        client.set_carriers(to_gateway, &[there()]);
        let mut pair = Self {
            client: Datapath::new(Side::Client, client, Table::new([1; 16], Limits::DEVICE)),
            gateway: Datapath::new(Side::Gateway, gateway, Table::new([2; 16], Limits::GATEWAY)),
            to_gateway,
            to_client,
            now,
        };
        assert!(pair.client.begin_batch(now).is_empty() && pair.gateway.begin_batch(now).is_empty());
        pair
    }

    fn allow_at_client(&mut self) {
        let rule = rule(Scope::DEVICE, Via(self.to_gateway.number()), Time::MAX);
        self.client.table.insert(rule).unwrap();
    }

    fn allow_at_gateway(&mut self, deadline: Time) {
        self.gateway.table.insert(rule(Scope(self.to_client.number()), Via::SITE, deadline)).unwrap();
    }

    /// Carries datagrams to and fro until there are none, and tells what came out at either end.
    fn settle(&mut self, mut from_client: Wire) -> (Vec<Out>, Vec<Out>) {
        let (mut site, mut device) = (Vec::new(), Vec::new());
        let mut from_gateway = Wire::default();
        self.client.finish(&mut from_client);
        self.gateway.finish(&mut from_gateway);
        while !from_client.sent.is_empty() || !from_gateway.sent.is_empty() {
            let (mut client, mut gateway) = (Wire::default(), Wire::default());
            for (_, datagram) in from_client.sent {
                site.extend(open(&mut self.gateway, &datagram, here(), &mut gateway));
            }
            for (_, datagram) in from_gateway.sent {
                device.extend(open(&mut self.client, &datagram, there(), &mut client));
            }
            self.client.finish(&mut client);
            self.gateway.finish(&mut gateway);
            (from_client, from_gateway) = (client, gateway);
        }
        (site, device)
    }

    fn send(&mut self, packet: &[u8]) -> (Sealed, Vec<Out>, Vec<Out>) {
        let mut wire = Wire::default();
        let sealed = self.client.seal(packet, &mut wire);
        let (site, device) = self.settle(wire);
        (sealed, site, device)
    }

    fn answer(&mut self, packet: &[u8]) -> (Sealed, Vec<Out>) {
        let mut wire = Wire::default();
        let sealed = self.gateway.seal_for(self.to_client, packet, &mut wire);
        let mut device = Vec::new();
        let mut client = Wire::default();
        for (_, datagram) in wire.sent {
            device.extend(open(&mut self.client, &datagram, there(), &mut client));
        }
        (sealed, device)
    }
}

fn open(end: &mut Datapath, datagram: &[u8], from: Carrier, wire: &mut Wire) -> Option<Out> {
    let mut buffer = [0; 2_048];
    match end.open(datagram, from, &mut buffer, wire) {
        Opened::Packet { packet, .. } => Some(Out::Packet(packet.to_vec())),
        Opened::Notice { payload, .. } => Some(Out::Notice(payload.to_vec())),
        Opened::Query { from, payload, .. } => Some(Out::Query(from, payload.to_vec())),
        Opened::Answer { payload, .. } => Some(Out::Answer(payload.to_vec())),
        Opened::Denied { reason, .. } => Some(Out::Denied(reason)),
        Opened::Nothing => None,
    }
}

fn rule(scope: Scope, via: Via, deadline: Time) -> Rule {
    let terms = Terms {
        resource: "wiki".parse().unwrap(),
        protocol: Protocol::Udp,
        ports: "53".parse().unwrap(),
        covers: Match::Name { name: "wiki.demo".parse().unwrap(), synthetic: WIKI },
    };
    Rule { lease: LEASE, scope, via, terms, deadline, flows: 16, effect: Effect::Allow }
}

fn here() -> Carrier {
    Carrier::Udp("192.0.2.1:4000".parse().unwrap())
}

fn there() -> Carrier {
    Carrier::Udp("192.0.2.2:5000".parse().unwrap())
}

fn flow(source: &str, destination: &str) -> Flow {
    let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().unwrap());
    Flow { protocol: Protocol::Udp, source: end(source), destination: end(destination) }
}

fn packet(flow: Flow) -> Vec<u8> {
    let mut buffer = [0; 1_280];
    let length = datagram(flow, b"hello", &mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn to_wiki() -> Flow {
    flow("198.19.0.1:5000", "198.18.0.7:53")
}

#[test]
fn a_granted_flow_passes_both_ways() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    let there = packet(to_wiki());
    let (sealed, site, device) = pair.send(&there);
    assert_eq!((sealed, site, device), (Sealed::Sent, vec![Out::Packet(there)], vec![]));
    let back = packet(to_wiki().reversed());
    assert_eq!(pair.answer(&back), (Sealed::Sent, vec![Out::Packet(back)]));
}

#[test]
fn without_a_rule_nothing_is_even_sealed() {
    let mut pair = Pair::new();
    pair.allow_at_gateway(Time::MAX);
    let (sealed, site, device) = pair.send(&packet(to_wiki()));
    assert_eq!((sealed, site, device), (Sealed::Denied(DenyReason::NoRule), vec![], vec![]));
    assert_eq!(pair.client.counters().denied(DenyReason::NoRule), 1);
}

#[test]
fn p5_9_e09_a_client_that_ignores_its_own_table_is_denied_and_told_at_once() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    let (_, site, device) = pair.send(&packet(to_wiki()));
    assert_eq!(site, [Out::Denied(DenyReason::NoRule)]);
    // An ICMP error about the flow that the client's own table knows.
    let [Out::Packet(answer)] = &device[..] else { panic!("{device:?}") };
    assert!(parse(answer).is_ok());
}

#[test]
fn p6_4_unbound_foreign_and_expired_destinations_get_the_same_answer() {
    let answer = |deadline: Time, destination: &str| {
        let mut pair = Pair::new();
        let (lease, via) = (LeaseId([9; 16]), Via(pair.to_gateway.number()));
        let anything = Match::Prefix("198.18.0.0/16".parse().unwrap());
        let mut wide = rule(Scope::DEVICE, via, Time::MAX);
        (wide.lease, wide.terms.covers, wide.terms.ports) = (lease, anything, "*".parse().unwrap());
        pair.client.table.insert(wide).unwrap();
        pair.allow_at_gateway(deadline);
        pair.now = Time::ZERO + secs(10);
        let _ended = (pair.client.begin_batch(pair.now), pair.gateway.begin_batch(pair.now));
        let flow = flow("198.19.0.1:5000", destination);
        let (_, site, device) = pair.send(&packet(flow));
        assert_eq!(site, [Out::Denied(DenyReason::NoRule)]);
        let Some(Out::Packet(answer)) = device.into_iter().next() else { panic!("no answer") };
        answer.len()
    };
    let expired = answer(Time::ZERO + secs(5), "198.18.0.7:53");
    let unbound = answer(Time::MAX, "198.18.0.8:53");
    let other_port = answer(Time::MAX, "198.18.0.7:54");
    assert_eq!((expired, unbound), (unbound, other_port));
}

#[test]
fn e01_a_source_that_is_not_the_device_s_is_dropped_in_silence() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    for source in ["198.19.0.9:5000", "10.0.0.1:5000", "127.0.0.1:5000", "198.18.0.7:53"] {
        let (_, site, device) = pair.send(&packet(flow(source, "198.18.0.7:53")));
        assert_eq!((site, device), (vec![Out::Denied(DenyReason::SpoofedSource)], vec![]), "{source}");
    }
}

#[test]
fn e01_one_peer_s_lease_is_of_no_use_to_another() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.gateway.table.insert(rule(Scope(pair.to_client.number() + 1), Via::SITE, Time::MAX)).unwrap();
    let (_, site, _) = pair.send(&packet(to_wiki()));
    assert_eq!(site, [Out::Denied(DenyReason::NoRule)]);
}

#[test]
fn e01_an_answer_through_another_gateway_than_the_flow_s_is_dropped() {
    let mut pair = Pair::new();
    pair.allow_at_gateway(Time::MAX);
    pair.allow_at_client();
    pair.send(&packet(to_wiki()));
    let elsewhere = Rule { lease: LeaseId([9; 16]), ..rule(Scope::DEVICE, Via(77), Time::MAX) };
    assert!(pair.client.table.end(LEASE, DenyReason::Revoked).is_some());
    pair.client.table.insert(elsewhere).unwrap();
    let mut wire = Wire::default();
    assert_eq!(pair.client.seal(&packet(to_wiki()), &mut wire), Sealed::Lost, "nobody is there");
    let (_, device) = pair.answer(&packet(to_wiki().reversed()));
    assert_eq!(device, [Out::Denied(DenyReason::NoRule)]);
}

#[test]
fn p5_7_e08_a_lease_that_is_over_closes_both_ways_on_the_next_batch() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    let deadline = pair.now + secs(10);
    pair.allow_at_gateway(deadline);
    let (_, site, _) = pair.send(&packet(to_wiki()));
    assert_eq!(site.len(), 1);
    let ended = pair.gateway.begin_batch(deadline);
    assert_eq!(ended[0].flows, [to_wiki()]);
    assert_eq!(pair.answer(&packet(to_wiki().reversed())).0, Sealed::Denied(DenyReason::NoRule));
    let (_, site, _) = pair.send(&packet(to_wiki()));
    assert_eq!(site, [Out::Denied(DenyReason::NoRule)]);
}

#[test]
fn nothing_on_the_site_s_side_opens_a_flow() {
    let mut pair = Pair::new();
    pair.allow_at_gateway(Time::MAX);
    pair.allow_at_client();
    assert_eq!(pair.answer(&packet(to_wiki().reversed())).0, Sealed::Denied(DenyReason::NoRule));
}

#[test]
fn e04_an_error_about_a_packet_that_was_never_sent_is_dropped() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    pair.send(&packet(to_wiki()));
    let error = |about: Flow| {
        let about = packet(about);
        let mut buffer = [0; 1_280];
        let length = ztna_packet::prohibit(&parse(&about).unwrap(), &mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    assert_eq!(pair.answer(&error(to_wiki())).0, Sealed::Sent);
    let forged = flow("198.19.0.1:6000", "198.18.0.7:53");
    assert_eq!(pair.answer(&error(forged)).0, Sealed::Denied(DenyReason::NoRule));
}

#[test]
fn what_is_not_for_this_device_does_not_come_out() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    pair.send(&packet(to_wiki()));
    let mut wire = Wire::default();
    pair.gateway.seal_own(pair.to_client, &packet(flow("198.18.0.7:53", "10.0.0.1:5000")), &mut wire);
    let out = open(&mut pair.client, &wire.sent[0].1, there(), &mut Wire::default());
    assert_eq!(out, Some(Out::Denied(DenyReason::NoRule)));
}

/// A TCP packet of `flow` with `length` bytes of data, without checksums.
fn long_packet(flow: Flow, length: usize) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let total = u16::try_from(40 + length).unwrap();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 6]);
    for (at, end) in [(0, flow.source), (1, flow.destination)] {
        let std::net::IpAddr::V4(address) = end.address else { panic!("IPv4") };
        packet[12 + 4 * at..16 + 4 * at].copy_from_slice(&address.octets());
        packet[20 + 2 * at..22 + 2 * at].copy_from_slice(&end.port.to_be_bytes());
    }
    packet[24..28].copy_from_slice(&1_000_000_u32.to_be_bytes());
    packet[32..34].copy_from_slice(&[5 << 4, 0x18]);
    packet.extend((0..length).map(|byte| byte as u8));
    packet
}

fn segments(packet: &[u8], size: u16) -> Vec<Vec<u8>> {
    let mut segments = Segments::of(&parse(packet).unwrap(), NonZeroU16::new(size).unwrap()).unwrap();
    let mut buffer = [0; 2_048];
    let mut found = Vec::new();
    while let Some(length) = segments.write_next(&mut buffer).unwrap() {
        found.push(buffer[..length].to_vec());
    }
    found
}

/// A rule for TCP at both ends, and a session between them.
fn joined() -> Pair {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    let tcp = |mut rule: Rule| {
        rule.lease = LeaseId([3; 16]);
        rule.terms.protocol = Protocol::Tcp;
        rule.terms.ports = "443".parse().unwrap();
        rule
    };
    pair.client.table.insert(tcp(rule(Scope::DEVICE, Via(pair.to_gateway.number()), Time::MAX))).unwrap();
    pair.gateway.table.insert(tcp(rule(Scope(pair.to_client.number()), Via::SITE, Time::MAX))).unwrap();
    pair.send(&packet(to_wiki()));
    pair
}

fn to_web() -> Flow {
    Flow { protocol: Protocol::Tcp, ..flow("198.19.0.1:5000", "198.18.0.7:443") }
}

#[test]
fn a_burst_passes_both_ways_as_the_packets_that_it_stands_for() {
    for (length, size) in [(0, 100), (100, 100), (3_001, 1_000), (60_000, 1_240), (5_000, 7)] {
        let mut pair = joined();
        let (up, down) = (long_packet(to_web(), length), long_packet(to_web().reversed(), length));
        let mut wire = Wire::default();
        let mut room = up.clone();
        let mut burst = Burst::new(&mut room, up.len(), NonZeroU16::new(size), ChecksumDepth::PseudoHeader);
        assert_eq!(pair.client.seal_burst(&mut burst, &mut wire), Sealed::Sent);
        let (site, _) = pair.settle(wire);
        let expected: Vec<_> = segments(&up, size).into_iter().map(Out::Packet).collect();
        assert_eq!(site, expected, "{length} {size}");

        let mut wire = Wire::default();
        let mut room = down.clone();
        let mut burst = Burst::new(&mut room, down.len(), NonZeroU16::new(size), ChecksumDepth::PseudoHeader);
        assert_eq!(pair.gateway.seal_burst_for(pair.to_client, &mut burst, &mut wire), Sealed::Sent);
        let found: Vec<_> = wire
            .sent
            .iter()
            .filter_map(|(_, datagram)| open(&mut pair.client, datagram, there(), &mut Wire::default()))
            .collect();
        let expected: Vec<_> = segments(&down, size).into_iter().map(Out::Packet).collect();
        assert_eq!(found, expected, "{length} {size}");
    }
}

#[test]
fn what_is_not_sealed_is_not_cut() {
    let refused = |pair: &mut Pair, expected: Sealed| {
        let whole = long_packet(to_web(), 3_000);
        let (mut room, mut wire) = (whole.clone(), Wire::default());
        let mut burst =
            Burst::new(&mut room, whole.len(), NonZeroU16::new(1_000), ChecksumDepth::PseudoHeader);
        assert_eq!(pair.client.seal_burst(&mut burst, &mut wire), expected);
        assert!(burst.bytes() == whole && wire.sent.is_empty());
    };
    refused(&mut Pair::new(), Sealed::Denied(DenyReason::NoRule));
    let mut pair = joined();
    assert!(pair.client.table.end(LeaseId([3; 16]), DenyReason::Revoked).is_some());
    refused(&mut pair, Sealed::Denied(DenyReason::NoRule));
    let mut asks = rule(Scope::DEVICE, Via(pair.to_gateway.number()), Time::MAX);
    (asks.lease, asks.effect) = (LeaseId([4; 16]), Effect::Ask);
    (asks.terms.protocol, asks.terms.ports) = (Protocol::Tcp, "443".parse().unwrap());
    let slot = pair.client.table.insert(asks).unwrap();
    refused(&mut pair, Sealed::Ask(slot));
    let unasked = long_packet(to_web().reversed(), 3_000);
    let mut room = unasked.clone();
    let mut burst = Burst::new(&mut room, unasked.len(), NonZeroU16::new(1_000), ChecksumDepth::PseudoHeader);
    let sealed = pair.gateway.seal_burst_for(pair.to_client, &mut burst, &mut Wire::default());
    assert_eq!((sealed, burst.bytes()), (Sealed::Denied(DenyReason::NoRule), &unasked[..]));
}

#[test]
fn a_burst_that_cannot_be_cut_or_does_not_fit_is_lost_and_counted() {
    let mut pair = joined();
    let mut syn = long_packet(to_web(), 3_000);
    syn[33] |= 2;
    let length = syn.len();
    let mut burst = Burst::new(&mut syn, length, NonZeroU16::new(1_000), ChecksumDepth::PseudoHeader);
    let sealed = pair.client.seal_burst(&mut burst, &mut Wire::default());
    assert_eq!(sealed, Sealed::Denied(DenyReason::UnreadablePacket));
    let mut long = long_packet(to_web(), 3_000);
    let mut burst = Burst::new(&mut long, length, NonZeroU16::new(1_241), ChecksumDepth::PseudoHeader);
    let mut wire = Wire::default();
    assert_eq!(pair.client.seal_burst(&mut burst, &mut wire), Sealed::Lost);
    assert_eq!((wire.sent.len(), pair.client.counters().unsealed), (1, 2), "the last is short enough");
}

#[test]
fn a_burst_counts_all_its_bytes() {
    let mut pair = joined();
    let mut whole = long_packet(to_web(), 3_000);
    let length = whole.len();
    let bytes = |pair: &Pair| pair.client.table.usage(LeaseId([3; 16])).unwrap().from_device.bytes;
    let before = bytes(&pair);
    let mut burst = Burst::new(&mut whole, length, NonZeroU16::new(1_000), ChecksumDepth::PseudoHeader);
    pair.client.seal_burst(&mut burst, &mut Wire::default());
    assert_eq!(bytes(&pair), before + length as u64);
}

#[test]
fn an_area_has_as_much_room_as_it_says() {
    let mut area = Area::new();
    for sizes in [&[1_312; 60][..], &[65_536, 1], &[0, 1, 65_535], &[65_537]] {
        let mut rooms = area.rooms();
        let mut used = 0;
        for size in sizes {
            let fits = used + size <= 1 << 16;
            assert_eq!(
                (rooms.fits(*size), rooms.room(*size).map(|room| room.len())),
                (fits, fits.then_some(*size))
            );
            used += if fits { *size } else { 0 };
        }
    }
}
