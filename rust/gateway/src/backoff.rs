use std::time::Duration;

use ztna_model::Random;

/// How long to wait before another try: longer each time, and never the same for two gateways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause: between half and the whole of a span that doubles.
    pub(crate) fn next(&mut self, random: &mut dyn Random) -> Duration {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        let span = self.next;
        self.next = (span * 2).min(self.longest);
        let share = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
        span.mul_f64(0.5 + share / 2.0)
    }

    /// It has worked.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use ztna_model::{millis, secs};
    use ztna_net::random::SystemRandom;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(millis(100), secs(30));
        for span in [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
            let pause = backoff.next(&mut SystemRandom::new());
            assert!(pause >= millis(span / 2) && pause <= millis(span), "{pause:?} of {span}");
        }
        backoff.reset();
        assert!(backoff.next(&mut SystemRandom::new()) <= millis(100));
    }
}
