use std::collections::VecDeque;

use ztna_api::statement::{self, Body};
use ztna_datapath::{Datapath, Opened, Sealed, Side};
use ztna_model::{
    Carrier, Endpoint, Flow, Holder, Inner, Jkt, Match, OrgId, Protocol, SessionId, Signer as _, Synthetic,
    Time, WgPublic,
};
use ztna_net::inbox::{Inbox, Post};
use ztna_net::keys::P256Key;
use ztna_net::poll::Poller;
use ztna_net::udp::{Batch, Bind, UdpPort};
use ztna_netstack::{Event, Limits, Netstack, Output, Scope, StreamId};
use ztna_policy::{Effect, Rule, Table, Via};
use ztna_tunnel::{PeerId, Role, Tunnel, wg_public};

use super::*;
use crate::data::Outgoing;

/// A device that does what its test says. Its own table lets everything pass: what is refused, the gateway refuses.
pub(super) struct Device {
    pub(super) sid: SessionId,
    pub(super) key: P256Key,
    pub(super) wg_pub: WgPublic,
    path: Datapath,
    pub(super) netstack: Netstack,
    outgoing: Outgoing,
    poller: Poller,
    inbox: Inbox<()>,
    _post: Post<()>,
    batch: Batch,
    opened: Vec<u8>,
    gateway: Option<PeerId>,
    pub(super) events: VecDeque<(StreamId, Event)>,
    pub(super) notices: Vec<String>,
    /// Packets that are neither TCP nor UDP, or belong to no flow.
    pub(super) others: Vec<Vec<u8>>,
    /// What the resolver inside the tunnel has said.
    pub(super) answers: Vec<Vec<u8>>,
    /// Datagrams that have come, whatever they were.
    pub(super) heard: usize,
}

impl Device {
    pub(super) fn new() -> Self {
        Self::bound(Bind::LoopbackV4)
    }

    pub(super) fn bound(bind: Bind) -> Self {
        let mut random = SystemRandom::new();
        let secret = Secret::new(random.array());
        let mut port = UdpPort::bind(bind).unwrap();
        let (mut poller, post, inbox) = Poller::new(Clock, 1).unwrap();
        poller.add(&mut port).unwrap();
        let tunnel = Tunnel::new(&secret, Tunnel::DEFAULT_MTU, Clock.now());
        let table = Table::new(random.array(), ztna_policy::Limits::DEVICE);
        Self {
            sid: SessionId::random(&mut random),
            key: P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap(),
            wg_pub: wg_public(&secret),
            path: Datapath::new(Side::Client, tunnel, table),
            netstack: Netstack::new(Limits { buffer_per_flow: 1 << 20, ..Limits::DESKTOP }, &mut random),
            outgoing: Outgoing(port),
            poller,
            inbox,
            _post: post,
            batch: Batch::new(),
            opened: vec![0; 1 << 16],
            gateway: None,
            events: VecDeque::new(),
            notices: Vec::new(),
            answers: Vec::new(),
            others: Vec::new(),
            heard: 0,
        }
    }

    pub(super) fn jkt(&self) -> Jkt {
        ztna_api::key::thumbprint(&self.key.public_key())
    }

    /// What makes this device the holder of its leases.
    pub(super) fn holder(&self, org: &OrgId) -> Holder {
        let statement = statement::Statement {
            org: org.clone(),
            sid: self.sid,
            nonce: "nonce".into(),
            body: Body::TunnelKey { wg_pub: self.wg_pub },
        };
        Holder::Tunnel { wg_pub: self.wg_pub, statement: statement::sign(&self.key, &statement).unwrap() }
    }

