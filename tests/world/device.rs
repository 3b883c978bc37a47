use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ztna_api::device::{FromDevice, ToDevice};
use ztna_datapath::{Datapath, Opened, Sealed, Side};
use ztna_model::{
    Carrier, DenyReason, Endpoint, FactKind, FactValue, Flow, GatewayId, Inner, LeaseId, Observed, Port,
    Protocol, Random as _, Reading, Secret, Time,
};
use ztna_net::keys::P256Key;
use ztna_packet::{datagram, parse};
use ztna_policy::{Effect, Limits, Rule, Scope, Table, Via};
use ztna_proxy::Verdict;
use ztna_session::{Dial, DialId, Output, Plane, Profile, Session};
use ztna_tunnel::{PeerId, Role, Tunnel};

use super::broker::Broker;
use super::chance::Chance;
use super::identity::Identity;
use super::network::{Cable, DeviceHears, Network, ToBroker};
use super::site::Wire;

/// A device: its session is the product's, its data thread is carried out here.
pub(crate) struct Device {
    id: super::DeviceId,
    person: String,
    pub(crate) session: Session,
    pub(crate) address: SocketAddr,
    plane: Option<Datapath>,
    gateways: BTreeMap<GatewayId, PeerId>,
    /// Facts that this device reports.
    pub(crate) facts: BTreeMap<FactKind, FactValue>,
    stream: Option<u64>,
    streams: u64,
    dials: u64,
    pub(crate) dialled: BTreeMap<DialId, Result<Endpoint, Verdict>>,
    /// Frames of the broker's since somebody last looked, and all of them.
    pub(crate) heard_frames: Vec<ToDevice>,
    pub(crate) all_frames: Vec<ToDevice>,
    /// Echoes that came back.
    pub(crate) echoes: u64,
    /// Notices that came inside the tunnel.
    pub(crate) notices: Vec<(LeaseId, DenyReason)>,
    to_send: Vec<Vec<u8>>,
    /// A datagram came in, and may want an answer.
    heard: bool,
    wire: Wire,
    /// Whether it hears and says anything at all.
    pub(crate) online: bool,
    chance: Chance,
    ports: u16,
}

impl Device {
    pub(crate) fn new(
        id: super::DeviceId,
        person: &str,
        _broker: &Broker,
        chance: &mut Chance,
        _now: Time,
    ) -> Self {
        let key = Arc::new(P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap());
        let profile = Profile {
            device_name: format!("{person}'s"),
            software: "world".into(),
            platform: "linux".into(),
        };
        let mut book = [0; 32];
        chance.fill(&mut book);
        let session = Session::new(profile, key, None, Secret::new(book), Box::new(chance.fork()));
        let facts = [(FactKind::DiskEncrypted, FactValue::Bool(true))].into();
        Self {
            id,
            person: person.into(),
            session,
            address: SocketAddr::from(([192, 0, 2, 1], 5_000 + u16::try_from(id.0).unwrap())),
            plane: None,
            gateways: BTreeMap::new(),
            facts,
            stream: None,
            streams: 0,
            dials: 0,
            dialled: BTreeMap::new(),
            heard_frames: Vec::new(),
            all_frames: Vec::new(),
            echoes: 0,
            notices: Vec::new(),
            to_send: Vec::new(),
            heard: false,
            wire: Wire::default(),
            online: true,
            chance: chance.fork(),
            ports: 40_000,
        }
    }

    /// An application wants to reach `name` by UDP on port 7.
    pub(crate) fn dial(&mut self, name: &str, now: Time) -> DialId {
        self.dials += 1;
        let id = DialId(self.dials);
        let (host, port) = (name.parse().unwrap(), Port::new(7).unwrap());
        self.session.handle_dial(Dial { id, host, protocol: Protocol::Udp, port }, now);
        id
    }

    /// An application sends a datagram, from a port of its own.
    pub(crate) fn send(&mut self, to: Endpoint, payload: &[u8]) {
        self.ports += 1;
        let source = Endpoint::new(Inner::DEVICE.like(to.address), self.ports);
        let mut packet = [0; 1_280];
        let flow = Flow { protocol: Protocol::Udp, source, destination: to };
        let length = datagram(flow, payload, &mut packet).unwrap();
        self.to_send.push(packet[..length].to_vec());
    }

