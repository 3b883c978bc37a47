use std::collections::BTreeMap;
use std::time::Duration;

use ztna_model::{Time, millis};
use ztna_tunnel::PeerId;

/// How often each device may ask: so many at once, and then one after each pause.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Until when each device has used up its questions: that long ago it had all of them.
    used_until: BTreeMap<PeerId, Time>,
}

impl Pace {
    /// Whether `peer` may ask once more.
    pub(crate) fn admits(&mut self, peer: PeerId, now: Time) -> bool {
        if self.used_until.len() >= MOST_REMEMBERED {
            self.used_until.retain(|_, until| *until > now);
        }
        let used_until = self.used_until.entry(peer).or_default();
        let next = now.max(*used_until) + PAUSE;
        let is_admitted = next <= now + PAUSE * AT_ONCE;
        if is_admitted {
            *used_until = next;
        }
        is_admitted
    }
}

const AT_ONCE: u32 = 64;
const PAUSE: Duration = millis(50);
const MOST_REMEMBERED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_asks_as_often_as_it_may_and_holds_up_nobody() {
        let mut pace = Pace::default();
        let (ana, ben) = (PeerId::from_number(1), PeerId::from_number(2));
        let mut now = Time::from_millis(1_000_000);
        let burst = (0..1_000).filter(|_| pace.admits(ana, now)).count();
        assert_eq!(burst, AT_ONCE as usize);
        assert!(pace.admits(ben, now));
        let mut later = 0;
        for _ in 0..1_000 {
            now += millis(1);
            later += usize::from(pace.admits(ana, now));
        }
        assert_eq!(later, 20);
    }
}
