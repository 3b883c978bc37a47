//! A client and a gateway joined in memory.

use std::net::SocketAddr;

use ztna_model::{
    Carrier, DenyReason, Endpoint, Flow, LeaseId, Match, Protocol, Random, Rule as Terms, Secret, Synthetic,
    Time, secs,
};
use ztna_packet::{datagram, parse};
use ztna_policy::{Effect, Limits, Rule, Scope, Table, Via};
use ztna_tunnel::{PeerId, Role, Tunnel, wg_public};

use crate::{Datagrams, Datapath, Opened, Sealed, Side};

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
fn p5_5_a_notice_reaches_the_client_and_looks_like_nothing_else() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    pair.send(&packet(to_wiki()));
    let mut wire = Wire::default();
    pair.gateway.notify(pair.to_client, b"{}", &mut wire);
    let [(_, datagram)] = &wire.sent[..] else { panic!("one datagram") };
    let out = open(&mut pair.client, datagram, there(), &mut Wire::default());
    assert_eq!(out, Some(Out::Notice(b"{}".to_vec())));
    let forged = [
        // A resource that answers from elsewhere cannot speak as the gateway.
        ("198.18.0.7:4711", "198.19.0.1:4711"),
        ("198.19.0.2:53", "198.19.0.1:4711"),
        ("198.19.0.2:4711", "198.19.0.1:53"),
        ("198.19.0.2:4711", "198.19.0.2:4711"),
        ("198.19.0.2:4711", "10.0.0.1:4711"),
    ];
    for (source, destination) in forged {
        let mut wire = Wire::default();
        pair.gateway.seal_own(pair.to_client, &packet(flow(source, destination)), &mut wire);
        let out = open(&mut pair.client, &wire.sent[0].1, there(), &mut Wire::default());
        assert_eq!(out, Some(Out::Denied(DenyReason::NoRule)), "{source} {destination}");
    }
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