    /// A fact changes, and the platform tells of it.
    pub(crate) fn report(&mut self, kind: FactKind, value: FactValue, now: Time) {
        self.facts.insert(kind, value);
        let readings = self.readings();
        self.session.handle_readings(readings, super::broker::wall(now), now);
    }

    /// A client that was modified says what it likes.
    pub(crate) fn say(&self, frame: FromDevice, now: Time, network: &mut Network) {
        if let Some(stream) = self.stream {
            network.send(now, Cable::ToBroker(ToBroker::Frame(stream, Box::new(frame))));
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        let plane = self.plane.as_ref().and_then(Datapath::next_wake);
        [self.session.next_wake(), plane].into_iter().flatten().min()
    }

    pub(crate) fn receive(&mut self, heard: DeviceHears, now: Time) {
        if !self.online {
            return;
        }
        match heard {
            DeviceHears::Answer(call, answer) => {
                self.session.handle_answer(call, answer.map(|answer| *answer), now);
            }
            DeviceHears::StreamOpened(stream) if self.stream == Some(stream) => {
                self.session.handle_stream_opened(now);
            }
            DeviceHears::Frame(stream, frame) if self.stream == Some(stream) => {
                self.heard_frames.push((*frame).clone());
                self.all_frames.push((*frame).clone());
                self.session.handle_frame(*frame, now);
            }

            DeviceHears::StreamClosed(stream, refused) if self.stream == Some(stream) => {
                self.stream = None;
                self.session.handle_stream_closed(refused, now);
            }
            DeviceHears::StreamOpened(_) | DeviceHears::Frame(..) | DeviceHears::StreamClosed(..) => {}
        }
    }

    pub(crate) fn open(&mut self, bytes: &[u8], from: SocketAddr, now: Time) {
        let Some(plane) = &mut self.plane else { return };
        let _ended = plane.begin_batch(now);
        self.heard = true;
        let mut buffer = [0; 2_048];
        match plane.open(bytes, Carrier::Udp(from), &mut buffer, &mut self.wire) {
            Opened::Packet { packet, .. } => {
                let is_echo = parse(packet).is_ok_and(|packet| packet.payload().starts_with(b"hello"));
                self.echoes += u64::from(is_echo);
            }
            Opened::Notice { peer, payload } => {
                let payload = payload.to_vec();
                self.hear_notice(peer, &payload);
            }
            Opened::Query { .. } | Opened::Answer { .. } | Opened::Denied { .. } | Opened::Nothing => {}
        }
    }

    pub(crate) fn turn(&mut self, now: Time, network: &mut Network, identity: &mut Identity) -> bool {
        let mut busy = false;
        if self.session.next_wake().is_some_and(|at| at <= now) {
            self.session.handle_time(now);
            busy = true;
        }
        while let Some(output) = self.session.poll() {
            busy = true;
            self.carry_out(output, now, network, identity);
        }
        self.run_plane(now, network) || busy
    }

    fn carry_out(&mut self, output: Output, now: Time, network: &mut Network, identity: &mut Identity) {
        match output {
            Output::Call { call, request } if request.uri().host() == Some("id.example") => {
                let wall = super::broker::wall(now);
                let answer = identity.answer(request.uri().path(), request.body(), wall);
                network.send(now, Cable::ToDevice(self.id, DeviceHears::Answer(call, Ok(Box::new(answer)))));
            }
            Output::Call { call, request } if self.reaches_broker(network) => {
                network.send(now, Cable::ToBroker(ToBroker::Call(self.id, call, request)));
            }
            Output::Call { call, .. } => {
                let gone = ztna_session::CallError::Unreachable("the broker is away".into());
                self.session.handle_answer(call, Err(gone), now);
            }
            Output::OpenBrowser(address) => {
                let back = identity.log_in(&address, &self.person);
                self.session.handle_redirect(&back, now).unwrap();
            }
            Output::OpenStream(request) => self.open_stream(request, now, network),
            Output::Send(frame) => {
                if let Some(stream) = self.stream.filter(|_| self.online) {
                    network.send(now, Cable::ToBroker(ToBroker::Frame(stream, frame)));
                }
            }
            Output::CloseStream => {
                if let Some(stream) = self.stream.take().filter(|_| self.online) {
                    network.send(now, Cable::ToBroker(ToBroker::StreamClosed(stream)));
                }
            }
            Output::ReadSignals { .. } => {
                let readings = self.readings();
                self.session.handle_readings(readings, super::broker::wall(now), now);
            }
            Output::Plane(plane) => self.obey(plane, now),
            Output::Dialled { dial, answer } => {
                self.dialled.insert(dial, answer);
            }
            // Nobody asks for names here, and the world's network is as it is.
            Output::Answer { .. } | Output::Forward { .. } | Output::Silence { .. } | Output::Network(_) => {}
            Output::Save(_) | Output::Erase | Output::Changed => {}
        }
    }

    fn reaches_broker(&self, network: &Network) -> bool {
        self.online && network.broker_reachable
    }

    fn open_stream(&mut self, request: Box<ztna_auth::Request>, now: Time, network: &mut Network) {
        if !self.reaches_broker(network) {
            return self.session.handle_stream_closed(false, now);
        }
        self.streams += 1;
        let stream = 1_000 * (self.id.0 as u64 + 1) + self.streams;
        self.stream = Some(stream);
        network.send(now, Cable::ToBroker(ToBroker::OpenStream(self.id, stream, request)));
    }

    fn readings(&self) -> Vec<Reading> {
        let reading = |(kind, value): (&FactKind, &FactValue)| Reading {
            kind: *kind,
            observed: Observed::Value(value.clone()),
            source: "world".into(),
            age_s: 0,
            simulated: true,
        };
        self.facts.iter().map(reading).collect()
    }

    fn obey(&mut self, plane: Plane, now: Time) {
        match plane {
            Plane::Key(secret) => {
                let tunnel = Tunnel::new(&secret, Tunnel::DEFAULT_MTU, now);
                self.plane = Some(Datapath::new(Side::Client, tunnel, Table::new([4; 16], Limits::DEVICE)));
                self.gateways.clear();
            }
            Plane::Peer { gateway, key, carriers } => {
                let Some(plane) = &mut self.plane else { return };
                let peer = match plane.tunnel.peer_with(&key) {
                    Some(peer) => peer,
                    None => plane.tunnel.add_peer(key, None, Role::Initiator, &mut self.chance, now).unwrap(),
                };
                plane.tunnel.set_carriers(peer, &carriers);
                self.gateways.insert(gateway, peer);
            }
            Plane::Allow(grant) => {
                let (Some(plane), Some(peer)) = (&mut self.plane, self.gateways.get(&grant.gateway)) else {
                    return;
                };
                let terms = ztna_model::Rule {
                    resource: grant.resource.clone(),
                    protocol: grant.protocol,
                    ports: grant.ports.clone(),
                    covers: grant.covers.clone(),
                };
                let via = Via(peer.number());
                let (scope, effect) = (Scope::DEVICE, Effect::Allow);
                let rule =
                    Rule { lease: grant.lease, scope, via, terms, deadline: Time::MAX, flows: 4_096, effect };
                plane.table.insert(rule).unwrap();
            }
            Plane::End { lease, reason } => {
                let _ended = self.plane.as_mut().and_then(|plane| plane.table.end(lease, reason));
            }
            Plane::Query { .. } => {}
            Plane::Clear(_) => self.plane = None,
        }
    }

    fn run_plane(&mut self, now: Time, network: &mut Network) -> bool {
        let Some(plane) = &mut self.plane else { return false };
        let due = plane.next_wake().is_some_and(|at| at <= now);
        if !due && self.to_send.is_empty() && !std::mem::take(&mut self.heard) {
            return false;
        }
        let _ended = plane.begin_batch(now);
        for packet in std::mem::take(&mut self.to_send) {
            let sealed = plane.seal(&packet, &mut self.wire);
            debug_assert!(!matches!(sealed, Sealed::Ask(_)), "nothing is asked for packet by packet");
        }
        plane.finish(&mut self.wire);
        for (to, bytes) in std::mem::take(&mut self.wire.sent) {
            if self.online {
                network.send(now, Cable::Datagram { from: self.address, to, bytes });
            }
        }
        true
    }

    fn hear_notice(&mut self, peer: PeerId, payload: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Notice {
            lease: LeaseId,
            reason: DenyReason,
        }
        let notice: Notice = serde_json::from_slice(payload).expect("a gateway's notice is JSON");
        let gateway = self.gateways.iter().find(|(_, known)| **known == peer).map(|(id, _)| id.clone());
        self.notices.push((notice.lease, notice.reason));
        if let Some(gateway) = gateway {
            self.session.handle_notice(&gateway, notice.lease, notice.reason);
        }
    }
}
