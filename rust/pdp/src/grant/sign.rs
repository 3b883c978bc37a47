use std::time::Duration;

use ztna_api::lease;
use ztna_model::{Lease, LeaseId};

use super::{Phase, Signed};
use crate::floor::millis_of;
use crate::output::{Alarm, Output};
use crate::pdp::Pdp;
use crate::timers::Timer;

impl Pdp {
    /// Signs a lease on its gateway's latest beat, for as long as the full decision allows. Nothing without a fresh
    /// beat, without a yes, or if its run is over.
    pub(crate) fn sign_for_longer(&mut self, id: LeaseId) -> Option<String> {
        let row = self.rows.leases.get(&id)?.lease.clone();
        let (judged, ttl) = self.decide_lease(&row);
        if !judged.decision.is_granted() || ttl.is_zero() {
            return None;
        }
        let run = self.gateways.run(&row.gw).filter(|run| run.id == row.run)?;
        if !run.has_fresh_beat(self.clock.boot(), ttl) {
            return None;
        }
        let signed = Signed { at_ms: run.beat_ms, ttl, heard: run.heard };
        let text = self.sign(&row, signed)?;
        if self.grants.is_held(&id) {
            self.grants.renewals = self.grants.renewals.saturating_add(1);
            self.heard_of(row.sid);
        }
        Some(text)
    }

    /// Signs a lease that stays under its session's new epoch. It lives no longer for it: same beat, same end, or an
    /// earlier one. So a floor never has to wait for a beat.
    pub(crate) fn sign_again(&mut self, id: LeaseId) -> Option<String> {
        let row = self.rows.leases.get(&id)?.lease.clone();
        let life = self.grants.lives.get(&id).filter(|_| self.grants.is_signed(&id))?;
        let Some(Signed { at_ms, ttl, heard }) = life.signed else { return self.sign_for_longer(id) };
        let now = self.clock.boot();
        let (judged, longest) = self.decide_lease(&row);
        let ttl = ttl.min(now.since(heard) + longest);
        let over = now.since(heard) >= ttl;
        if !judged.decision.is_granted() || longest.is_zero() || over {
            return None;
        }
        self.sign(&row, Signed { at_ms, ttl, heard })
    }

    fn sign(&mut self, row: &Lease, signed: Signed) -> Option<String> {
        let epoch = self.rows.sessions.get(&row.sid)?.epoch;
        let lease = Lease { epoch, at: signed.at_ms, ttl: millis_of(signed.ttl), ..row.clone() };
        let Ok(text) = lease::sign(&*self.keys.lease, &lease) else {
            self.out.push_back(Output::Alarm(Alarm::CannotSign));
            return None;
        };
        let life = self.grants.lives.get_mut(&row.id)?;
        life.signed = Some(signed);
        life.ends_by = signed.heard + signed.ttl;
        if !std::mem::replace(&mut life.timed, true) {
            let over = life.ends_by;
            self.timers.set(over, Timer::LeaseOver(row.id));
        }
        Some(text)
    }

    /// Whether the lease waits for nothing but a beat.
    pub(super) fn lacks_a_beat(&self, id: LeaseId) -> bool {
        let Some(row) = self.rows.leases.get(&id) else { return false };
        let (judged, ttl) = self.decide_lease(&row.lease);
        let fresh = |ttl: Duration| {
            let run = self.gateways.run(&row.lease.gw);
            run.is_some_and(|run| run.has_fresh_beat(self.clock.boot(), ttl))
        };
        let phase = self.grants.lives.get(&id).map(|life| life.phase);
        phase == Some(Phase::Waiting) && judged.decision.is_granted() && !ttl.is_zero() && !fresh(ttl)
    }
}
