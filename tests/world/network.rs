use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ztna_api::device::{FromDevice, ToDevice};
use ztna_api::gateway::{FromGateway, ToGateway};
use ztna_auth::{CallError, Request, Response};
use ztna_model::{Time, millis};
use ztna_session::CallId;

use super::DeviceId;
use super::chance::Chance;
use super::nat::Nat;

/// What is on its way, in the order in which it will arrive.
pub(crate) struct Network {
    on_its_way: BTreeMap<(Time, u64), Cable>,
    count: u64,
    chance: Chance,
    /// How long everything takes.
    pub(crate) latency: Duration,
    /// How many datagrams of a hundred are lost.
    pub(crate) loss: u8,
    /// A translator of addresses in front of a device.
    pub(crate) nat: Option<Nat>,
    /// Whether anything reaches the broker, or comes from it.
    pub(crate) broker_reachable: bool,
    /// Every byte that was ever sent, for whoever listens in.
    pub(crate) heard: Vec<Vec<u8>>,
    /// Datagrams sent so far.
    pub(crate) datagrams: u64,
}

/// One thing on its way.
#[derive(Debug)]
pub(crate) enum Cable {
    ToBroker(ToBroker),
    ToDevice(DeviceId, DeviceHears),
    ToGateway(usize, GatewayHears),
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
}

/// What the broker hears.
#[derive(Debug)]
pub(crate) enum ToBroker {
    Call(DeviceId, CallId, Box<Request>),
    OpenStream(DeviceId, u64, Box<Request>),
    Frame(u64, Box<FromDevice>),
    StreamClosed(u64),
    GatewayOpened(usize, u64),
    GatewayFrame(u64, Box<FromGateway>),
    GatewayClosed(u64),
}

/// What a device hears.
#[derive(Debug)]
pub(crate) enum DeviceHears {
    Answer(CallId, Result<Box<Response>, CallError>),
    StreamOpened(u64),
    Frame(u64, Box<ToDevice>),
    StreamClosed(u64, bool),
}

/// What a gateway hears.
#[derive(Debug)]
pub(crate) enum GatewayHears {
    Opened(u64),
    Frame(u64, Box<ToGateway>),
    Closed(u64),
}

impl Network {
    pub(crate) const fn new(chance: Chance) -> Self {
        Self {
            on_its_way: BTreeMap::new(),
            count: 0,
            chance,
            latency: millis(5),
            loss: 0,
            nat: None,
            broker_reachable: true,
            heard: Vec::new(),
            datagrams: 0,
        }
    }

    pub(crate) fn send(&mut self, now: Time, mut cable: Cable) {
        if self.is_lost(&cable) {
            return;
        }
        if let (Cable::Datagram { from, to, .. }, Some(nat)) = (&mut cable, &mut self.nat) {
            *from = nat.outward(*from, *to);
        }
        self.count += 1;
        self.on_its_way.insert((now + self.latency, self.count), cable);
    }

    pub(crate) fn arrived(&mut self, now: Time) -> Option<Cable> {
        let first = *self.on_its_way.first_key_value()?.0;
        if first.0 > now {
            return None;
        }
        let mut cable = self.on_its_way.remove(&first)?;
        if let (Cable::Datagram { from, to, .. }, Some(nat)) = (&mut cable, &self.nat) {
            match nat.inward(*from, *to) {
                Some(inside) => *to = inside,
                None => return self.arrived(now),
            }
        }
        // What was under way when the broker went away does not arrive.
        if self.concerns_broker(&cable) && !self.broker_reachable { self.arrived(now) } else { Some(cable) }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.on_its_way.keys().next().map(|(at, _)| *at)
    }

    fn is_lost(&mut self, cable: &Cable) -> bool {
        match cable {
            Cable::Datagram { bytes, .. } => {
                self.datagrams += 1;
                self.heard.push(bytes.clone());
                self.chance.happens(self.loss)
            }
            Cable::ToBroker(ToBroker::Frame(_, frame)) => {
                self.heard.push(frame.write().into_bytes());
                !self.broker_reachable
            }
            Cable::ToBroker(_) | Cable::ToDevice(..) | Cable::ToGateway(..) => {
                self.concerns_broker(cable) && !self.broker_reachable
            }
        }
    }

    const fn concerns_broker(&self, cable: &Cable) -> bool {
        !matches!(cable, Cable::Datagram { .. })
    }
}
