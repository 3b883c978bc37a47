use std::collections::VecDeque;
use std::net::SocketAddr;

use ztna_api::discovery::Versions;
use ztna_api::gateway::{FromGateway, Hello, Statement, ToGateway};
use ztna_datapath::{Datagrams, Datapath, Opened, Side};
use ztna_gate::{Config, Gate, Output, Reach};
use ztna_model::{Carrier, DenyReason, Random as _, RootHash, RunId, Secret, Time, WgPublic, millis};
use ztna_net::keys::P256Key;
use ztna_packet::{datagram, parse};
use ztna_policy::{Limits, Table};
use ztna_tunnel::{PeerId, Tunnel, wg_public};

use super::broker::{Broker, org};
use super::chance::Chance;
use super::network::{Cable, GatewayHears, Network, ToBroker};

/// A gateway, and a site behind it whose applications send back what they get.
pub(crate) struct Gateway {
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
    key: P256Key,
    wg_pub: WgPublic,
    run: RunId,
    root: RootHash,
    stream: Option<u64>,
    streams: u64,
    /// When to try the broker again.
    retry: Option<Time>,
    /// Whether the control stream gets through.
    pub(crate) cut_off: bool,
    to_open: VecDeque<(Vec<u8>, SocketAddr)>,
    wire: Wire,
    /// Plaintext payloads that reached the site.
    pub(crate) delivered: u64,
    /// Why leases ended.
    pub(crate) cuts: Vec<DenyReason>,
    hears: VecDeque<ToGateway>,
    chance: Chance,
}

/// Datagrams that want to go out.
#[derive(Default)]
pub(crate) struct Wire {
    room: Vec<u8>,
    to: Option<Carrier>,
    pub(crate) sent: Vec<(SocketAddr, Vec<u8>)>,
}

impl Datagrams for Wire {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        self.to = Some(to);
        self.room.clear();
        self.room.resize(length, 0);
        &mut self.room
    }

    fn commit(&mut self, length: usize) {
        if let Some(Carrier::Udp(to)) = self.to {
            self.sent.push((to, self.room[..length].to_vec()));
        }
    }
}

impl Gateway {
    pub(crate) fn new(key: P256Key, broker: &Broker, chance: &mut Chance, now: Time) -> Self {
        let address: SocketAddr = "192.0.2.100:4000".parse().unwrap();
        let (gate, wg_pub, run) = fresh(broker.root_hash(), chance, now);
        Self {
            gate,
            address,
            key,
            wg_pub,
            run,
            root: broker.root_hash(),
            stream: None,
            streams: 0,
            retry: Some(now),
            cut_off: false,
            to_open: VecDeque::new(),
            wire: Wire::default(),
            delivered: 0,
            cuts: Vec::new(),
            hears: VecDeque::new(),
            chance: chance.fork(),
        }
    }

    /// The process is killed and started again: a new run, with nothing of the old one.
    pub(crate) fn restart(&mut self, now: Time, network: &mut Network) {
        if let Some(stream) = self.stream.take() {
            network.send(now, Cable::ToBroker(ToBroker::GatewayClosed(stream)));
        }
        let (gate, wg_pub, run) = fresh(self.root, &mut self.chance, now);
        (self.gate, self.wg_pub, self.run, self.retry) = (gate, wg_pub, run, Some(now));
        self.hears.clear();
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        [self.gate.next_wake(), self.retry].into_iter().flatten().min()
    }

    pub(crate) fn receive(&mut self, heard: GatewayHears, now: Time) {
        if self.cut_off {
            return;
        }
        match heard {
            GatewayHears::Opened(stream) => self.stream = Some(stream),
            GatewayHears::Frame(stream, frame) if self.stream == Some(stream) => self.hears.push_back(*frame),
            GatewayHears::Frame(..) => {}
            GatewayHears::Closed(stream) => {
                if self.stream == Some(stream) {
                    self.stream = None;
                    self.retry = Some(now + millis(100));
                }
            }
        }
    }

    pub(crate) fn open(&mut self, datagram: &[u8], from: SocketAddr, _now: Time) {
        self.to_open.push_back((datagram.to_vec(), from));
    }

