use std::net::SocketAddr;
use std::time::Duration;

use ztna_api::gateway::{Floor, FromGateway, LeaseError, List, Offered, ToGateway, Welcome};
use ztna_api::key;
use ztna_api::keyset::{Key, KeySet, KeyState, KeyUse};
use ztna_datapath::{Datagrams, Datapath, Opened, Side};
use ztna_model::{
    Carrier, DenyReason, Epoch, Flow, Incarnation, Inner, LeaseId, Protocol, Random, RootHash, RunId, Secret,
    SessionId, Signer as _, Time, WgPublic, millis, secs,
};
use ztna_net::keys::{Ed25519Key, P256Key};
use ztna_packet::{datagram, parse};
use ztna_policy::{Limits, Table};
use ztna_tunnel::{Decapsulated, Encapsulated, PeerId, Role, Tunnel, wg_public};

use super::draft::Draft;
use crate::{Config, Gate, Output, Reach};

/// A gateway with its broker at the other end of the stream, at a time of the test's choice.
pub(super) struct Site {
    pub(super) gate: Gate,
    pub(super) broker: Broker,
    pub(super) now: Time,
    /// What the broker was told.
    pub(super) told: Vec<FromGateway>,
    pub(super) cuts: Vec<Cut>,
    pub(super) refused_keys: usize,
    /// What was sent, and to whom.
    pub(super) sent: Vec<(Carrier, Vec<u8>)>,
}

/// What signs, and what it signs under.
pub(super) struct Broker {
    pub(super) root: P256Key,
    pub(super) lease_key: Ed25519Key,
    pub(super) next_key: Ed25519Key,
    pub(super) other_key: Ed25519Key,
    pub(super) incarnation: Incarnation,
    pub(super) seq: u64,
}

/// A lease whose flows are to be cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    pub(super) peer: PeerId,
    pub(super) lease: LeaseId,
    pub(super) flows: Vec<Flow>,
    pub(super) reason: DenyReason,
}

/// A device and its session. It knows no flow table: it sends whatever it likes.
pub(super) struct Device {
    pub(super) number: u8,
    pub(super) sid: SessionId,
    pub(super) key: P256Key,
    pub(super) secret: Secret<[u8; 32]>,
    pub(super) address: Carrier,
    tunnel: Tunnel,
    gateway: PeerId,
    /// Packets that came out of its tunnel.
    pub(super) received: Vec<Vec<u8>>,
}

/// What a packet of a device's came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// It went on to the site, under this lease.
    Through(LeaseId),
    Denied(DenyReason),
    /// Nobody was there to open it.
    ToNobody,
}

pub(super) const START: Time = Time::from_millis(1_000_000);
pub(super) const RUN: RunId = RunId([7; 16]);
pub(super) const INCARNATION: Incarnation = Incarnation([8; 16]);

impl Site {
    /// A gateway that its broker has welcomed.
    pub(super) fn new() -> Self {
        Self::with_room_for(100)
    }

    pub(super) fn with_room_for(most_leases: usize) -> Self {
        let mut site = Self::unwelcomed(most_leases);
        site.welcome();
        site.told.clear();
        site
    }

    pub(super) fn unwelcomed(most_leases: usize) -> Self {
        Self::made_of(Broker::new(), RUN, most_leases)
    }

    /// Another run of the gateway at the same broker.
    pub(super) fn of_run(run: RunId, broker: Broker) -> Self {
        let mut site = Self::made_of(broker, run, 100);
        site.welcome();
        site
    }

    fn made_of(broker: Broker, run: RunId, most_leases: usize) -> Self {
        let root = key::root_hash(&broker.root.public_key());
        let mut gate = gate(root, run, most_leases);
        gate.begin_batch(START, &mut Wire::default());
        let (told, cuts, sent) = (Vec::new(), Vec::new(), Vec::new());
        Self { gate, broker, now: START, told, cuts, refused_keys: 0, sent }
    }

    pub(super) fn welcome(&mut self) {
        let welcome = Welcome {
            version: 1,
            gateway: "gw-1".parse().unwrap(),
            incarnation: self.broker.incarnation,
            keys: self.broker.keys(),
        };
        self.hear(welcome);
    }

    /// A whole batch with one frame in it.
    pub(super) fn hear(&mut self, frame: impl Into<ToGateway>) {
        let frame = frame.into();
        self.batch(|gate, wire| gate.handle_frame(frame, wire));
    }

