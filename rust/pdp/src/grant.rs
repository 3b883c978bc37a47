//! Leases from decision to end: recorded, offered on a fresh beat, held by the gateway, renewed, over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ztna_api::device::{Granted, Refused};
use ztna_model::{
    Decision, DenyReason, Fix, GatewayId, Grant, Lease, LeaseId, Match, ResourceId, SessionId, Time, millis,
};

use crate::input::StreamId;
use crate::pdp::Pdp;

mod offer; // from the store to the gateway
mod sign; // on a fresh beat, for no longer than the answer stays
pub(crate) use sign::Signing;

mod stay; // what lives on, and what is over by itself

/// What dies with this process of the leases.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    lives: BTreeMap<LeaseId, Life>,
    wanted: BTreeMap<(SessionId, ResourceId, Match), LeaseId>,
    /// Renewals without change since the start, and how many of them were written down.
    renewals: u64,
    renewals_noted: u64,
}

/// A lease, from its decision on.
#[derive(Debug)]
struct Life {
    lease: Lease,
    phase: Phase,
    waiting: Vec<Waiting>,
    signed: Option<Signed>,
    /// When its gateway last asked for a renewal and got it.
    renewed: Option<Time>,
    /// When what its gateway holds of it ends by itself, by our boot clock.
    ends_by: Time,
    /// Whether its gateway may hold it: it was sent there once.
    sent: bool,
    /// When its phase began.
    since: Time,
    /// Gateways that did not answer.
    tried: BTreeSet<GatewayId>,
    timed: bool,
}

/// Where a lease is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Its row is on the way to the store.
    Recording,
    /// It waits for a beat to be signed on.
    Waiting,
    /// Its gateway has been sent it.
    Offered,
    /// Its gateway holds it.
    Held,
}

/// How a lease was last signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Signed {
    at_ms: u64,
    ttl: Duration,
    /// When we heard the beat that `at_ms` is of.
    heard: Time,
}

/// Who waits for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waiting {
    /// A device that has asked.
    Asked(StreamId, u64),
    /// The session's device, whichever stream it has by then: nobody asked.
    Unasked,
}

/// Somebody waited in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InVain {
    waiting: Waiting,
    reason: DenyReason,
}

impl Grants {
    /// The lease is over; returns who waited for it in vain.
    pub(crate) fn end(&mut self, id: LeaseId, reason: DenyReason) -> Vec<InVain> {
        let waiting = self.take(id).map(|life| life.waiting).unwrap_or_default();
        waiting.into_iter().map(|waiting| InVain { waiting, reason }).collect()
    }

    fn take(&mut self, id: LeaseId) -> Option<Life> {
        let life = self.lives.remove(&id)?;
        let key = key(&life.lease);
        if self.wanted.get(&key) == Some(&id) {
            self.wanted.remove(&key);
        }
        Some(life)
    }

    fn begin(&mut self, life: Life) {
        self.wanted.insert(key(&life.lease), life.lease.id);
        self.lives.insert(life.lease.id, life);
    }

    /// The session's lease to exactly this, wherever it is.
    pub(crate) fn wanted(&self, sid: SessionId, resource: &ResourceId, covers: &Match) -> Option<LeaseId> {
        self.wanted.get(&(sid, resource.clone(), covers.clone())).copied()
    }

    /// All that the session's leases cover.
    pub(crate) fn covers_of(&self, sid: SessionId) -> impl Iterator<Item = &Match> {
        self.wanted.keys().filter(move |(other, _, _)| *other == sid).map(|(_, _, covers)| covers)
    }

    /// Whether the gateway may hold it.
    pub(crate) fn is_signed(&self, id: &LeaseId) -> bool {
        self.lives.get(id).is_some_and(|life| life.sent)
    }

    pub(crate) fn is_held(&self, id: &LeaseId) -> bool {
        self.lives.get(id).is_some_and(|life| life.phase == Phase::Held)
    }

    /// Whether it was renewed a moment ago, so that to do it again would be work for nothing.
    pub(crate) fn is_fresh(&self, id: &LeaseId, now: Time) -> bool {
        let Some(Life { renewed: Some(renewed), signed: Some(signed), .. }) = self.lives.get(id) else {
            return false;
        };
        now.since(*renewed) < MOMENT.min(signed.ttl / 16)
    }

