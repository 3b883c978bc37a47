use std::time::Duration;

use ztna_model::Time;
use ztna_net::clock::Clock;

/// How fast frames are read from one stream: beyond it, they wait in the sender's own buffers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    clock: Clock,
    /// What one frame costs.
    each: Duration,
    /// How far ahead of the average the other end may be.
    ahead: Duration,
    /// When the frames so far would have come at the average pace.
    due: Time,
}

impl Pace {
    pub(super) fn new(per_second: u32, at_once: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { clock: Clock, each, ahead: each.saturating_mul(at_once), due: Time::ZERO }
    }

    /// One more frame has come.
    pub(super) fn count(&mut self) {
        self.due = self.due.max(self.clock.now()) + self.each;
    }

    /// Returns when the next frame may be read.
    pub(super) async fn wait(&self) {
        self.clock.sleep_until(self.due - self.ahead).await;
    }
}

#[cfg(test)]
mod tests {
    use ztna_model::millis;

    use super::*;

    #[tokio::test]
    async fn h01_a_burst_passes_and_what_follows_waits() {
        let mut pace = Pace::new(100, 5);
        let begun = pace.clock.now();
        for _ in 0..5 {
            pace.wait().await;
            pace.count();
        }
        let burst = pace.clock.now().since(begun);
        for _ in 0..5 {
            pace.wait().await;
            pace.count();
        }
        let whole = pace.clock.now().since(begun);
        assert!(whole >= millis(35) && whole > burst, "{burst:?}, {whole:?}");
    }
}
