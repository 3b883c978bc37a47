//! Gateways: enrolment, their streams, their clocks, and what they say of leases.

use std::collections::BTreeMap;
use std::time::Duration;

use ztna_api::gateway::{Beat, FromGateway, ToGateway};
use ztna_model::{Carrier, GatewayId, RunId, Time, WgPublic, secs};

use crate::input::StreamId;
use crate::output::Output;
use crate::pdp::Pdp;

mod enrol; // a gateway comes in
mod link; // its stream: hello, floors, list
mod say; // what it says of leases

/// What dies with this process of the gateways' side.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    links: BTreeMap<GatewayId, Link>,
}

/// A gateway's stream.
#[derive(Clone, Debug)]
struct Link {
    stream: StreamId,
    /// What its hello said; before it, nothing is sent.
    run: Option<Run>,
}

/// One run of a gateway's process.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) wg_pub: WgPublic,
    pub(crate) statement: String,
    pub(crate) carriers: Vec<Carrier>,
    /// The gateway's boot clock at its latest beat, in milliseconds.
    pub(crate) beat_ms: u64,
    /// When we heard it.
    pub(crate) heard: Time,
}

impl Run {
    /// Whether the latest beat is young enough to sign on, for leases of this life.
    pub(crate) fn has_fresh_beat(&self, now: Time, ttl: Duration) -> bool {
        now.since(self.heard) <= OLDEST_BEAT.min(ttl / 4)
    }
}

impl Gateways {
    /// Gateways that have said hello, and their streams.
    pub(crate) fn up(&self) -> Vec<(GatewayId, StreamId)> {
        let up = self.links.iter().filter(|(_, link)| link.run.is_some());
        up.map(|(gateway, link)| (gateway.clone(), link.stream)).collect()
    }

    pub(crate) fn stream(&self, gateway: &GatewayId) -> Option<StreamId> {
        self.links.get(gateway).filter(|link| link.run.is_some()).map(|link| link.stream)
    }

    pub(crate) fn run(&self, gateway: &GatewayId) -> Option<&Run> {
        self.links.get(gateway)?.run.as_ref()
    }

    /// A gateway's stream, and when its clock was last heard.
    fn pulse(&self, gateway: &GatewayId) -> Option<(StreamId, Time)> {
        let link = self.links.get(gateway)?;
        Some((link.stream, link.run.as_ref()?.heard))
    }

    fn of_stream(&self, stream: StreamId) -> Option<GatewayId> {
        self.links.iter().find(|(_, link)| link.stream == stream).map(|(gateway, _)| gateway.clone())
    }

    fn run_mut(&mut self, gateway: &GatewayId) -> Option<&mut Run> {
        self.links.get_mut(gateway)?.run.as_mut()
    }
}

impl Pdp {
    pub(crate) fn tell_gateway(&mut self, stream: StreamId, frame: impl Into<ToGateway>) {
        self.out.push_back(Output::ToGateway(stream, frame.into()));
    }

    pub(crate) fn gateway_says(&mut self, stream: StreamId, frame: FromGateway) {
        let Some(gateway) = self.gateways.of_stream(stream) else { return };
        if self.gateways.run(&gateway).is_none() {
            return match frame {
                FromGateway::Hello(hello) => self.gateway_hello(gateway, stream, hello),
                FromGateway::Beat(_)
                | FromGateway::Held(_)
                | FromGateway::Declined(_)
                | FromGateway::Renew(_)
                | FromGateway::Ended(_)
                | FromGateway::FloorHeld(_)
                | FromGateway::Reachable(_) => self.drop_gateway(stream), // it speaks before its hello
            };
        }
        match frame {
            // Each costs a list, floors and a row of the log: one is enough.
            FromGateway::Hello(_) => self.drop_gateway(stream),
            FromGateway::Beat(beat) => self.beat(&gateway, beat),
            FromGateway::Held(held) => self.lease_held(&gateway, held.lease),
            FromGateway::Declined(declined) => self.lease_declined(&gateway, declined),
            FromGateway::Renew(renew) => {
                self.beat(&gateway, renew.beat);
                self.renew(&gateway, stream, renew.leases);
            }
            FromGateway::Ended(ended) => self.lease_ended_there(&gateway, ended),
            FromGateway::FloorHeld(held) => self.floor_held(&gateway, held),
            FromGateway::Reachable(reachable) => {
                if let Some(run) = self.gateways.run_mut(&gateway) {
                    run.carriers = crate::device::some_carriers(reachable.carriers);
                }
            }
        }
    }

    /// Takes a beat. The clock of one run never goes back: one that did is not believed.
    fn beat(&mut self, gateway: &GatewayId, beat: Beat) {
        let now = self.clock.boot();
        let Some(run) = self.gateways.run_mut(gateway).filter(|run| run.id == beat.run) else { return };
        if beat.now < run.beat_ms {
            return;
        }
        (run.beat_ms, run.heard) = (beat.now, now);
        self.offer_waiting(gateway);
    }

    fn drop_gateway(&mut self, stream: StreamId) {
        self.out.push_back(Output::Close(stream));
        self.gateway_closed(stream);
    }
}

/// The oldest beat that anything is signed on.
const OLDEST_BEAT: Duration = secs(60);

#[cfg(test)]
mod tests;
