use ztna_model::{Time, WallTime, millis};

/// The broker's wall clock, counted on this device's boot clock: a wrong device clock costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerClock {
    heard: WallTime,
    at: Time,
}

impl BrokerClock {
    /// The broker said `heard` in an answer that arrived at `at`.
    pub const fn new(heard: WallTime, at: Time) -> Self {
        Self { heard, at }
    }

    /// Whether the broker has said anything at all.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// What the broker's clock shows at `now`.
    pub fn at(&self, now: Time) -> WallTime {
        self.heard + now.since(self.at)
    }

    /// How far `wall`, this device's clock at `now`, is ahead of the broker's, in seconds; negative if behind.
    pub fn skew_s(&self, wall: WallTime, now: Time) -> i64 {
        let ours = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let theirs = i64::try_from(self.at(now).as_secs()).unwrap_or(i64::MAX);
        ours.saturating_sub(theirs)
    }
}

impl Default for BrokerClock {
    fn default() -> Self {
        Self::new(WallTime::EPOCH + millis(0), Time::ZERO)
    }
}