    /// Offers a lease, and says what the gate answered.
    pub(super) fn offer(&mut self, draft: &Draft) -> Result<(), LeaseError> {
        let before = self.told.len();
        self.hear(Offered { lease: draft.text(self), carriers: vec![] });
        let answers = self.told.iter().skip(before).filter_map(answer);
        let [(lease, answer)] = answers.collect::<Vec<_>>()[..] else {
            panic!("one answer: {:?}", self.told)
        };
        assert!(lease.is_none_or(|lease| lease == draft.lease.id));
        answer
    }

    /// A floor of session `number` with nothing to keep.
    pub(super) fn floor(&mut self, number: u8, epoch: u64) {
        self.floor_with(number, epoch, vec![]);
    }

    pub(super) fn floor_with(&mut self, number: u8, epoch: u64, keep: Vec<String>) {
        let (sid, epoch, reason) = (SessionId([number; 16]), Epoch(epoch), DenyReason::DeviceUnfit);
        self.hear(Floor { sid, epoch, keep, reason });
    }

    pub(super) fn end_all(&mut self) {
        self.hear(List { live: vec![] });
    }

    pub(super) fn jump(&mut self) {
        self.batch(|gate, wire| gate.handle_jump(wire));
    }

    /// Time passes, and a batch begins.
    pub(super) fn after(&mut self, span: Duration) {
        self.now += span;
        self.batch(|_, _| {});
    }

    /// Batches whenever the gate asks for one, until `span` has passed.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.gate.next_wake().filter(|wake| *wake < end) {
            assert!(wake > self.now, "the gate asks for a batch at {wake:?} again and again");
            self.after(wake.since(self.now));
        }
        self.after(end.since(self.now));
    }

    /// One batch: `act` between its beginning and its end.
    pub(super) fn batch<T>(&mut self, act: impl FnOnce(&mut Gate, &mut Wire) -> T) -> T {
        let mut wire = Wire::default();
        self.gate.begin_batch(self.now, &mut wire);
        let done = act(&mut self.gate, &mut wire);
        self.drain();
        self.gate.finish(&mut wire);
        self.sent.append(&mut wire.sent);
        done
    }

    fn drain(&mut self) {
        while let Some(output) = self.gate.poll() {
            match output {
                Output::Tell(frame) => self.told.push(*frame),
                Output::Cut { peer, lease, flows, reason } => {
                    self.cuts.push(Cut { peer, lease, flows, reason });
                }
                Output::KeysRefused(_) => self.refused_keys += 1,
            }
        }
    }

    /// A datagram arrives.
    pub(super) fn open(&mut self, datagram: &[u8], from: Carrier) -> Option<Came> {
        let mut buffer = [0; 2_048];
        self.batch(|gate, wire| match gate.datapath.open(datagram, from, &mut buffer, wire) {
            Opened::Packet { peer, slot, .. } => {
                let held = gate.held(slot).expect("what passes has a lease");
                assert_eq!(held.peer, peer);
                Some(Came::Through(held.lease.id))
            }
            Opened::Denied { reason, .. } => Some(Came::Denied(reason)),
            Opened::Notice { .. } | Opened::Answer { .. } => {
                panic!("a gateway gets neither notices nor answers")
            }
            Opened::Query { .. } | Opened::Nothing => None,
        })
    }

    /// What was sent to this address since the last look.
    pub(super) fn sent_to(&mut self, address: Carrier) -> Vec<Vec<u8>> {
        let (theirs, others) = std::mem::take(&mut self.sent).into_iter().partition(|(to, _)| *to == address);
        self.sent = others;
        let theirs: Vec<(Carrier, Vec<u8>)> = theirs;
        theirs.into_iter().map(|(_, datagram)| datagram).collect()
    }

    /// The leases that the gate holds, in order.
    pub(super) fn leases(&self) -> Vec<LeaseId> {
        self.gate.leases().map(|held| held.lease.id).collect()
    }

    pub(super) fn ended(&self) -> Vec<(LeaseId, DenyReason)> {
        let ended = |frame: &FromGateway| {
            let FromGateway::Ended(ended) = frame else { return None };
            Some((ended.lease, ended.reason))
        };
        self.told.iter().filter_map(ended).collect()
    }
}

