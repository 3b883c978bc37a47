use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on this machine's boot clock: it runs through suspend, never backwards, and means nothing elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    nanos: u64,
}

impl Time {
    /// The clock's beginning, so that tests write `Time::ZERO + secs(120)`.
    pub const ZERO: Self = Self { nanos: 0 };
    /// Later than every other time.
    pub const MAX: Self = Self { nanos: u64::MAX };

    /// The time `nanos` nanoseconds after [`Time::ZERO`].
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// The time `millis` milliseconds after [`Time::ZERO`].
    pub const fn from_millis(millis: u64) -> Self {
        Self { nanos: millis.saturating_mul(1_000_000) }
    }

    /// Nanoseconds since [`Time::ZERO`].
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// Whole milliseconds since [`Time::ZERO`]: the unit of every boot-clock field on the wire.
    pub const fn as_millis(self) -> u64 {
        self.nanos / 1_000_000
    }

    /// How long ago `earlier` was, or nothing if it is still to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::MAX`]: a deadline that cannot be reached is never reached.
    fn add(self, span: Duration) -> Self {
        Self { nanos: self.nanos.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)) }
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::ZERO`].
    fn sub(self, span: Duration) -> Self {
        Self { nanos: self.nanos.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)) }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.nanos / 1_000_000_000, self.nanos / 1_000 % 1_000_000)
    }
}

/// Milliseconds since 1970 by a wall clock: for people, tokens and certificates. It never extends a right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime {
    millis: u64,
}

impl WallTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self { millis: 0 };

    /// The time `millis` milliseconds after 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// The time `secs` seconds after 1970: the unit of JWT dates (RFC 7519, NumericDate).
    pub const fn from_secs(secs: u64) -> Self {
        Self { millis: secs.saturating_mul(1_000) }
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.millis / 1_000
    }

    /// How long ago `earlier` was, or nothing if it is still to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis.saturating_sub(earlier.millis))
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self { millis: self.millis.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)) }
    }
}

impl Sub<Duration> for WallTime {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self { millis: self.millis.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)) }
    }
}

/// A span of `n` milliseconds.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A span of `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A span of `n` minutes.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_past_the_end_of_time_saturates() {
        assert_eq!(Time::MAX + secs(1), Time::MAX);
        assert_eq!(Time::ZERO - secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
    }

    #[test]
    fn wire_units_round_down() {
        assert_eq!(Time::from_nanos(1_999_999).as_millis(), 1);
        assert_eq!(WallTime::from_millis(1_999).as_secs(), 1);
    }
}
