use ztna_api::lease;
use ztna_model::{DenyReason, Lease, LeaseId};

use super::Signed;
use crate::decide::reason_of;
use crate::floor::millis_of;
use crate::output::{Alarm, Output};
use crate::pdp::Pdp;
use crate::timers::Timer;

/// What came of an attempt to sign a lease.
pub(crate) enum Signing {
    /// The lease, a JWS.
    Done(String),
    /// The latest beat is too old.
    LacksBeat,
    /// The full decision is a no, or there is nothing to sign with.
    Refused(DenyReason),
}

impl Pdp {
    /// Signs a lease on its gateway's latest beat, for as long as the full decision allows.
    pub(crate) fn sign_for_longer(&mut self, id: LeaseId) -> Signing {
        let Some(row) = self.rows.leases.get(&id).map(|row| row.lease.clone()) else {
            return Signing::Refused(DenyReason::Revoked);
        };
        let (judged, ttl) = self.decide_lease(&row);
        if !judged.decision.is_granted() || ttl.is_zero() {
            return Signing::Refused(reason_of(&judged.decision));
        }
        let Some(run) = self.gateways.run(&row.gw).filter(|run| run.id == row.run) else {
            return Signing::Refused(DenyReason::GatewayAway);
        };
        if !run.has_fresh_beat(self.clock.boot(), ttl) {
            return Signing::LacksBeat;
        }
        let signed = Signed { at_ms: run.beat_ms, ttl, heard: run.heard };
        match self.sign(&row, signed) {
            Some(text) => Signing::Done(text),
            None => Signing::Refused(DenyReason::Fault),
        }
    }

    /// Signs a lease that stays under its session's new epoch. It lives no longer for it: same beat, same end, or an
    /// earlier one. So a floor never has to wait for a beat.
    pub(crate) fn sign_again(&mut self, id: LeaseId) -> Option<String> {
        let row = self.rows.leases.get(&id)?.lease.clone();
        // A gateway that was started anew has lost it.
        self.gateways.run(&row.gw).filter(|run| run.id == row.run)?;
        let life = self.grants.lives.get(&id).filter(|_| self.grants.is_signed(&id))?;
        let Some(Signed { at_ms, ttl, heard }) = life.signed else {
            return match self.sign_for_longer(id) {
                Signing::Done(text) => Some(text),
                Signing::LacksBeat | Signing::Refused(_) => None,
            };
        };
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
}