/// A gateway that knows its root, and nobody who has shown it yet.
pub(super) fn gate(root: RootHash, run: RunId, most_leases: usize) -> Gate {
    let config = Config {
        org: "https://acme.example".parse().unwrap(),
        gateway: "gw-1".parse().unwrap(),
        run,
        root,
        reach: reach(&["10.0.0.0/8", "*.internal", "127.0.0.1:8080"]),
        most_leases,
        serves_own_machine: false,
    };
    let tunnel = Tunnel::new(&gateway_secret(), Tunnel::DEFAULT_MTU, START);
    let datapath = Datapath::new(Side::Gateway, tunnel, Table::new([2; 16], Limits::GATEWAY));
    Gate::new(config, datapath, Box::new(Count(0)))
}

impl Broker {
    fn new() -> Self {
        let p256 = || P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap();
        let ed25519 = || Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let (lease_key, next_key, other_key) = (ed25519(), ed25519(), ed25519());
        Self { root: p256(), lease_key, next_key, other_key, incarnation: INCARNATION, seq: 1 }
    }

    /// Two keys sign leases, today and next; the other is for audit.
    pub(super) fn keys(&self) -> String {
        let key =
            |usage, state, key: &Ed25519Key| Key { usage, state, jwk: key.public_key(), certificate: None };
        let keys = vec![
            key(KeyUse::Lease, KeyState::Current, &self.lease_key),
            key(KeyUse::Lease, KeyState::Next, &self.next_key),
            key(KeyUse::Audit, KeyState::Current, &self.other_key),
        ];
        let set = KeySet { org: "https://acme.example".parse().unwrap(), seq: self.seq, keys };
        set.sign(&self.root).unwrap()
    }
}

impl Device {
    pub(super) fn new(number: u8) -> Self {
        let secret = Secret::new([number; 32]);
        let key = P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap();
        let address = Carrier::Udp(SocketAddr::from(([203, 0, 113, number], 4_000)));
        let (tunnel, gateway) = tunnel(&secret, START);
        let sid = SessionId([number; 16]);
        Self { number, sid, key, secret, address, tunnel, gateway, received: Vec::new() }
    }

    pub(super) fn wg_pub(&self) -> WgPublic {
        wg_public(&self.secret)
    }

    /// Starts again, with a new WireGuard key.
    pub(super) fn restart(&mut self, secret: u8, now: Time) {
        self.secret = Secret::new([secret; 32]);
        (self.tunnel, self.gateway) = tunnel(&self.secret, now);
    }

    /// Sends a packet of this flow, shaking hands before if need be.
    pub(super) fn send(&mut self, site: &mut Site, flow: Flow) -> Came {
        self.send_packet(site, &packet(flow))
    }

    pub(super) fn send_packet(&mut self, site: &mut Site, packet: &[u8]) -> Came {
        let came = self.try_to_send(site, packet);
        if came != Came::ToNobody {
            return came;
        }
        // Two handshakes in a row have to be a little apart.
        site.after(millis(25));
        self.send_anew(site, packet)
    }

    /// Sends a packet behind a handshake of its own, from a tunnel that knows nothing of before.
    pub(super) fn send_anew(&mut self, site: &mut Site, packet: &[u8]) -> Came {
        self.receive(site);
        (self.tunnel, self.gateway) = tunnel(&self.secret, site.now);
        self.try_to_send(site, packet)
    }

    pub(super) fn try_to_send(&mut self, site: &mut Site, packet: &[u8]) -> Came {
        let mut out = [0; 2_048];
        let mut came = None;
        if let Ok(Encapsulated::Sealed { length, .. }) =
            self.tunnel.encapsulate(self.gateway, packet, &mut out, site.now)
        {
            came = site.open(&out[..length], self.address);
        }
        loop {
            let own = self.poll(site.now);
            if own.is_empty() {
                break;
            }
            for datagram in own {
                came = site.open(&datagram, self.address).or(came);
            }
            self.receive(site);
        }
        self.receive(site);
        came.unwrap_or(Came::ToNobody)
    }

    /// A packet in a session that is there, not sent.
    pub(super) fn seal(&mut self, packet: &[u8], now: Time) -> Vec<u8> {
        let mut out = [0; 2_048];
        let sealed = self.tunnel.encapsulate(self.gateway, packet, &mut out, now).unwrap();
        let Encapsulated::Sealed { length, .. } = sealed else { panic!("no session") };
        out[..length].to_vec()
    }