    /// Takes the gateway with this key, at this address, for the way to everything.
    pub(super) fn meet(&mut self, gateway: WgPublic, at: &[Carrier]) {
        let tunnel = &mut self.path.tunnel;
        let peer =
            tunnel.add_peer(gateway, None, Role::Initiator, &mut SystemRandom::new(), Clock.now()).unwrap();
        tunnel.set_carriers(peer, at);
        self.gateway = Some(peer);
        for (protocol, net) in [
            (Protocol::Tcp, "0.0.0.0/0"),
            (Protocol::Tcp, "::/0"),
            (Protocol::Udp, "0.0.0.0/0"),
            (Protocol::Udp, "::/0"),
            (Protocol::IcmpEcho, "0.0.0.0/0"),
            (Protocol::IcmpEcho, "::/0"),
        ] {
            let rule = Rule {
                lease: LeaseId::random(&mut SystemRandom::new()),
                scope: ztna_policy::Scope::DEVICE,
                via: Via(peer.number()),
                terms: ztna_model::Rule {
                    resource: "anything".parse().unwrap(),
                    protocol,
                    ports: "*".parse().unwrap(),
                    covers: Match::Prefix(net.parse().unwrap()),
                },
                deadline: Time::MAX,
                flows: 100_000,
                effect: Effect::Allow,
            };
            self.path.table.insert(rule).unwrap();
        }
    }

    /// Begins a flow to the stand-in of name number `index`.
    pub(super) fn dial(&mut self, protocol: Protocol, index: u16, port: u16) -> StreamId {
        self.dial_address(protocol, Synthetic::from_index(index).v4.into(), port)
    }

    pub(super) fn dial_address(&mut self, protocol: Protocol, to: IpAddr, port: u16) -> StreamId {
        let source = Endpoint::new(Inner::DEVICE.like(to), 0);
        let flow = Flow { protocol, source, destination: Endpoint::new(to, port) };
        self.netstack.connect(Scope(0), flow, Clock.now()).unwrap()
    }

    /// Sends a datagram with a wrong checksum to the stand-in of name number `index`, from each of these ports.
    pub(super) fn spoil(&mut self, index: u16, ports: std::ops::Range<u16>) {
        let to: IpAddr = Synthetic::from_index(index).v4.into();
        for port in ports {
            let source = Endpoint::new(Inner::DEVICE.like(to), port);
            let flow = Flow { protocol: Protocol::Udp, source, destination: Endpoint::new(to, 80) };
            let mut packet = [0; 64];
            let length = ztna_packet::datagram(flow, b"spoilt", &mut packet).unwrap();
            packet[length - 1] ^= 1;
            assert_eq!(self.path.seal(&packet[..length], &mut self.outgoing), Sealed::Sent);
        }
    }

    /// Sends these bytes to the resolver inside the tunnel, from one of this device's own addresses.
    pub(super) fn ask(&mut self, like: IpAddr, message: &[u8]) {
        let source = Endpoint::new(Inner::DEVICE.like(like), 40_053);
        let destination = Endpoint::new(Inner::RESOLVER.like(like), Inner::RESOLVER_PORT);
        let flow = Flow { protocol: Protocol::Udp, source, destination };
        let mut packet = [0; 1_280];
        let length = ztna_packet::datagram(flow, message, &mut packet).unwrap();
        assert!(self.path.begin_batch(Clock.now()).is_empty());
        self.path.seal_own(self.gateway.unwrap(), &packet[..length], &mut self.outgoing);
    }

    /// Sends a packet as it is: the device's own table is not asked.
    pub(super) fn send_packet(&mut self, packet: &[u8]) {
        assert!(self.path.begin_batch(Clock.now()).is_empty());
        self.path.seal_own(self.gateway.unwrap(), packet, &mut self.outgoing);
    }

    /// Asks for an echo as an application does.
    pub(super) fn ping(&mut self, to: IpAddr, identifier: u16, sequence: u16, payload: &[u8]) {
        let source = Endpoint::new(Inner::DEVICE.like(to), identifier);
        let flow = Flow { protocol: Protocol::IcmpEcho, source, destination: Endpoint::new(to, 0) };
        let mut packet = [0; 1_280];
        let length = ztna_packet::echo(flow, sequence, payload, &mut packet).unwrap();
        assert!(self.path.begin_batch(Clock.now()).is_empty());
        assert_eq!(self.path.seal(&packet[..length], &mut self.outgoing), Sealed::Sent);
    }

    /// Whether the gateway answers at all: keys that it does not know hear nothing.
    pub(super) fn announce(&mut self) {
        self.path.tunnel.announce(self.gateway.unwrap(), Clock.now()).unwrap();
    }

    /// Shakes hands anew, as if the gateway had started again.
    pub(super) fn reconnect(&mut self) {
        self.path.tunnel.reconnect(self.gateway.unwrap(), Clock.now()).unwrap();
    }

