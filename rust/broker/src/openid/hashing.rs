use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use ztna_model::{Random, Secret};

use super::password::PasswordHash;
use super::throttle::Name;

/// Checks passwords, a few at once: each takes a processor for a while and a lot of memory, and anybody may ask.
#[derive(Debug)]
pub(crate) struct Hashing {
    /// Who may be here at all, waiting or at work.
    places: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
    parties: Arc<Parties>,
    decoy: PasswordHash,
}

/// How many places each party has: who signs in over and over, and rightly so, leaves room for others.
#[derive(Debug, Default)]
struct Parties(Mutex<BTreeMap<Name, usize>>);

/// A party's place; dropping it frees it.
struct Place {
    parties: Arc<Parties>,
    party: Name,
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
            parties: Arc::default(),
            decoy: PasswordHash::decoy(random),
        }
    }

    /// Whether `password` is that of `hash`, as `party` says. Without a hash, because there is no such account, the
    /// answer is no and takes as long.
    pub(crate) async fn check(
        &self,
        party: Name,
        hash: Option<&PasswordHash>,
        password: Secret<String>,
    ) -> Result<bool, Busy> {
        let of_party = Parties::take_place(&self.parties, party)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let worker = Arc::clone(&self.at_work).acquire_owned().await.map_err(|_| Busy)?;
        let hash = hash.unwrap_or(&self.decoy).clone();
        // The permits go along: work that nobody waits for any more still takes its place.
        let work = move || {
            let is_of = hash.is_of(&password);
            drop((worker, place, of_party));
            is_of
        };
        spawn_blocking(work).await.map_err(|_| Busy)
    }
}

impl Parties {
    fn take_place(parties: &Arc<Self>, party: Name) -> Result<Place, Busy> {
        let mut places = parties.places();
        let taken = places.entry(party).or_default();
        if *taken >= MOST_OF_ONE {
            return Err(Busy);
        }
        *taken += 1;
        drop(places);
        Ok(Place { parties: Arc::clone(parties), party })
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Name, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.parties.places();
        if let Some(taken) = places.get_mut(&self.party) {
            *taken = taken.saturating_sub(1);
        }
        places.retain(|_, taken| *taken > 0);
    }
}

/// Somebody presses the button twice.
const MOST_OF_ONE: usize = 2;
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
        let check = |party: u8| {
            let hashing = Arc::clone(&hashing);
            tokio::spawn(async move { hashing.check([party; 16], None, password()).await })
        };
        let checks: Vec<_> = (0..20).map(check).collect();
        let (mut checked, mut turned_away) = (0, 0);
        for check in checks {
            match check.await.unwrap() {
                Ok(is_of) => checked += usize::from(!is_of),
                Err(Busy) => turned_away += 1,
            }
        }
        assert_eq!((checked, turned_away), (1 + WAITING_PER_WORKER, 20 - 1 - WAITING_PER_WORKER));
        assert_eq!(hashing.check([0; 16], None, password()).await, Ok(false), "the places are free again");
    }

    #[tokio::test]
    async fn h01_one_party_has_two_places_and_leaves_the_others_theirs() {
        let hashing = Arc::new(Hashing::new(NonZeroUsize::MIN, &mut SystemRandom::new()));
        let checks: Vec<_> = [1, 1, 1, 1, 2]
            .map(|party| {
                let hashing = Arc::clone(&hashing);
                tokio::spawn(async move { hashing.check([party; 16], None, password()).await })
            })
            .into();
        let mut outcomes = vec![];
        for check in checks {
            outcomes.push(check.await.unwrap());
        }
        assert_eq!(outcomes, [Ok(false), Ok(false), Err(Busy), Err(Busy), Ok(false)]);
        assert!(hashing.parties.places().is_empty(), "nothing is remembered of whoever is done");
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
                assert_eq!(hashing.check([0; 16], hash, Secret::new("wrong".to_owned())).await, Ok(false));
                *fastest = fastest.min(clock.now().since(begun).as_secs_f64());
            }
            if round >= 3 && (0.5..2.0).contains(&(known / unknown)) {
                return;
            }
        }
        panic!("{known} s for a known name, {unknown} s for an unknown one");
    }
}
