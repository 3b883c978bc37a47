use std::collections::BTreeSet;
use std::time::Duration;

use ztna_api::gateway::{BeatPlease, Offered};
use ztna_model::{DenyReason, GatewayId, Lease, LeaseId, Time, secs};

use super::sign::Signing;
use super::{InVain, Life, Phase, Waiting};
use crate::ask::Seek;
use crate::audit::{By, Event};
use crate::cedar::Judged;
use crate::ledger::{Change, Outcome};
use crate::pdp::Pdp;
use crate::rows::{Key, LeaseRow};
use crate::timers::Timer;

impl Pdp {
    /// Writes a lease down, with the decision it rests on, before it is signed for the first time.
    pub(crate) fn record_lease(
        &mut self,
        lease: Lease,
        judged: Judged,
        waiting: Vec<Waiting>,
        tried: BTreeSet<GatewayId>,
    ) {
        let (id, now) = (lease.id, self.clock.boot());
        let by = self.rows.sessions.get(&lease.sid).map_or(By::Broker, |session| self.by(&session.person));
        let event = Event::LeaseGranted {
            decision: lease.decision,
            lease: id,
            sid: lease.sid,
            person: lease.person,
            device: lease.device,
            resource: lease.rule.resource.clone(),
            gateway: lease.gw.clone(),
            policies: judged.policies,
        };
        let mut change = Change::default();
        change.audit.push(self.entry(by, event));
        change.put(LeaseRow { lease: lease.clone(), since: self.clock.wall() });
        let phase = Phase::Recording;
        self.grants.begin(Life {
            lease,
            phase,
            waiting,
            signed: None,
            renewed: None,
            ends_by: Time::ZERO,
            sent: false,
            since: now,
            tried,
            timed: false,
        });
        self.propose(None, change, move |pdp, outcome| match outcome {
            Outcome::Written => pdp.lease_recorded(id),
            Outcome::Overtaken | Outcome::Claimed(_) | Outcome::StoreDown => {
                let in_vain = pdp.grants.end(id, DenyReason::Fault);
                pdp.refuse_waiting(in_vain);
            }
        });
    }

    fn lease_recorded(&mut self, id: LeaseId) {
        if let Some(life) = self.grants.lives.get_mut(&id) {
            (life.phase, life.since) = (Phase::Waiting, self.clock.boot());
            self.timers.set(self.clock.boot() + ANSWER, Timer::Offer(id));
            self.offer(id);
        } else {
            // It ended while it was on its way: only its row is left.
            let mut change = Change::default();
            change.delete(Key::LeaseRow(id));
            self.enforce(change, |_, _| ());
        }
    }

    /// Signs the lease and sends it to its gateway, or asks for the beat that is missing.
    fn offer(&mut self, id: LeaseId) {
        let Some(life) = self.grants.lives.get(&id).filter(|life| life.phase == Phase::Waiting) else {
            return;
        };
        let (gateway, sid) = (life.lease.gw.clone(), life.lease.sid);
        let Some(stream) = self.gateways.stream(&gateway) else { return };
        match self.sign_for_longer(id) {
            Signing::Done(lease) => {
                if let Some(life) = self.grants.lives.get_mut(&id) {
                    (life.phase, life.sent) = (Phase::Offered, true);
                }
                let carriers = self.devices.carriers(&sid);
                self.tell_gateway(stream, Offered { lease, carriers });
            }
            Signing::LacksBeat => self.tell_gateway(stream, BeatPlease {}),
            // Between the decision and its signature the answer has become a no.
            Signing::Refused(reason) => self.end_lease(id, reason, By::Broker, false),
        }
    }

    /// The gateway has beaten: what waited for that goes out.
    pub(crate) fn offer_waiting(&mut self, gateway: &GatewayId) {
        for id in self.index.leases_at(gateway) {
            self.offer(id);
        }
    }

    /// The gateway has connected anew: what it has not acknowledged may never have reached it.
    pub(crate) fn offer_again(&mut self, gateway: &GatewayId) {
        for id in self.index.leases_at(gateway) {
            // One that was taken over from before this process is as uncertain: how it was signed is not known.
            let uncertain = |life: &&mut Life| life.phase == Phase::Offered || life.signed.is_none();
            if let Some(life) = self.grants.lives.get_mut(&id).filter(uncertain)
                && life.phase != Phase::Recording
            {
                (life.phase, life.since) = (Phase::Waiting, self.clock.boot());
                self.timers.set(self.clock.boot() + ANSWER, Timer::Offer(id));
            }
        }
        self.offer_waiting(gateway);
    }

    /// The gateway holds the lease: packets pass from here on, and the device may know.
    pub(crate) fn lease_in_place(&mut self, id: LeaseId) {
        let Some(life) = self.grants.lives.get_mut(&id).filter(|life| life.phase == Phase::Offered) else {
            return;
        };
        life.phase = Phase::Held;
        let waiting = std::mem::take(&mut life.waiting);
        self.tell_granted(id, waiting);
    }

    /// The gateway has not answered: another one is asked.
    pub(crate) fn offer_unanswered(&mut self, id: LeaseId) {
        let unanswered = |life: &&Life| matches!(life.phase, Phase::Waiting | Phase::Offered);
        let Some(life) = self.grants.lives.get_mut(&id).filter(|life| unanswered(&&**life)) else { return };
        if self.clock.boot().since(life.since) < ANSWER {
            return;
        }
        if !life.waiting.iter().any(|waiting| matches!(waiting, Waiting::Asked(..))) {
            return; // nobody is kept waiting: it is offered again when the gateway comes back
        }
        let (lease, waiting) = (life.lease.clone(), std::mem::take(&mut life.waiting));
        let mut tried = std::mem::take(&mut life.tried);
        tried.insert(lease.gw.clone());
        self.end_lease(id, DenyReason::GatewayAway, By::Broker, true);
        self.seek(Seek { tried, ..Seek::again(&lease, waiting) });
    }

    /// Those who waited get a refusal.
    pub(crate) fn in_vain(&mut self, waiting: Vec<Waiting>, reason: DenyReason) {
        let in_vain = waiting.into_iter().map(|waiting| InVain { waiting, reason }).collect();
        self.refuse_waiting(in_vain);
    }
}

/// How long a gateway may take to answer an offer.
const ANSWER: Duration = secs(2);
