use ztna_model::{Time, WallTime};

use crate::input::Now;

/// The broker's two clocks, of which neither ever runs backwards here: ages that decisions rest on only grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    boot: Time,
    /// The moment since which our wall clock goes at the boot clock's pace.
    anchor: Now,
    /// How far the machine's wall clock is ahead of ours, in milliseconds, when last told; never positive.
    told_ms: i64,
}

impl Clock {
    pub(crate) const fn new(now: Now) -> Self {
        Self { boot: now.boot, anchor: now, told_ms: 0 }
    }

    pub(crate) const fn boot(&self) -> Time {
        self.boot
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.anchor.wall + self.boot.since(self.anchor.boot)
    }

    /// When, by the boot clock, the wall clock will show `wall`, if nobody sets it.
    pub(crate) fn boot_at(&self, wall: WallTime) -> Time {
        self.boot + wall.since(self.wall())
    }

    /// When, by the wall clock, the boot clock will show `boot`.
    pub(crate) fn wall_at(&self, boot: Time) -> WallTime {
        self.wall() + boot.since(self.boot)
    }

    /// Moves on. A wall clock that was set forward is followed, one that was set back is not: ours goes on at the boot
    /// clock's pace. Returns by how many milliseconds it jumped, if that is worth an alarm.
    pub(crate) fn advance(&mut self, now: Now) -> Option<i64> {
        self.boot = self.boot.max(now.boot);
        let ahead_ms = signed(now.wall).saturating_sub(signed(self.wall()));
        if ahead_ms > 0 {
            self.anchor = Now { boot: self.boot, wall: now.wall };
        }
        let jumped = ahead_ms.saturating_sub(self.told_ms);
        if jumped.unsigned_abs() <= JUMP_MS {
            return None;
        }
        self.told_ms = ahead_ms.min(0);
        Some(jumped)
    }
}

fn signed(wall: WallTime) -> i64 {
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}

/// What clock discipline does not do.
const JUMP_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use ztna_model::{millis, secs};

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

    #[test]
    fn small_steps_add_up_while_the_machine_s_clock_stands_still() {
        let wall = WallTime::from_secs(1_000);
        let mut clock = Clock::new(Now { boot: Time::ZERO, wall });
        for step in 1..=4_000 {
            clock.advance(Now { boot: Time::from_nanos(step * 250_000), wall });
        }
        assert_eq!(clock.wall(), wall + secs(1));
        assert_eq!(clock.boot_at(wall + millis(1_500)), Time::from_millis(1_500));
    }
}
