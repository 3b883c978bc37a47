use std::collections::BTreeMap;
use std::time::Duration;

use ztna_model::{Carrier, Random, Secret, Time, WgPublic, millis, secs};
use ztna_tunnel::{
    Decapsulated, EncapsulateError, Encapsulated, PeerId, Refusal, Role, Tunnel, WakeReason, wg_public,
};

use crate::clock::VirtualClock;

/// A client and a gateway, joined by a network that can be slow and can lose.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) gateway: End,
    pub(crate) now: Time,
    pub(crate) clock: VirtualClock,
    /// How long a datagram takes.
    pub(crate) latency: Duration,
    /// Everything that was sent, lost or not.
    pub(crate) sent: Vec<Sent>,
    loses: Box<dyn FnMut(&Sent) -> bool>,
    in_flight: BTreeMap<(Time, usize), Sent>,
}

/// One of the two.
pub(crate) struct End {
    pub(crate) tunnel: Tunnel,
    pub(crate) peer: PeerId,
    /// Where its datagrams come from.
    pub(crate) address: Carrier,
    /// The packets that arrived.
    pub(crate) packets: Vec<Vec<u8>>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) wakes: Vec<(Time, WakeReason)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    Client,
    Gateway,
}

/// A datagram on the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) by: Side,
    pub(crate) from: Carrier,
    pub(crate) to: Carrier,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Opening,
    Initiation,
    Response,
    Cookie,
    Keepalive,
    Data,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(1, None, None)
    }

    /// The seed varies the indices, the secrets are the pre-shared keys of client and gateway.
    pub(crate) fn with(seed: u64, ours: Option<[u8; 32]>, theirs: Option<[u8; 32]>) -> Self {
        let clock = VirtualClock::start();
        clock.set(START);
        let mut random = Seeded(seed);
        let (client_key, gateway_key) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let mut client = End::new(&client_key, address("192.0.2.1:4000"));
        let mut gateway = End::new(&gateway_key, address("198.51.100.1:5000"));
        client.add(wg_public(&gateway_key), ours, Role::Initiator, &mut random);
        gateway.add(wg_public(&client_key), theirs, Role::Responder, &mut random);
        client.tunnel.set_carriers(client.peer, &[gateway.address]);
        Self {
            client,
            gateway,
            now: START,
            clock,
            latency: millis(20),
            sent: Vec::new(),
            loses: Box::new(|_| false),
            in_flight: BTreeMap::new(),
        }
    }

    /// A pair with a session that both know of, at rest.
    pub(crate) fn connected() -> Self {
        let mut pair = Self::new();
        pair.announce();
        pair.run(secs(1));
        assert_eq!(pair.next(), None);
        pair.sent.clear();
        pair
    }

    /// The client says where it is.
    pub(crate) fn announce(&mut self) {
        self.client.tunnel.announce(self.client.peer, self.now).unwrap();
        self.flush(Side::Client);
    }

    /// The network loses what `loses` says.
    pub(crate) fn lose(&mut self, loses: impl FnMut(&Sent) -> bool + 'static) {
        self.loses = Box::new(loses);
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Gateway => &mut self.gateway,
        }
    }

    /// One end sends a packet.
    pub(crate) fn send(&mut self, side: Side, packet: &[u8]) -> Result<Encapsulated, EncapsulateError> {
        let now = self.now;
        let end = self.end(side);
        let mut out = [0; 2_000];
        let outcome = end.tunnel.encapsulate(end.peer, packet, &mut out, now);
        if let Ok(Encapsulated::Sealed { length, to }) = outcome {
            self.post(side, to, &out[..length]);
        }
        self.flush(side);
        outcome
    }

    /// Time passes.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.advance(at);
            self.wake(Side::Client);
            self.wake(Side::Gateway);
            self.arrive();
        }
        self.advance(end);
    }

    /// Time passes, and every millisecond both ends look at the clock, whether or not they need it.
    pub(crate) fn run_polled(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.advance(self.now + millis(1));
            self.poke(Side::Client);
            self.poke(Side::Gateway);
            self.arrive();
        }
    }

    /// Junk that bears an end's index: the peer takes part in a batch, and that is all.
    fn poke(&mut self, side: Side) {
        let is_handshake = |sent: &&Sent| matches!(sent.kind, Kind::Initiation | Kind::Response);
        let Some(sent) = self.sent.iter().filter(is_handshake).find(|sent| sent.by == side) else { return };
        let mut junk = [0; 32];
        junk[0] = 4;
        junk[4..8].copy_from_slice(&sent.bytes[4..8]);
        junk[4] = junk[4].wrapping_add(128); // no session of these tests gets so far
        let (now, from) = (self.now, sent.from);
        let mut out = [0; 32];
        let outcome = self.end(side).tunnel.decapsulate(&junk, from, &mut out, now);
        assert_eq!(outcome, Err(Refusal::UnknownIndex));
        self.flush(side);
    }

    /// Time passes and nobody looks at the clock.
    pub(crate) fn sleep(&mut self, span: Duration) {
        self.advance(self.now + span);
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<Time> {
        let wakes = [&self.client, &self.gateway].map(|end| end.tunnel.next_wake().map(|wake| wake.at));
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        wakes.into_iter().chain([arrival]).flatten().min().map(|at| at.max(self.now))
    }

    pub(crate) fn advance(&mut self, at: Time) {
        self.now = at;
        self.clock.set(at);
    }

    fn wake(&mut self, side: Side) {
        let now = self.now;
        let end = self.end(side);
        while let Some(wake) = end.tunnel.next_wake().filter(|wake| wake.at <= now) {
            end.wakes.push((now, wake.why));
            end.tunnel.wake(now);
        }
        self.flush(side);
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let sent = entry.remove();
            for side in [Side::Client, Side::Gateway] {
                if self.end(side).address == sent.to {
                    self.deliver(side, sent.from, &sent.bytes);
                }
            }
        }
    }

    /// A datagram arrives at one end.
    pub(crate) fn deliver(&mut self, side: Side, from: Carrier, datagram: &[u8]) {
        let now = self.now;
        let end = self.end(side);
        let mut out = [0; 2_000];
        match end.tunnel.decapsulate(datagram, from, &mut out, now) {
            Ok(Decapsulated::Packet { peer, packet }) => {
                assert_eq!(peer, end.peer);
                end.packets.push(packet.to_vec());
            }
            Ok(Decapsulated::Control { peer }) => assert_eq!(peer, end.peer),
            Err(reason) => end.refused.push(reason),
        }
        self.flush(side);
    }

    pub(crate) fn flush(&mut self, side: Side) {
        let now = self.now;
        let mut out = [0; 2_000];
        while let Some(transmit) = self.end(side).tunnel.poll(&mut out, now) {
            self.post(side, transmit.to, &out[..transmit.length]);
        }
    }

    pub(crate) fn post(&mut self, by: Side, to: Carrier, datagram: &[u8]) {
        let from = self.end(by).address;
        let sent = Sent { at: self.now, by, from, to, kind: Kind::of(datagram), bytes: datagram.to_vec() };
        if !(self.loses)(&sent) {
            self.in_flight.insert((self.now + self.latency, self.sent.len()), sent.clone());
        }
        self.sent.push(sent);
    }

    /// What was sent since the test began, by whom and when, in milliseconds.
    pub(crate) fn trace(&self) -> Vec<(u64, Side, Kind)> {
        self.sent.iter().map(|sent| (sent.at.since(START).as_millis() as u64, sent.by, sent.kind)).collect()
    }

    pub(crate) fn count(&self, by: Side, kind: Kind) -> usize {
        self.sent.iter().filter(|sent| sent.by == by && sent.kind == kind).count()
    }
}

