#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::collections::BTreeMap;

use ztna_api::discovery::Versions;
use ztna_api::gateway::{self, Beat, FromGateway, ToGateway};
use ztna_api::{key, lease};
use ztna_model::{GatewayId, Lease, RunId, Signer, WgPublic};
use ztna_net::keys::P256Key;

use super::{Bench, carrier, org};
use crate::{GatewayOpened, Input, Output, StreamId};

/// A gateway that does what it is told.
pub(crate) struct Gate {
    pub(crate) id: GatewayId,
    pub(crate) key: P256Key,
    pub(crate) run: RunId,
    pub(crate) stream: StreamId,
    /// Leases it holds, as last signed.
    pub(crate) leases: BTreeMap<ztna_model::LeaseId, Lease>,
    pub(crate) silent: bool,
}

impl Bench {
    /// A connected gateway.
    pub(crate) fn gate(&mut self, id: &str, key: P256Key) -> Gate {
        let mut gate = Gate {
            id: id.parse().unwrap(),
            key,
            run: RunId([0; 16]),
            stream: StreamId(0),
            leases: BTreeMap::new(),
            silent: false,
        };
        self.start_gate(&mut gate);
        gate
    }

    /// The gateway's process starts: it holds nothing.
    pub(crate) fn start_gate(&mut self, gate: &mut Gate) {
        gate.run = RunId(key::sha256(&self.number().to_be_bytes())[..16].try_into().unwrap());
        gate.leases.clear();
        self.connect_gate(gate);
    }

    pub(crate) fn connect_gate(&mut self, gate: &mut Gate) {
        gate.stream = StreamId(self.number());
        let (stream, gateway, key) = (gate.stream, gate.id.clone(), gate.key.public_key());
        self.handle(Input::GatewayOpened(GatewayOpened { stream, gateway, key }));
        if !gate.silent {
            self.beating.insert(stream, gate.run);
        }
        let wg_pub = WgPublic([5; 32]);
        let statement = gateway::Statement { org: org(), gw: gate.id.clone(), run: gate.run, wg_pub };
        let hello = gateway::Hello {
            org: org(),
            versions: Versions::OURS,
            beat: self.beat_of(gate),
            wg_pub,
            statement: statement.sign(&gate.key, Vec::new()).unwrap(),
            carriers: vec![carrier()],
            software: "test".into(),
        };
        self.tell(gate, hello);
        self.gate_answers(gate);
    }

    pub(crate) fn beat_of(&self, gate: &Gate) -> Beat {
        Beat { run: gate.run, now: self.now.boot.as_millis() + 5_000_000 }
    }

    pub(super) fn gates_beat(&mut self) {
        while let Some(stream) = self.find(|output| match output {
            Output::ToGateway(stream, ToGateway::BeatPlease(_)) => Some(*stream),
            _ => None,
        }) {
            if let Some(run) = self.beating.get(&stream).copied() {
                let beat = Beat { run, now: self.now.boot.as_millis() + 5_000_000 };
                self.handle(Input::FromGateway(stream, beat.into()));
            }
        }
    }

    pub(crate) fn tell(&mut self, gate: &Gate, frame: impl Into<FromGateway>) {
        self.handle(Input::FromGateway(gate.stream, frame.into()));
    }

    pub(crate) fn gate_frames(&mut self, gate: &Gate) -> Vec<ToGateway> {
        let mut frames = Vec::new();
        while let Some(frame) = self.find(|output| match output {
            Output::ToGateway(to, frame) if *to == gate.stream => Some(frame.clone()),
            _ => None,
        }) {
            frames.push(frame);
        }
        frames
    }

    /// The gateway does what it was told, until nothing is left to do. Returns the frames.
    pub(crate) fn gate_answers(&mut self, gate: &mut Gate) -> Vec<ToGateway> {
        let mut all = Vec::new();
        while !gate.silent {
            let frames = self.gate_frames(gate);
            if frames.is_empty() {
                break;
            }
            for frame in &frames {
                self.obey(gate, frame);
            }
            all.extend(frames);
        }
        all
    }

    fn obey(&mut self, gate: &mut Gate, frame: &ToGateway) {
        match frame {
            ToGateway::Welcome(_) => {}
            ToGateway::BeatPlease(_) => self.tell(gate, self.beat_of(gate)),
            ToGateway::Lease(offered) => {
                let lease = self.verified(gate, &offered.lease);
                gate.leases.insert(lease.id, lease.clone());
                self.tell(gate, gateway::Held { lease: lease.id });
            }
            ToGateway::Renewed(renewed) => {
                for text in &renewed.leases {
                    let lease = self.verified(gate, text);
                    gate.leases.insert(lease.id, lease);
                }
            }
            ToGateway::Floor(floor) => {
                gate.leases.retain(|_, lease| lease.sid != floor.sid || lease.epoch >= floor.epoch);
                for text in &floor.keep {
                    let lease = self.verified(gate, text);
                    assert_eq!(lease.epoch, floor.epoch);
                    gate.leases.insert(lease.id, lease);
                }
                self.tell(gate, gateway::FloorHeld { sid: floor.sid, epoch: floor.epoch });
            }
            ToGateway::List(list) => gate.leases.retain(|id, _| list.live.contains(id)),
            ToGateway::Over(over) => {
                gate.leases.remove(&over.lease);
            }
        }
    }

    /// The checks of protocol 5.3 that concern the lease itself.
    pub(crate) fn verified(&self, gate: &Gate, text: &str) -> Lease {
        let lease = lease::verify(text, &self.keyset).unwrap();
        assert_eq!((&lease.org, &lease.gw, lease.run), (&org(), &gate.id, gate.run));
        assert!(lease.ttl <= 300_000 && lease.ttl > 0, "{lease:?}");
        let now = self.beat_of(gate).now;
        assert!(lease.at <= now && now < lease.at + lease.ttl, "{lease:?} at {now}");
        if let Some(known) = gate.leases.get(&lease.id) {
            let stamped = Lease {
                epoch: lease.epoch,
                at: lease.at,
                ttl: lease.ttl,
                decision: lease.decision,
                ..known.clone()
            };
            assert_eq!(lease, stamped, "a renewal changes nothing else");
            assert!(lease.epoch >= known.epoch);
        }
        lease
    }

    /// The gateway asks for all its leases to be renewed.
    pub(crate) fn renew_all(&mut self, gate: &mut Gate) -> Vec<ToGateway> {
        let renew =
            gateway::Renew { beat: self.beat_of(gate), leases: gate.leases.keys().copied().collect() };
        self.tell(gate, renew);
        self.gate_answers(gate)
    }
}