    /// Takes part in what happens until `is_done` makes something of it.
    pub(super) fn until<T>(&mut self, mut is_done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let give_up = Clock.now() + PATIENCE;
        loop {
            if let Some(found) = is_done(self) {
                return found;
            }
            let now = self.turn(give_up);
            assert!(now < give_up, "it did not happen; events: {:?}", self.events);
        }
    }

    /// Takes part in what happens for as long as `last` is not over.
    pub(super) fn idle_until(&mut self, last: Time) {
        while self.turn(last) < last {}
    }

    /// The next event of `stream` that `is_meant` makes something of.
    pub(super) fn event(&mut self, stream: StreamId, is_meant: impl Fn(Event) -> bool) -> Event {
        self.until(|device| {
            let found =
                device.events.iter().position(|(whose, event)| *whose == stream && is_meant(*event))?;
            device.events.remove(found).map(|(_, event)| event)
        })
    }

    pub(super) fn connected(&mut self, stream: StreamId) {
        let event = self.event(stream, |event| matches!(event, Event::Connected | Event::Reset(_)));
        assert_eq!(event, Event::Connected);
    }

    pub(super) fn reset(&mut self, stream: StreamId) {
        self.event(stream, |event| matches!(event, Event::Reset(_)));
    }

    /// Sends all of `bytes`.
    pub(super) fn send(&mut self, stream: StreamId, mut bytes: &[u8]) {
        self.until(|device| {
            let sent = device.netstack.send(stream, bytes);
            bytes = &bytes[sent..];
            bytes.is_empty().then_some(())
        });
    }

    /// Receives exactly `length` bytes.
    pub(super) fn receive(&mut self, stream: StreamId, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        self.until(|device| {
            let mut room = vec![0; length - all.len()];
            let got = device.netstack.recv(stream, &mut room);
            all.extend_from_slice(&room[..got]);
            (all.len() == length).then_some(())
        });
        all
    }

    /// One batch each way; returns the time at which it began.
    pub(super) fn turn(&mut self, at_most_until: Time) -> Time {
        // What was begun since the last turn goes out before waiting.
        let now = Clock.now();
        assert!(self.path.begin_batch(now).is_empty());
        let before = self.events.len();
        self.exchange(now);
        let wakes = [self.path.next_wake(), self.netstack.next_wake(), Some(at_most_until)];
        // What has just happened may be all that is waited for.
        let deadline = if self.events.len() > before { Some(now) } else { wakes.into_iter().flatten().min() };
        let now = self.poller.wait(&mut self.outgoing.0, &self.inbox, deadline).unwrap();
        assert!(self.path.begin_batch(now).is_empty());
        for _ in 0..2 {
            if !self.outgoing.0.recv(&mut self.batch).unwrap() {
                break;
            }
            for datagram in self.batch.datagrams() {
                self.heard += 1;
                let from = Carrier::Udp(datagram.source);
                match self.path.open(datagram.contents, from, &mut self.opened, &mut self.outgoing) {
                    Opened::Packet { packet, .. } => {
                        // A late packet of a flow that is over is no matter.
                        if self.netstack.handle_packet(Scope(0), packet, now).is_err() {
                            self.others.push(packet.to_vec());
                        }
                    }
                    Opened::Notice { payload, .. } => {
                        self.notices.push(String::from_utf8(payload.to_vec()).unwrap());
                    }
                    Opened::Answer { payload, .. } => self.answers.push(payload.to_vec()),
                    Opened::Query { .. } | Opened::Denied { .. } | Opened::Nothing => {}
                }
            }
        }
        self.exchange(now);
        now
    }

    fn exchange(&mut self, now: Time) {
        while let Some(output) = self.netstack.poll(now) {
            match output {
                Output::Packet { packet, .. } => match self.path.seal(packet, &mut self.outgoing) {
                    Sealed::Sent | Sealed::Lost => {}
                    Sealed::Ask(_) | Sealed::Denied(_) => panic!("the device's own table lets all pass"),
                },
                Output::Event { stream, event } => self.events.push_back((stream, event)),
                Output::Incoming { .. } => panic!("nobody calls a device"),
            }
        }
        self.path.finish(&mut self.outgoing);
        self.outgoing.0.flush().unwrap();
    }
}