    /// What its tunnel has to send.
    pub(super) fn poll(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut out = [0; 2_048];
        let length = self.tunnel.longest_datagram();
        while let Some(transmit) = self.tunnel.poll(&mut out[..length], now) {
            sent.push(out[..transmit.length].to_vec());
        }
        sent
    }

    /// Opens what the gateway has sent.
    pub(super) fn receive(&mut self, site: &mut Site) {
        for datagram in site.sent_to(self.address) {
            let mut inside = [0; 2_048];
            let from = gateway_address();
            if let Ok(Decapsulated::Packet { packet, .. }) =
                self.tunnel.decapsulate(&datagram, from, &mut inside, site.now)
            {
                self.received.push(packet.to_vec());
            }
        }
    }

    /// A handshake initiation of its own.
    pub(super) fn initiation(&mut self, now: Time) -> Vec<u8> {
        self.tunnel.reconnect(self.gateway, now).unwrap();
        self.poll(now).remove(0)
    }

    /// A keepalive, if there is a session.
    pub(super) fn keepalive(&mut self, now: Time) -> Vec<u8> {
        self.tunnel.announce(self.gateway, now).unwrap();
        self.poll(now).remove(0)
    }

    /// The notices that came in, as text.
    pub(super) fn notices(&mut self, site: &mut Site) -> Vec<String> {
        self.receive(site);
        let (notices, others) =
            std::mem::take(&mut self.received).into_iter().partition(|bytes| is_notice(bytes));
        self.received = others;
        let notices: Vec<Vec<u8>> = notices;
        let text = |bytes: &Vec<u8>| String::from_utf8(parse(bytes).unwrap().payload().to_vec()).unwrap();
        notices.iter().map(text).collect()
    }
}

/// What a frame says of an offer, if it does.
fn answer(frame: &FromGateway) -> Option<(Option<LeaseId>, Result<(), LeaseError>)> {
    if let FromGateway::Declined(declined) = frame {
        return Some((declined.lease, Err(declined.code)));
    }
    let FromGateway::Held(held) = frame else { return None };
    Some((Some(held.lease), Ok(())))
}

fn is_notice(bytes: &[u8]) -> bool {
    let flow = parse(bytes).unwrap().flow();
    flow.is_some_and(|flow| {
        Inner::NOTICES.has(flow.source.address) && flow.source.port == Inner::NOTICES_PORT
    })
}

fn tunnel(secret: &Secret<[u8; 32]>, now: Time) -> (Tunnel, PeerId) {
    let mut tunnel = Tunnel::new(secret, Tunnel::DEFAULT_MTU, now);
    let key = wg_public(&gateway_secret());
    let gateway = tunnel.add_peer(key, None, Role::Initiator, &mut Count(0), now).unwrap();
    tunnel.set_carriers(gateway, &[gateway_address()]);
    (tunnel, gateway)
}

pub(super) fn reach(entries: &[&str]) -> Reach {
    Reach::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
}

fn gateway_secret() -> Secret<[u8; 32]> {
    Secret::new([0xee; 32])
}

fn gateway_address() -> Carrier {
    Carrier::Udp("198.51.100.1:5000".parse().unwrap())
}

/// The UDP flow from the device's port to its stand-in for application `app`.
pub(super) fn to_app(port: u16, app: u8) -> Flow {
    flow(&format!("198.19.0.1:{port}"), &format!("198.18.0.{app}:53"))
}

pub(super) fn flow(source: &str, destination: &str) -> Flow {
    let end = |text: &str| text.parse::<SocketAddr>().unwrap().into();
    Flow { protocol: Protocol::Udp, source: end(source), destination: end(destination) }
}

pub(super) fn packet(flow: Flow) -> Vec<u8> {
    let mut buffer = [0; 1_280];
    let length = datagram(flow, b"hello", &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Counts up: every tunnel gets other indices.
pub(super) struct Count(u32);

impl Random for Count {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            self.0 = self.0.wrapping_add(1);
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Keeps what is sent.
#[derive(Default)]
pub(super) struct Wire {
    room: Vec<u8>,
    pub(super) sent: Vec<(Carrier, Vec<u8>)>,
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

pub(super) const TTL: Duration = secs(120);
