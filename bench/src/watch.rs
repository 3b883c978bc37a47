//! The one file here that reads a clock: the CPU time of the calling thread.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// What one sample has come to so far: the CPU time of each part, and how many pieces were done in it.
#[derive(Default)]
pub(crate) struct Watch {
    parts: Vec<Part>,
}

/// One thing that is timed, by its name.
struct Part {
    name: &'static str,
    nanos: u64,
    pieces: u64,
}

impl Watch {
    /// Times `work`, which does so many `pieces` of the part called `name`.
    pub(crate) fn time<T>(&mut self, name: &'static str, pieces: u64, work: impl FnOnce() -> T) -> T {
        let (outcome, nanos) = Self::spent(work);
        self.add(name, nanos, pieces);
        outcome
    }

    /// What `work` returns, and the nanoseconds that it took.
    pub(crate) fn spent<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let begun = cpu_time();
        let outcome = black_box(work());
        (outcome, cpu_time().saturating_sub(begun))
    }

    /// Adds to a part. With no pieces, the time belongs to those that were added already.
    pub(crate) fn add(&mut self, name: &'static str, nanos: u64, pieces: u64) {
        match self.parts.iter_mut().find(|part| part.name == name) {
            Some(part) => {
                part.nanos += nanos;
                part.pieces += pieces;
            }
            None => self.parts.push(Part { name, nanos, pieces }),
        }
    }

    /// The time of a part when all take the same, in nanoseconds.
    pub(crate) fn mean(&self) -> u64 {
        let all: u64 = self.parts.iter().map(|part| part.nanos).sum();
        all / (self.parts.len() as u64).max(1)
    }

    /// Each part's nanoseconds a piece.
    pub(crate) fn pace(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.parts.iter().map(|part| (part.name, part.nanos as f64 / part.pieces.max(1) as f64))
    }
}

/// Nanoseconds that this thread has run. Others on the same core slow it down and do not enter the number.
#[expect(clippy::disallowed_methods, reason = "to read the clock is what this program is for")]
fn cpu_time() -> u64 {
    let reading = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(reading.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(reading.tv_nsec).unwrap_or(0)
}
