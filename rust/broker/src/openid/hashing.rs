use std::num::NonZeroUsize;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use ztna_model::{Random, Secret};

use super::password::PasswordHash;

/// Checks passwords, a few at once: each takes a processor for a while and a lot of memory, and anybody may ask.
#[derive(Debug)]
pub(crate) struct Hashing {
    /// Who may be here at all, waiting or at work.
    places: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
    decoy: PasswordHash,
}

/// As many passwords are being checked and waited for as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("too many sign-ins at once")]
pub(crate) struct Busy;

impl Hashing {
    /// Checks `at_once` passwords at a time, while a few more wait.
    pub(crate) fn new(at_once: NonZeroUsize, random: &mut dyn Random) -> Self {
        let places = at_once.get().saturating_mul(WAITING_PER_WORKER + 1).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            at_work: Arc::new(Semaphore::new(at_once.get().min(Semaphore::MAX_PERMITS))),
            decoy: PasswordHash::decoy(random),
        }
    }

    /// Whether `password` is that of `hash`. Without a hash, because there is no such account, the answer is no and
    /// takes as long.
    pub(crate) async fn check(
        &self,
        hash: Option<&PasswordHash>,
        password: Secret<String>,
    ) -> Result<bool, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let worker = Arc::clone(&self.at_work).acquire_owned().await.map_err(|_| Busy)?;
        let hash = hash.unwrap_or(&self.decoy).clone();
        // The permits go along: work that nobody waits for any more still takes its place.
        let work = move || {
            let is_of = hash.is_of(&password);
            drop((worker, place));
            is_of
        };
        spawn_blocking(work).await.map_err(|_| Busy)
    }
}

/// A wait of about a second.
const WAITING_PER_WORKER: usize = 8;

#[cfg(test)]
mod tests {
    use ztna_net::random::SystemRandom;

    use super::*;
    use crate::openid::password::hash_password;

    fn password() -> Secret<String> {
        Secret::new("correct horse battery".to_owned())
    }

    #[tokio::test]
    async fn h01_a_flood_of_sign_ins_is_turned_away_beyond_its_places() {
        let hashing = Arc::new(Hashing::new(NonZeroUsize::MIN, &mut SystemRandom::new()));
        let check = || {
            let hashing = Arc::clone(&hashing);
            tokio::spawn(async move { hashing.check(None, password()).await })
        };
        let checks: Vec<_> = (0..20).map(|_| check()).collect();
        let (mut checked, mut turned_away) = (0, 0);
        for check in checks {
            match check.await.unwrap() {
                Ok(is_of) => checked += usize::from(!is_of),
                Err(Busy) => turned_away += 1,
            }
        }
        assert_eq!((checked, turned_away), (1 + WAITING_PER_WORKER, 20 - 1 - WAITING_PER_WORKER));
        assert_eq!(hashing.check(None, password()).await, Ok(false), "the places are free again");
    }

    #[tokio::test]
    async fn c03_an_unknown_name_takes_as_long_as_a_wrong_password() {
        let hashing = Hashing::new(NonZeroUsize::MIN, &mut SystemRandom::new());
        let hash = hash_password(&password(), &mut SystemRandom::new()).unwrap();
        let clock = ztna_net::clock::Clock;
        let (mut known, mut unknown) = (f64::INFINITY, f64::INFINITY);
        // The fastest of each counts: a busy machine makes some slower, and none faster.
        for round in 0..40 {
            for (hash, fastest) in [(Some(&hash), &mut known), (None, &mut unknown)] {
                let begun = clock.now();
                assert_eq!(hashing.check(hash, Secret::new("wrong".to_owned())).await, Ok(false));
                *fastest = fastest.min(clock.now().since(begun).as_secs_f64());
            }
            if round >= 3 && (0.5..2.0).contains(&(known / unknown)) {
                return;
            }
        }
        panic!("{known} s for a known name, {unknown} s for an unknown one");
    }
}
