use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ztna_api::gateway::{Beat, Renew};
use ztna_model::{Lease, LeaseId, Time, millis, secs};

use crate::gate::Gate;

/// When the broker must hear of this gateway.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) next_beat: Option<Time>,
    /// INVARIANT: each held lease's `look_at`, and nothing else.
    looks: BTreeSet<(Time, LeaseId)>,
    /// INVARIANT: each held lease's life, in milliseconds, and how many have it.
    lives: BTreeMap<u64, usize>,
}

impl Schedule {
    /// When something is due, if ever.
    pub(crate) fn next(&self) -> Option<Time> {
        let look = self.looks.first().map(|(at, _)| *at);
        [self.next_beat, look].into_iter().flatten().min()
    }

    /// A lease that lives for so long came.
    pub(crate) fn add_life(&mut self, ttl: u64) {
        *self.lives.entry(ttl).or_default() += 1;
    }

    /// A lease that lived for so long is gone.
    pub(crate) fn remove_life(&mut self, ttl: u64) {
        if let Some(times) = self.lives.get_mut(&ttl) {
            *times -= 1;
            if *times == 0 {
                self.lives.remove(&ttl);
            }
        }
    }

    fn between_beats(&self) -> Duration {
        self.lives.keys().next().map_or(SLOWEST_BEAT, |ttl| between_beats(*ttl))
    }

    fn due(&self, now: Time) -> Option<LeaseId> {
        self.looks.first().filter(|(at, _)| *at <= now).map(|(_, lease)| *lease)
    }
}

impl Gate {
    /// Asks for the renewal of leases at their half-life, all together, if their device still sends something.
    pub(crate) fn ask_for_renewals(&mut self) {
        let mut asked = Vec::new();
        for _ in 0..MOST_LOOKS {
            let Some(lease) = self.schedule.due(self.now) else { break };
            let is_in_use = self.is_in_use(lease);
            self.look_again(lease, is_in_use);
            asked.extend(is_in_use.then_some(lease));
        }
        for leases in asked.chunks(MOST_IN_ONE) {
            self.tell(Renew { beat: self.clock(), leases: leases.to_vec() });
        }
    }

    /// Whatever was asked for on an earlier stream has not been answered, and will not be.
    pub(crate) fn ask_again(&mut self) {
        let asked = self.leases.values().filter(|held| held.is_asked_for).map(|held| held.lease.id);
        for lease in asked.collect::<Vec<_>>() {
            self.look(lease, Some(self.now));
        }
        self.ask_for_renewals();
    }

    /// Sets when a lease is next looked at, if ever.
    pub(crate) fn look(&mut self, lease: LeaseId, at: Option<Time>) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        if let Some(before) = std::mem::replace(&mut held.look_at, at) {
            self.schedule.looks.remove(&(before, lease));
        }
        self.schedule.looks.extend(at.map(|at| (at, lease)));
    }

    /// An answer may be lost or never come, and a silent device may speak again: there is time for another look.
    fn look_again(&mut self, lease: LeaseId, is_asked_for: bool) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        held.is_asked_for |= is_asked_for;
        let deadline = held.lease.deadline();
        let patience = (deadline.since(self.now) / 2).max(millis(held.lease.ttl / 8));
        let pause = if is_asked_for { patience } else { LOOK_AGAIN };
        let at = together(self.now + pause.max(TOGETHER));
        self.look(lease, Some(at).filter(|at| *at < deadline));
    }

    /// Whether the device has sent a packet within the lease's silence: keepalives never reach the table.
    fn is_in_use(&self, lease: LeaseId) -> bool {
        let (Some(held), Some(usage)) = (self.leases.get(&lease), self.datapath.table.usage(lease)) else {
            return false;
        };
        self.now.since(usage.last_from_device) < millis(held.lease.limits.silence)
    }

    pub(crate) fn beat_if_due(&mut self) {
        if self.schedule.next_beat.is_some_and(|at| self.now >= at) {
            self.beat();
        }
    }

    /// Tells the broker this gateway's clock: leases are signed on it.
    pub(crate) fn beat(&mut self) {
        self.schedule.next_beat = Some(self.now + self.schedule.between_beats());
        self.tell(self.clock());
    }

    /// A shorter lease wants a faster beat.
    pub(crate) fn hasten_beat(&mut self, ttl: u64) {
        let due = self.now + between_beats(ttl);
        self.schedule.next_beat = self.schedule.next_beat.map(|at| at.min(due));
    }

    /// What is signed on this reading of the clock will be void: the broker needs the next one. That is then the
    /// earliest that counts.
    pub(crate) fn beat_at_next_reading(&mut self) -> Time {
        let next = Time::from_millis(self.now.as_millis() + 1);
        self.schedule.next_beat = Some(next);
        next
    }

    /// This run and its clock.
    pub fn clock(&self) -> Beat {
        Beat { run: self.config.run, now: self.now.as_millis() }
    }
}

/// When a lease that was taken at `now` is first looked at: at its half-life, unless that is over.
pub(crate) fn first_look(lease: &Lease, now: Time) -> Time {
    let half_life = Time::from_millis(lease.at.saturating_add(lease.ttl / 2));
    together(half_life.max(now + Duration::from_nanos(1)))
}

fn between_beats(shortest_ttl: u64) -> Duration {
    millis(shortest_ttl / 6).clamp(FASTEST_BEAT, SLOWEST_BEAT)
}

/// The next moment at which looks are due: many leases share one, and are asked for in one frame.
fn together(at: Time) -> Time {
    let step = TOGETHER.as_nanos() as u64;
    at.as_nanos().checked_next_multiple_of(step).map_or(Time::MAX, Time::from_nanos)
}

const SLOWEST_BEAT: Duration = secs(20);
const FASTEST_BEAT: Duration = millis(100);
const LOOK_AGAIN: Duration = secs(1);
const TOGETHER: Duration = millis(100);

/// How many leases are looked at in a batch; packets go before the others.
const MOST_LOOKS: usize = 256;

/// So that the answer, which is checked in one go, holds up packets for a few milliseconds at most.
const MOST_IN_ONE: usize = 32;
