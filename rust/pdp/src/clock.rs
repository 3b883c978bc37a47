use std::time::Duration;

use ztna_model::{Time, WallTime, secs};

use crate::input::Now;

/// The broker's two clocks, of which neither ever runs backwards here: ages that decisions rest on only grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    boot: Time,
    wall: WallTime,
    /// How far the machine's wall clock is ahead of ours, in milliseconds, when last told.
    told_ms: i64,
}

impl Clock {
    pub(crate) const fn new(now: Now) -> Self {
        Self { boot: now.boot, wall: now.wall, told_ms: 0 }
    }

    pub(crate) const fn boot(&self) -> Time {
        self.boot
    }

    pub(crate) const fn wall(&self) -> WallTime {
        self.wall
    }

    /// When, by the boot clock, the wall clock will show `wall`, if nobody sets it.
    pub(crate) fn boot_at(&self, wall: WallTime) -> Time {
        self.boot + wall.since(self.wall)
    }

    /// When, by the wall clock, the boot clock will show `boot`.
    pub(crate) fn wall_at(&self, boot: Time) -> WallTime {
        self.wall + boot.since(self.boot)
    }

    /// Moves on. A wall clock that was set forward is followed, one that was set back is not: it goes on at the boot
    /// clock's pace. Returns by how many milliseconds it jumped, if that is worth an alarm.
    pub(crate) fn advance(&mut self, now: Now) -> Option<i64> {
        let expected = self.wall + now.boot.since(self.boot);
        let ahead_ms = i64::try_from(now.wall.as_millis()).unwrap_or(i64::MAX)
            - i64::try_from(expected.as_millis()).unwrap_or(i64::MAX);
        self.boot = self.boot.max(now.boot);
        self.wall = expected.max(now.wall);
        let jumped = ahead_ms.saturating_sub(self.told_ms.min(0));
        self.told_ms = if jumped.unsigned_abs() > millis_of(JUMP) { ahead_ms } else { self.told_ms };
        (jumped.unsigned_abs() > millis_of(JUMP)).then_some(jumped)
    }
}

fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What clock discipline does not do.
const JUMP: Duration = secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wall_clock_makes_anything_younger() {
        let now = |boot, wall| Now { boot: Time::ZERO + secs(boot), wall: WallTime::from_secs(wall) };
        let mut clock = Clock::new(now(0, 1_000));
        // (boot, the machine's wall clock) → (ours, the alarm)
        let rows = [
            (now(10, 1_010), 1_010, None),
            (now(20, 1_015), 1_020, None), // five seconds back: not followed
            (now(30, 500), 1_030, Some(-530_000)),
            (now(40, 510), 1_040, None), // the same jump, told once
            (now(50, 2_000), 2_000, Some(1_480_000)),
            (now(60, 2_010), 2_010, None),
        ];
        for (now, wall, alarm) in rows {
            assert_eq!(clock.advance(now), alarm, "{now:?}");
            assert_eq!(clock.wall(), WallTime::from_secs(wall), "{now:?}");
        }
    }
}