    /// One batch: frames, datagrams, and what follows from both.
    pub(crate) fn turn(&mut self, now: Time, network: &mut Network) -> bool {
        let due = self.next_wake().is_some_and(|at| at <= now);
        if !due && self.hears.is_empty() && self.to_open.is_empty() {
            return false;
        }
        self.dial_broker(now, network);
        self.gate.begin_batch(now, &mut self.wire);
        while let Some(frame) = self.hears.pop_front() {
            self.gate.handle_frame(frame, &mut self.wire);
        }
        while let Some((datagram, from)) = self.to_open.pop_front() {
            self.serve(&datagram, from);
        }
        self.gate.finish(&mut self.wire);
        while let Some(output) = self.gate.poll() {
            match output {
                Output::Tell(frame) => self.tell(*frame, now, network),
                Output::Cut { reason, .. } => self.cuts.push(reason),
                Output::KeysRefused(error) => panic!("the keys are the organisation's: {error}"),
            }
        }
        for (to, bytes) in std::mem::take(&mut self.wire.sent) {
            network.send(now, Cable::Datagram { from: self.address, to, bytes });
        }
        true
    }

    /// Opens a datagram; what may pass reaches the site, which sends it back.
    fn serve(&mut self, datagram: &[u8], from: SocketAddr) {
        let mut buffer = [0; 2_048];
        let opened = self.gate.datapath.open(datagram, Carrier::Udp(from), &mut buffer, &mut self.wire);
        if let Opened::Packet { peer, packet, .. } = opened {
            let packet = packet.to_vec();
            self.echo(peer, &packet);
        }
    }

    fn echo(&mut self, peer: PeerId, packet: &[u8]) {
        self.delivered += 1;
        let packet = parse(packet).unwrap();
        let mut answer = [0; 1_500];
        let length = datagram(packet.flow().unwrap().reversed(), packet.payload(), &mut answer).unwrap();
        let _sealed = self.gate.datapath.seal_for(peer, &answer[..length], &mut self.wire);
    }

    fn dial_broker(&mut self, now: Time, network: &mut Network) {
        if self.retry.is_none_or(|at| now < at) {
            return;
        }
        self.retry = Some(now + ztna_model::secs(1));
        if self.stream.is_some() || self.cut_off || !network.broker_reachable {
            if self.stream.is_some() {
                self.retry = None;
            }
            return;
        }
        self.streams += 1;
        let stream = 1_000_000 + self.streams;
        self.stream = Some(stream);
        self.retry = None;
        network.send(now, Cable::ToBroker(ToBroker::GatewayOpened(0, stream)));
        let statement =
            Statement { org: org(), gw: "gw-1".parse().unwrap(), run: self.run, wg_pub: self.wg_pub };
        let hello = Hello {
            org: org(),
            versions: Versions::OURS,
            beat: ztna_api::gateway::Beat { run: self.run, now: now.as_millis() },
            wg_pub: self.wg_pub,
            statement: statement.sign(&self.key, vec![]).unwrap(),
            carriers: vec![Carrier::Udp(self.address)],
            software: "world".into(),
        };
        self.tell(hello.into(), now, network);
    }

    fn tell(&self, frame: FromGateway, now: Time, network: &mut Network) {
        if let Some(stream) = self.stream.filter(|_| !self.cut_off) {
            network.send(now, Cable::ToBroker(ToBroker::GatewayFrame(stream, Box::new(frame))));
        }
    }
}

fn fresh(root: RootHash, chance: &mut Chance, now: Time) -> (Gate, WgPublic, RunId) {
    let mut secret = [0; 32];
    chance.fill(&mut secret);
    let secret = Secret::new(secret);
    let tunnel = Tunnel::new(&secret, Tunnel::DEFAULT_MTU, now);
    let datapath = Datapath::new(Side::Gateway, tunnel, Table::new([3; 16], Limits::GATEWAY));
    let run = RunId::random(chance);
    let config = Config {
        org: org(),
        gateway: "gw-1".parse().unwrap(),
        run,
        root,
        reach: Reach::new(vec!["10.0.0.0/8".parse().unwrap()]),
        most_leases: 1_000,
        serves_own_machine: false,
    };
    (Gate::new(config, datapath, Box::new(chance.fork())), wg_public(&secret), run)
}
