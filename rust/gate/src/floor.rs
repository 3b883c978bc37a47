use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ztna_api::gateway::{Floor, FloorHeld};
use ztna_datapath::Datagrams;
use ztna_model::{Epoch, Lease, LeaseId, SessionId, Time};

use crate::gate::Gate;

/// Below which epoch a session's leases are void. Remembered for as long as a lease from before could live.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    by_session: BTreeMap<SessionId, Raised>,
    /// What to forget, and when: the first first. A floor that was raised again since stays.
    by_age: VecDeque<(Time, SessionId)>,
    /// Floors from before this reading of the clock were forgotten early: whatever was signed before is void.
    lost_before: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Raised {
    epoch: Epoch,
    until: Time,
}

impl Floors {
    /// Whether `lease` was, or may have been, decided before the floor of its session.
    pub(crate) fn void(&self, lease: &Lease) -> bool {
        lease.epoch < self.of(lease.sid) || lease.begins() < self.lost_before
    }

    fn of(&self, sid: SessionId) -> Epoch {
        self.by_session.get(&sid).map_or(Epoch::default(), |raised| raised.epoch)
    }

    /// Raises a floor; one never sinks. Says whether all is as it should be, and not too much to be remembered.
    fn raise(&mut self, sid: SessionId, epoch: Epoch, now: Time) -> bool {
        let is_full = self.by_age.len() >= MOST_FLOORS;
        if is_full {
            *self = Self { lost_before: Time::from_millis(now.as_millis() + 1), ..Self::default() };
        }
        let until = now + Lease::LONGEST;
        let epoch = epoch.max(self.of(sid));
        self.by_session.insert(sid, Raised { epoch, until });
        self.by_age.push_back((until, sid));
        !is_full
    }

    /// Forgets floors that no lease can be older than.
    pub(crate) fn forget_old(&mut self, now: Time) {
        while let Some((until, sid)) = self.by_age.front().copied().filter(|(until, _)| *until <= now) {
            self.by_age.pop_front();
            if self.by_session.get(&sid).is_some_and(|raised| raised.until <= until) {
                self.by_session.remove(&sid);
            }
        }
    }
}

impl Gate {
    /// Voids what was decided before, but for the leases that come along signed anew; these go on undisturbed. Nothing
    /// comes up here that is not held already.
    pub(crate) fn apply_floor(&mut self, floor: &Floor, sink: &mut impl Datagrams) {
        if !self.floors.raise(floor.sid, floor.epoch, self.now) {
            self.beat_at_next_reading();
        }
        self.take_again(&floor.keep);
        let below = self.floors.of(floor.sid);
        let leases: BTreeSet<LeaseId> = self.peers.leases_of(floor.sid).collect();
        for lease in leases {
            if self.leases.get(&lease).is_some_and(|held| held.lease.epoch < below) {
                self.end(lease, floor.reason, sink);
            }
        }
        self.tell(FloorHeld { sid: floor.sid, epoch: floor.epoch });
    }
}

/// A re-decision of every session of a large organisation fits, at some 20 MiB.
const MOST_FLOORS: usize = 1 << 18;
