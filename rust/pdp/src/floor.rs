use std::collections::BTreeMap;
use std::time::Duration;

use ztna_api::admin::{HoldTarget, Outstanding, Reach, ReachState};
use ztna_api::device::Over;
use ztna_api::gateway::{Floor, FloorHeld};
use ztna_model::{DenyReason, Epoch, GatewayId, HoldId, Lease, LeaseId, SessionId, Time, WallTime, secs};

use crate::audit::{By, Event};
use crate::input::StreamId;
use crate::ledger::Change;
use crate::output::{Alarm, Output};
use crate::pdp::Pdp;
use crate::rows::{Floored, Hold, Key, Session, Write};
use crate::timers::Timer;

/// Floors that some gateway may not have heard of: kept for as long as a lease can live.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    by_session: BTreeMap<SessionId, Sent>,
}

/// The latest floor of a session.
#[derive(Clone, Debug)]
struct Sent {
    epoch: Epoch,
    reason: DenyReason,
    at: Time,
    wall: WallTime,
    /// Gateways that held a lease which ended, and what is known of them.
    reach: BTreeMap<GatewayId, Reached>,
}

/// How far a floor has come at one gateway.
#[derive(Clone, Copy, Debug)]
struct Reached {
    /// When it was acknowledged.
    held: Option<Time>,
    /// When what the gateway held ends by itself.
    ends_by: Time,
}

impl Pdp {
    /// Voids all leases of the session but those that stay, which are signed anew: at all gateways, each with its own.
    /// Nothing here waits for the store.
    pub(crate) fn floor(
        &mut self,
        session: &Session,
        reason: DenyReason,
        ended: &[(LeaseId, DenyReason)],
        change: &mut Change,
    ) {
        let epoch = session.epoch.next();
        let floored = Some(Floored { at: self.clock.wall(), reason });
        let session = Session { epoch, floored, ..session.clone() };
        let reach = self.reach_of(&session.sid, ended);
        let mut writes = vec![Write::put(session.clone())];
        writes.extend(ended.iter().map(|(lease, _)| Write::Delete(Key::LeaseRow(*lease))));
        let waiting: Vec<_> = ended.iter().flat_map(|(id, why)| self.grants.end(*id, *why)).collect();
        self.overtake(&writes);
        let sent = Sent { epoch, reason, at: self.clock.boot(), wall: self.clock.wall(), reach };
        self.floors.by_session.insert(session.sid, sent);
        let kept = self.send_floor_everywhere(session.sid);
        for (lease, why) in ended {
            self.tell_session(&session.sid, Over { lease: *lease, reason: *why });
            let event = Event::LeaseEnded { lease: *lease, sid: session.sid, reason: *why };
            change.audit.push(self.entry(By::Broker, event));
        }
        self.refuse_waiting(waiting);
        change.writes.extend(writes);
        change.audit.push(self.entry(By::Broker, Event::Floor { sid: session.sid, epoch, reason, kept }));
        self.timers.set(self.clock.boot() + ANSWER, Timer::Floor(session.sid));
    }

    /// The gateways at which something ends. What an earlier floor still waits for goes on waiting.
    fn reach_of(&self, sid: &SessionId, ended: &[(LeaseId, DenyReason)]) -> BTreeMap<GatewayId, Reached> {
        let mut reach: BTreeMap<GatewayId, Reached> = BTreeMap::new();
        if let Some(before) = self.floors.by_session.get(sid) {
            let open = before.reach.iter().filter(|(_, reached)| reached.held.is_none());
            reach.extend(open.map(|(gateway, reached)| (gateway.clone(), *reached)));
        }
        for (id, _) in ended {
            let Some(row) = self.rows.leases.get(id) else { continue };
            let Some(ends_by) = self.grants.ends_by(id) else { continue };
            let reached =
                reach.entry(row.lease.gw.clone()).or_insert(Reached { held: None, ends_by: Time::ZERO });
            reached.ends_by = reached.ends_by.max(ends_by);
        }
        reach
    }

    fn send_floor_everywhere(&mut self, sid: SessionId) -> u32 {
        let mut kept = 0_u32;
        for (gateway, stream) in self.gateways.up() {
            let keep = self.send_floor(sid, &gateway, stream);
            kept = kept.saturating_add(u32::try_from(keep).unwrap_or(u32::MAX));
        }
        kept
    }

    /// Sends a session's latest floor to one gateway; returns how many of its leases stay.
    fn send_floor(&mut self, sid: SessionId, gateway: &GatewayId, stream: StreamId) -> usize {
        let Some(sent) = self.floors.by_session.get(&sid) else { return 0 };
        let (epoch, reason) = (sent.epoch, sent.reason);
        let leases = self.index.leases_of(&sid);
        let theirs = leases
            .into_iter()
            .filter(|id| self.rows.leases.get(id).is_some_and(|row| row.lease.gw == *gateway));
        let keep: Vec<String> =
            theirs.collect::<Vec<_>>().into_iter().filter_map(|id| self.sign_again(id)).collect();
        let kept = keep.len();
        self.tell_gateway(stream, Floor { sid, epoch, keep, reason });
        kept
    }