impl End {
    pub(crate) fn new(secret: &Secret<[u8; 32]>, address: Carrier) -> Self {
        Self {
            tunnel: Tunnel::new(secret, Tunnel::DEFAULT_MTU, START),
            peer: PeerId::from_number(0),
            address,
            packets: Vec::new(),
            refused: Vec::new(),
            wakes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, key: WgPublic, psk: Option<[u8; 32]>, role: Role, random: &mut dyn Random) {
        self.peer = self.tunnel.add_peer(key, psk.map(Secret::new), role, random, START).unwrap();
    }
}

impl Kind {
    pub(crate) fn of(datagram: &[u8]) -> Self {
        match (datagram.first(), datagram.len()) {
            (None, _) => Self::Opening,
            (Some(1), 148) => Self::Initiation,
            (Some(2), 92) => Self::Response,
            (Some(3), 64) => Self::Cookie,
            (Some(4), 32) => Self::Keepalive,
            (Some(4), 33..) => Self::Data,
            other => panic!("a datagram like no other: {other:?}"),
        }
    }
}

/// An IPv4 packet of `length` bytes.
pub(crate) fn packet(length: u16) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|n| n as u8).collect();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

pub(crate) fn address(text: &str) -> Carrier {
    Carrier::Udp(text.parse().unwrap())
}

/// Random enough for a test, and the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

pub(crate) const START: Time = Time::from_millis(1_000_000);
