use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ztna_api::gateway::{Floor, FloorHeld};
use ztna_datapath::Datagrams;
use ztna_model::{Epoch, Lease, LeaseId, SessionId, Time, secs};

use crate::gate::Gate;

/// Below which epoch a session's leases are void. Remembered for as long as a lease from before could live.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    by_session: BTreeMap<SessionId, (Epoch, Time)>,
    next_look: Time,
}

impl Floors {
    pub(crate) fn of(&self, sid: SessionId) -> Epoch {
        self.by_session.get(&sid).map_or(Epoch::default(), |(epoch, _)| *epoch)
    }

    /// Raises a floor; one never sinks.
    fn raise(&mut self, sid: SessionId, epoch: Epoch, now: Time) {
        let epoch = epoch.max(self.of(sid));
        self.by_session.insert(sid, (epoch, now + Lease::LONGEST));
    }

    pub(crate) fn forget_old(&mut self, now: Time) {
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            self.by_session.retain(|_, (_, until)| now < *until);
        }
    }
}

impl Gate {
    /// Voids what was decided before, but for the leases that come along signed anew; these go on undisturbed.
    pub(crate) fn apply_floor(&mut self, floor: &Floor, sink: &mut impl Datagrams) {
        self.floors.raise(floor.sid, floor.epoch, self.now);
        let kept: BTreeSet<LeaseId> =
            floor.keep.iter().filter_map(|text| self.take(text, &[]).ok()).collect();
        let below = self.floors.of(floor.sid);
        let void = self
            .leases
            .values()
            .map(|held| &held.lease)
            .filter(|lease| lease.sid == floor.sid && lease.epoch < below && !kept.contains(&lease.id));
        let void: Vec<LeaseId> = void.map(|lease| lease.id).collect();
        for lease in void {
            self.end(lease, floor.reason, sink);
        }
        self.tell(FloorHeld { sid: floor.sid, epoch: floor.epoch });
    }
}

const LOOK_EVERY: Duration = secs(10);