    /// A gateway that was away gets the floors it may have missed, before any list.
    pub(crate) fn send_recent_floors(&mut self, gateway: &GatewayId, stream: StreamId) {
        let sids: Vec<SessionId> = self.floors.by_session.keys().copied().collect();
        for sid in sids {
            self.send_floor(sid, gateway, stream);
        }
    }

    /// A floor is in force at a gateway.
    pub(crate) fn floor_held(&mut self, gateway: &GatewayId, held: FloorHeld) {
        let now = self.clock.boot();
        let Some(sent) = self.floors.by_session.get_mut(&held.sid) else { return };
        if held.epoch < sent.epoch {
            return;
        }
        let Some(reached) = sent.reach.get_mut(gateway).filter(|reached| reached.held.is_none()) else {
            return;
        };
        reached.held = Some(now);
        let after_ms = millis_of(now.since(sent.at));
        let event = Event::FloorHeld { sid: held.sid, epoch: held.epoch, gateway: gateway.clone(), after_ms };
        self.note(By::Gateway(gateway.clone()), event);
    }

    /// Some gateway has not acknowledged: whoever looks after the broker learns when its leases end by themselves.
    pub(crate) fn floor_unanswered(&mut self, sid: SessionId) {
        let now = self.clock.boot();
        let Some(sent) = self.floors.by_session.get(&sid) else { return };
        if now.since(sent.at) < ANSWER {
            return;
        }
        let silent = sent.reach.iter().filter(|(_, reached)| reached.held.is_none() && reached.ends_by > now);
        let alarms: Vec<Output> = silent
            .map(|(gateway, reached)| {
                let ends_by = self.clock.wall_at(reached.ends_by);
                Output::Alarm(Alarm::GatewaySilent { gateway: gateway.clone(), sid, ends_by })
            })
            .collect();
        self.out.extend(alarms);
    }

    /// Floors that no lease can be older than are forgotten.
    pub(crate) fn forget_floors(&mut self) {
        let now = self.clock.boot();
        self.floors.by_session.retain(|_, sent| now.since(sent.at) <= Lease::LONGEST + secs(60));
    }

    /// After a start, floors of the last minutes are sent again: the gateways may have been away for them.
    pub(crate) fn remember_floors(&mut self) {
        let (boot, wall) = (self.clock.boot(), self.clock.wall());
        for session in self.rows.sessions.values() {
            let Some(Floored { at, reason }) = session.floored else { continue };
            if wall.since(at) <= Lease::LONGEST {
                let sent = Sent { epoch: session.epoch, reason, at: boot, wall: at, reach: BTreeMap::new() };
                self.floors.by_session.insert(session.sid, sent);
            }
        }
    }

    /// How far the floors of these sessions have come, gateway by gateway; the slowest counts.
    pub(crate) fn reach(&self, sids: &[SessionId]) -> Vec<Reach> {
        let mut worst: BTreeMap<GatewayId, ReachState> = BTreeMap::new();
        for sent in sids.iter().filter_map(|sid| self.floors.by_session.get(sid)) {
            for (gateway, reached) in &sent.reach {
                let state = match reached.held {
                    Some(held) => ReachState::InForce { after_ms: millis_of(held.since(sent.at)) },
                    None => ReachState::Silent { ends_by: self.clock.wall_at(reached.ends_by) },
                };
                let known = worst.entry(gateway.clone()).or_insert(state);
                *known = slower(*known, state);
            }
        }
        worst.into_iter().map(|(gateway, state)| Reach { gateway, state }).collect()
    }

    /// The sessions that a hold has cut since it was placed.
    pub(crate) fn cut_by(&self, hold: &HoldId) -> Vec<SessionId> {
        let Some(Hold { target, placed, .. }) = self.rows.holds.get(hold) else { return Vec::new() };
        let since =
            |sid: &SessionId| self.floors.by_session.get(sid).is_some_and(|sent| sent.wall >= *placed);
        match target {
            HoldTarget::Resource(_) => self.floors.by_session.keys().copied().filter(since).collect(),
            HoldTarget::Person(_) | HoldTarget::Device(_) | HoldTarget::Session(_) => {
                self.sessions_under(target).into_iter().filter(since).collect()
            }
        }
    }

    /// Revocations that some gateway has not acknowledged, and whose leases may live on there.
    pub(crate) fn outstanding(&self) -> Vec<Outstanding> {
        let now = self.clock.boot();
        let open = self.floors.by_session.iter().filter(|(_, sent)| {
            sent.reach.values().any(|reached| reached.held.is_none() && reached.ends_by > now)
        });
        open.map(|(sid, sent)| Outstanding { sid: *sid, reason: sent.reason, reach: self.reach(&[*sid]) })
            .collect()
    }
}

fn slower(one: ReachState, other: ReachState) -> ReachState {
    use ReachState::{InForce, Silent};
    match (one, other) {
        (Silent { ends_by: one }, Silent { ends_by: other }) => Silent { ends_by: one.max(other) },
        (Silent { ends_by }, InForce { .. }) | (InForce { .. }, Silent { ends_by }) => Silent { ends_by },
        (InForce { after_ms: one }, InForce { after_ms: other }) => InForce { after_ms: one.max(other) },
    }
}

pub(crate) fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// How long a gateway may take to acknowledge a floor before somebody is told.
const ANSWER: Duration = secs(2);

#[cfg(test)]
mod tests;
