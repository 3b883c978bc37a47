//! The one file that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use ztna_model::{Time, WallTime, secs};

/// This machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The time since this machine was started, suspend included (`CLOCK_BOOTTIME`).
    #[expect(clippy::disallowed_methods, reason = "everyone else is handed the time")]
    pub fn now(&self) -> Time {
        let reading = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(reading.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(reading.tv_nsec).unwrap_or(0);
        Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// What the clock on the wall shows; whoever may set it, may set it to anything.
    #[expect(clippy::disallowed_methods, reason = "everyone else is handed the time")]
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::EPOCH + since
    }

    /// Returns at `deadline`, never before it. Timers stand still while the machine is suspended, so what must not
    /// happen after a deadline compares it with [`Clock::now`] as well.
    pub async fn sleep_until(&self, deadline: Time) {
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// Notices that this machine stood still without its boot clock knowing: a virtual machine paused, or restored from
/// a snapshot. A wall clock set forward looks the same, and costs one question too many.
#[derive(Clone, Copy, Debug)]
pub struct JumpWatch {
    // Wall less boot time in milliseconds, the lowest since the last jump: short pauses add up.
    lowest: i128,
}

/// Wall time ran ahead of boot time: no deadline on the boot clock can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Jump {
    /// By how much.
    pub ahead: Duration,
}

impl JumpWatch {
    /// Watches from this pair of readings on.
    pub fn new(now: Time, wall: WallTime) -> Self {
        Self { lowest: offset(now, wall) }
    }

    /// Compares a later pair of readings; to be called between batches.
    pub fn check(&mut self, now: Time, wall: WallTime) -> Option<Jump> {
        let offset = offset(now, wall);
        let ahead = Duration::from_millis(u64::try_from(offset - self.lowest).unwrap_or(0));
        let jumped = ahead > TOLERATED;
        self.lowest = if jumped { offset } else { self.lowest.min(offset) };
        jumped.then_some(Jump { ahead })
    }
}

fn offset(now: Time, wall: WallTime) -> i128 {
    i128::from(wall.as_millis()) - i128::from(now.as_millis())
}

const TOLERATED: Duration = secs(10);

#[cfg(test)]
mod tests {
    use ztna_model::millis;

    use super::*;

    /// Feeds pairs of (boot, wall) seconds and tells which of them were jumps, and of how many seconds.
    fn check(readings: &[(u64, u64)], expected: &[Option<u64>]) {
        let pair = |(now, wall)| (Time::ZERO + secs(now), WallTime::from_secs(wall));
        let (now, wall) = pair(readings[0]);
        let mut watch = JumpWatch::new(now, wall);
        let jumps: Vec<_> = readings[1..]
            .iter()
            .map(|reading| {
                let (now, wall) = pair(*reading);
                watch.check(now, wall).map(|jump| jump.ahead.as_secs())
            })
            .collect();
        assert_eq!(jumps, expected, "{readings:?}");
    }

    #[test]
    fn jumps() {
        check(&[(0, 1000), (5, 1005), (5000, 6000)], &[None, None]); // both clocks run through suspend
        check(&[(0, 1000), (0, 1010), (0, 1011)], &[None, Some(11)]); // ten seconds are tolerated
        check(&[(0, 1000), (1, 9000), (2, 9001)], &[Some(7999), None]); // reported once
        check(&[(0, 1000), (1, 1007), (2, 1014)], &[None, Some(12)]); // short pauses add up
        check(&[(0, 9000), (1, 1000), (2, 1020)], &[None, Some(19)]); // set back, then ahead of that
        check(&[(9, 1000), (9, 0)], &[None]);
    }

    #[test]
    fn the_clocks_run() {
        let clock = Clock;
        let first = clock.now();
        assert!(first > Time::ZERO);
        assert!(clock.now() >= first);
        assert!(clock.wall() > WallTime::from_secs(1_700_000_000));
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_deadline_and_not_before() {
        let clock = Clock;
        let deadline = clock.now() + millis(20);
        clock.sleep_until(deadline).await;
        assert!(clock.now() >= deadline);
        clock.sleep_until(Time::ZERO).await; // what is over is not waited for
    }
}
