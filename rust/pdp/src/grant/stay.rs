use std::collections::BTreeSet;

use ztna_model::{Decision, DenyReason, Lease, LeaseId};

use super::{Life, Phase, Waiting};
use crate::audit::By;
use crate::decide::reason_of;
use crate::pdp::Pdp;
use crate::timers::Timer;

impl Pdp {
    /// After a start, leases of before live on. Each is offered to its gateway once more when that connects, since it may
    /// never have got there, and its device is told when it is in place.
    pub(crate) fn adopt_leases(&mut self) {
        let now = self.clock.boot();
        let leases: Vec<Lease> = self.rows.leases.values().map(|row| row.lease.clone()).collect();
        for lease in leases {
            // How they were last signed is not known, but no lease is signed for longer than this.
            let ends_by = now + Lease::LONGEST;
            self.timers.set(ends_by, Timer::LeaseOver(lease.id));
            self.grants.begin(Life {
                lease,
                phase: Phase::Held,
                waiting: vec![Waiting::Unasked],
                signed: None,
                renewed: None,
                ends_by,
                sent: true,
                since: now,
                tried: BTreeSet::new(),
                timed: true,
            });
        }
    }

    /// A lease is over by itself, unless it was renewed since the timer was set.
    pub(crate) fn lease_over(&mut self, id: LeaseId) {
        let Some(life) = self.grants.lives.get(&id) else { return };
        if life.ends_by > self.clock.boot() {
            return self.timers.set(life.ends_by, Timer::LeaseOver(id));
        }
        let (judged, _) = self.decide_lease(&life.lease);
        let reason = match judged.decision {
            Decision::Granted => DenyReason::LeaseExpired,
            Decision::Denied { .. } | Decision::StepUp { .. } | Decision::Pending { .. } => {
                reason_of(&judged.decision)
            }
        };
        self.end_lease(id, reason, By::Broker, true);
    }
}
