use std::time::Duration;

use ztna_model::{Time, secs};

/// What may happen often and is to be said seldom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seldom {
    next: Time,
    unsaid: u64,
}

impl Seldom {
    /// It has happened once more. How often since it was last said, if it is to be said again.
    pub(crate) fn happened(&mut self, now: Time) -> Option<u64> {
        self.unsaid += 1;
        (now >= self.next).then(|| {
            self.next = now + PAUSE;
            std::mem::take(&mut self.unsaid)
        })
    }
}

const PAUSE: Duration = secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_seldom() {
        let mut seldom = Seldom::default();
        let mut said = Vec::new();
        for second in 100..125 {
            said.extend(seldom.happened(Time::ZERO + secs(second)).map(|times| (second, times)));
        }
        assert_eq!(said, [(100, 1), (110, 10), (120, 10)]);
    }
}
