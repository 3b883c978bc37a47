use std::collections::BTreeSet;

use ztna_model::{GatewayId, HoldId, LeaseId, SessionId, Time};

use crate::input::StreamId;

/// Why to wake. What a timer is about may be gone or done when it rings; whoever answers it looks first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// A stream has not said hello.
    Hello(StreamId),
    /// The current stream has not said whether a claimant's link is its own.
    Claim(StreamId),
    /// A gateway has not answered a lease.
    Offer(LeaseId),
    /// A lease is over by itself.
    LeaseOver(LeaseId),
    /// A gateway has not acknowledged a floor.
    Floor(SessionId),
    /// A gateway may have gone silent.
    Pulse(GatewayId),
    /// A gateway has not come back.
    Away(GatewayId),
    /// A hold ends by itself.
    HoldOver(HoldId),
    /// Something that a session's decisions rest on changes by itself.
    Review(SessionId),
    /// Revocations that could not be written are tried again.
    Retry,
    /// What is over is swept out.
    Sweep,
}

/// What is waited for, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next timer that is due.
    pub(crate) fn ring(&mut self, now: Time) -> Option<Timer> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}
