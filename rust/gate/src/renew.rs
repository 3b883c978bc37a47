use std::time::Duration;

use ztna_api::gateway::{Beat, Renew};
use ztna_model::{Lease, LeaseId, Time, millis, secs};

use crate::gate::Gate;
use crate::held::Held;

impl Gate {
    /// Asks for the renewal of leases at their half-life, all in one frame, if their device still sends something.
    pub(crate) fn ask_for_renewals(&mut self) {
        let now = self.now;
        if self.next_renewal.is_none_or(|at| now < at) {
            return;
        }
        let due = self.leases.values().filter(|held| held.renew_at.is_some_and(|at| now >= at));
        let due: Vec<LeaseId> = due.map(|held| held.lease.id).collect();
        let (awake, silent): (Vec<LeaseId>, Vec<LeaseId>) =
            due.into_iter().partition(|lease| self.is_in_use(*lease));
        for lease in &awake {
            self.renew_again_at(*lease, None);
        }
        // A device that speaks again before the deadline is in time for another look.
        for lease in silent {
            self.renew_again_at(lease, Some(now + LOOK_AGAIN));
        }
        self.next_renewal = self.leases.values().filter_map(|held| held.renew_at).min();
        if !awake.is_empty() {
            self.tell(Renew { beat: self.clock(), leases: awake });
        }
    }

    /// Whatever was asked for on an earlier stream has not been answered, and will not be.
    pub(crate) fn ask_again(&mut self) {
        let now = self.now;
        for held in self.leases.values_mut() {
            held.renew_at.get_or_insert(now);
        }
        self.next_renewal = self.leases.values().filter_map(|held| held.renew_at).min();
    }

    pub(crate) fn beat_if_due(&mut self) {
        if self.next_beat.is_some_and(|at| self.now >= at) {
            self.beat();
        }
    }

    /// Tells the broker this gateway's clock: leases are signed on it.
    pub(crate) fn beat(&mut self) {
        self.next_beat = Some(self.now + self.beat_every());
        self.tell(self.clock());
    }

    /// A shorter lease wants a faster beat.
    pub(crate) fn hasten_beat(&mut self, ttl: u64) {
        let due = self.now + millis(ttl / 6).clamp(FASTEST_BEAT, SLOWEST_BEAT);
        self.next_beat = self.next_beat.map(|at| at.min(due));
    }

    /// This run and its clock.
    pub fn clock(&self) -> Beat {
        Beat { run: self.config.run, now: self.now.as_millis() }
    }

    fn beat_every(&self) -> Duration {
        let shortest = self.leases.values().map(|held| held.lease.ttl).min().map(|ttl| millis(ttl / 6));
        shortest.unwrap_or(SLOWEST_BEAT).clamp(FASTEST_BEAT, SLOWEST_BEAT)
    }

    /// Whether the device has sent a packet within the lease's silence: keepalives never reach the table.
    fn is_in_use(&self, lease: LeaseId) -> bool {
        let (Some(held), Some(usage)) = (self.leases.get(&lease), self.datapath.table.usage(lease)) else {
            return false;
        };
        self.now.since(usage.last_from_device) < millis(held.lease.limits.silence)
    }

    fn renew_again_at(&mut self, lease: LeaseId, at: Option<Time>) {
        if let Some(Held { renew_at, lease: Lease { .. }, .. }) = self.leases.get_mut(&lease) {
            *renew_at = at;
        }
    }
}

const SLOWEST_BEAT: Duration = secs(20);
const FASTEST_BEAT: Duration = millis(100);
const LOOK_AGAIN: Duration = secs(1);