    pub(crate) fn is_recording(&self, id: &LeaseId) -> bool {
        self.lives.get(id).is_some_and(|life| life.phase == Phase::Recording)
    }

    /// When what the gateway holds of it ends by itself; none if it was never signed.
    pub(crate) fn ends_by(&self, id: &LeaseId) -> Option<Time> {
        self.lives.get(id).filter(|_| self.is_signed(id)).map(|life| life.ends_by)
    }

    pub(crate) fn wait(&mut self, id: LeaseId, waiting: Waiting) {
        if let Some(life) = self.lives.get_mut(&id) {
            life.waiting.push(waiting);
        }
    }

    /// Renewals since the start.
    pub(crate) const fn renewals(&self) -> u64 {
        self.renewals
    }

    /// Renewals that were not written down, which they are by being taken.
    pub(crate) const fn take_unnoted(&mut self) -> u64 {
        let unnoted = self.renewals - self.renewals_noted;
        self.renewals_noted = self.renewals;
        unnoted
    }
}

impl Pdp {
    /// A gateway asked for a renewal and got it: it is counted, and the session is not idle.
    pub(crate) fn renewed_once(&mut self, id: LeaseId) {
        let now = self.clock.boot();
        let Some(life) = self.grants.lives.get_mut(&id) else { return };
        life.renewed = Some(now);
        let sid = life.lease.sid;
        self.grants.renewals = self.grants.renewals.saturating_add(1);
        self.heard_of(sid);
    }

    /// Tells those who waited in vain.
    pub(crate) fn refuse_waiting(&mut self, in_vain: Vec<InVain>) {
        for InVain { waiting, reason } in in_vain {
            if let Waiting::Asked(stream, request) = waiting {
                let fixes = fixes_for(reason);
                let decision = Decision::Denied { reason, fixes };
                self.tell(stream, Refused { request, decision });
            }
        }
    }

    /// The lease as its device is told of it, if its gateway is connected.
    fn grant_of(&self, id: &LeaseId) -> Option<Grant> {
        let life = self.grants.lives.get(id).filter(|life| life.phase == Phase::Held)?;
        let lease = &life.lease;
        let run = self.gateways.run(&lease.gw).filter(|run| run.id == lease.run)?;
        Some(Grant {
            lease: lease.id,
            resource: lease.rule.resource.clone(),
            gateway: lease.gw.clone(),
            gateway_key: run.wg_pub,
            statement: run.statement.clone(),
            carriers: run.carriers.clone(),
            protocol: lease.rule.protocol,
            ports: lease.rule.ports.clone(),
            covers: lease.rule.covers.clone(),
        })
    }

    /// All that the session may reach at this moment.
    pub(crate) fn live_grants(&self, sid: &SessionId) -> Vec<Grant> {
        self.index.leases_of(sid).iter().filter_map(|id| self.grant_of(id)).collect()
    }

    /// Tells whoever waits that the lease is in place.
    pub(crate) fn tell_granted(&mut self, id: LeaseId, waiting: Vec<Waiting>) {
        let Some(grant) = self.grant_of(&id) else { return };
        let Some(sid) = self.grants.lives.get(&id).map(|life| life.lease.sid) else { return };
        for one in waiting {
            match one {
                Waiting::Asked(stream, request) => {
                    self.tell(stream, Granted { request: Some(request), grant: grant.clone() });
                }
                Waiting::Unasked => {
                    if let Some(stream) = self.devices.keyed_stream(&sid) {
                        self.tell(stream, Granted { request: None, grant: grant.clone() });
                    }
                }
            }
        }
    }
}

fn key(lease: &Lease) -> (SessionId, ResourceId, Match) {
    (lease.sid, lease.rule.resource.clone(), lease.rule.covers.clone())
}

fn fixes_for(reason: DenyReason) -> Vec<Fix> {
    let passes = matches!(reason, DenyReason::GatewayAway | DenyReason::Fault | DenyReason::Restarted);
    if passes { vec![Fix::Retry] } else { Vec::new() }
}

/// Much less than the time after which a gateway asks again, at most.
const MOMENT: Duration = millis(500);

#[cfg(test)]
mod tests;
