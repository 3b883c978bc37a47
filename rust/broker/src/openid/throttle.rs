use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ztna_model::{Time, minutes, secs};

use super::account::UserName;
use super::browser::KnownBrowser;
use super::seal::{Kind, Seal};

/// Counts failed sign-ins and says how long the next one must wait: each failure past the free ones doubles the wait.
///
/// An attempt counts as failed from its beginning until it has proven otherwise, so that many at once gain nothing.
#[derive(Debug)]
pub(crate) struct Throttle {
    counters: BTreeMap<Name, Counter>,
    most: usize,
}

/// One attempt under way: what it is counted on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempt(Vec<(Name, Allowance)>);

/// Too many tries: how long until the next may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooMany {
    pub(crate) wait: Duration,
}

/// What failures are counted on: a mark of the person's name or the address, so that memory holds neither.
pub(crate) type Name = [u8; 16];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counter {
    failures: u32,
    last: Time,
    allowance: Allowance,
}

/// How many failures are free, how fast they are forgiven, and how long a wait can grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Allowance {
    free: u32,
    forgiven_each: Duration,
    longest_wait: Duration,
}

impl Throttle {
    /// A throttle that remembers at most `most` names and addresses.
    pub(crate) const fn new(most: usize) -> Self {
        Self { counters: BTreeMap::new(), most }
    }

    /// Counts `attempt`, or says how long it must wait. An attempt that has to wait is not counted.
    pub(crate) fn begin(&mut self, attempt: &Attempt, now: Time) -> Result<(), TooMany> {
        let waits = attempt.0.iter().filter_map(|(name, _)| self.counters.get(name)).map(|c| c.wait(now));
        match waits.max() {
            Some(wait) if !wait.is_zero() => return Err(TooMany { wait }),
            Some(_) | None => {}
        }
        for (name, allowance) in &attempt.0 {
            self.count(*name, *allowance, now);
        }
        Ok(())
    }

    /// The attempt was a success: the person's failures are forgotten. The address keeps those of others: who has an
    /// account must not wash away guesses at another.
    pub(crate) fn succeeded(&mut self, attempt: &Attempt, now: Time) {
        if let Some(((person, _), addresses)) = attempt.0.split_first() {
            self.counters.remove(person);
            addresses.iter().for_each(|(name, _)| self.forgive_one(name, now));
        }
    }

    /// The attempt came to no verdict: it does not count.
    pub(crate) fn withdrawn(&mut self, attempt: &Attempt, now: Time) {
        attempt.0.iter().for_each(|(name, _)| self.forgive_one(name, now));
    }

    fn count(&mut self, name: Name, allowance: Allowance, now: Time) {
        if !self.counters.contains_key(&name) && self.counters.len() >= self.most {
            self.make_room(now);
        }
        let counter = self.counters.entry(name).or_insert(Counter { failures: 0, last: now, allowance });
        *counter = Counter { failures: counter.left(now).saturating_add(1), last: now, allowance };
    }

    fn forgive_one(&mut self, name: &Name, now: Time) {
        if let Some(counter) = self.counters.get_mut(name) {
            counter.failures = counter.left(now).saturating_sub(1);
        }
    }

    /// Forgets what is forgiven; if nothing is, whoever has failed least: a flood of names cannot wash away a name
    /// that is being guessed at.
    fn make_room(&mut self, now: Time) {
        self.counters.retain(|_, counter| counter.left(now) > 0);
        if self.counters.len() >= self.most {
            let least = self.counters.iter().min_by_key(|(_, counter)| (counter.left(now), counter.last));
            let least = least.map(|(name, _)| *name);
            least.map(|name| self.counters.remove(&name));
        }
    }
}

impl Attempt {
    /// An attempt at the account called `name` from `source`. From a browser that is known for the name, only that
    /// browser's own failures count.
    pub(crate) fn new(
        seal: &Seal,
        name: Option<&UserName>,
        known: Option<KnownBrowser>,
        source: IpAddr,
    ) -> Self {
        let person = name.map_or("", UserName::as_str).as_bytes();
        if let Some(known) = known {
            return Self(vec![(counter_name(seal, &[b"known", person, known.as_bytes()]), PERSON)]);
        }
        let person = counter_name(seal, &[b"person", person]);
        Self(vec![(person, PERSON), (counter_name(seal, &[b"source", &network(source)]), SOURCE)])
    }
}

/// Who takes part in sign-ins as `name`: those in whose browsers that person signed in before, or everybody else.
pub(crate) fn party(seal: &Seal, name: Option<&UserName>, is_known: bool) -> Name {
    let kind: &[u8] = if is_known { b"known party" } else { b"party" };
    counter_name(seal, &[kind, name.map_or("", UserName::as_str).as_bytes()])
}

impl Counter {
    /// Failures not forgiven yet.
    fn left(&self, now: Time) -> u32 {
        let forgiven = now.since(self.last).as_millis() / self.allowance.forgiven_each.as_millis().max(1);
        self.failures.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    /// How long until the next attempt, counted from the last failure.
    fn wait(&self, now: Time) -> Duration {
        let Some(doublings) = self.failures.checked_sub(self.allowance.free) else { return Duration::ZERO };
        let wait = 1_u64.checked_shl(doublings).map_or(self.allowance.longest_wait, secs);
        (self.last + wait.min(self.allowance.longest_wait)).since(now)
    }
}

fn counter_name(seal: &Seal, parts: &[&[u8]]) -> Name {
    let mut name = Name::default();
    name.iter_mut().zip(seal.mark(Kind::Counter, parts)).for_each(|(to, from)| *to = from);
    name
}

/// Who has one address of an IPv6 network has all of them: the first 64 bits count.
fn network(source: IpAddr) -> Vec<u8> {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().into_iter().take(8).collect(),
    }
}

/// At the longest wait about a hundred guesses a day: at twelve characters nobody gets far.
const PERSON: Allowance = Allowance { free: 5, forgiven_each: minutes(15), longest_wait: minutes(15) };
/// A whole office may share an address, and mistype on a Monday morning.
const SOURCE: Allowance = Allowance { free: 20, forgiven_each: secs(30), longest_wait: minutes(5) };

#[cfg(test)]
mod tests {
    use ztna_model::Secret;

    use super::*;

    fn seal() -> Seal {
        Seal::new("https://acme.example".parse().unwrap(), &Secret::new([1; 32]))
    }

    fn attempt(name: &str, source: &str) -> Attempt {
        Attempt::new(&seal(), name.parse().ok().as_ref(), None, source.parse().unwrap())
    }

    fn wait(throttle: &mut Throttle, attempt: &Attempt, now: Time) -> u64 {
        throttle.begin(attempt, now).err().map_or(0, |too_many| too_many.wait.as_secs())
    }

    #[test]
    fn h01_waits_double_per_account_and_end() {
        let mut throttle = Throttle::new(100);
        let mut now = Time::ZERO + secs(1);
        let waits: Vec<u64> = (0..18)
            .map(|n| {
                // From ever new addresses: it is the account that is guessed at.
                let attempt = attempt("ana", &format!("192.0.2.{n}"));
                let waited = wait(&mut throttle, &attempt, now);
                now += secs(waited);
                if waited > 0 {
                    assert_eq!(throttle.begin(&attempt, now), Ok(()));
                }
                waited
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        assert_eq!(wait(&mut throttle, &attempt("bo", "192.0.2.1"), now), 0, "another account");
    }

    #[test]
    fn h01_waits_double_per_source_and_ipv6_counts_by_network() {
        let mut throttle = Throttle::new(100);
        for n in 0..20 {
            let attempt = attempt(&format!("name-{n}"), &format!("2001:db8::{n:x}"));
            assert_eq!(wait(&mut throttle, &attempt, Time::ZERO), 0);
        }
        assert_eq!(wait(&mut throttle, &attempt("new", "2001:db8::ffff"), Time::ZERO), 1);
        assert_eq!(wait(&mut throttle, &attempt("new", "2001:db8:0:1::1"), Time::ZERO), 0);
        assert_eq!(wait(&mut throttle, &attempt("new", "2001:db8::ffff"), Time::ZERO + secs(1)), 0);
        let mapped = network("::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(mapped, network("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn h01_attempts_at_once_gain_nothing() {
        let mut throttle = Throttle::new(100);
        let ana = attempt("ana", "192.0.2.1");
        let begun = (0..100).filter(|_| throttle.begin(&ana, Time::ZERO).is_ok()).count();
        assert_eq!(begun, 5);
    }

    #[test]
    fn h01_who_guesses_does_not_lock_out_a_known_browser() {
        let mut throttle = Throttle::new(100);
        let guess = attempt("ana", "192.0.2.1");
        while throttle.begin(&guess, Time::ZERO).is_ok() {}
        let ana = "ana".parse().unwrap();
        let known = Some(KnownBrowser::random(&mut ztna_net::random::SystemRandom::new()));
        let own = Attempt::new(&seal(), Some(&ana), known, "192.0.2.1".parse().unwrap());
        assert_eq!((0..10).filter(|_| throttle.begin(&own, Time::ZERO).is_ok()).count(), 5);
    }

    #[test]
    fn success_forgets_the_person_s_failures_and_not_the_source_s() {
        let mut throttle = Throttle::new(100);
        let ana = attempt("ana", "192.0.2.1");
        for _ in 0..5 {
            assert_eq!(throttle.begin(&ana, Time::ZERO), Ok(()));
        }
        throttle.succeeded(&ana, Time::ZERO);
        assert_eq!((0..9).filter(|_| throttle.begin(&ana, Time::ZERO).is_ok()).count(), 5);
        let source = attempt("bo", "192.0.2.1").0[1].0;
        assert_eq!(throttle.counters[&source].failures, 9);
    }

    #[test]
    fn what_came_to_no_verdict_does_not_count() {
        let mut throttle = Throttle::new(100);
        let ana = attempt("ana", "192.0.2.1");
        for _ in 0..100 {
            assert_eq!(throttle.begin(&ana, Time::ZERO), Ok(()));
            throttle.withdrawn(&ana, Time::ZERO);
        }
    }

    #[test]
    fn h01_memory_is_capped_and_a_flood_of_names_washes_nothing_away() {
        let mut throttle = Throttle::new(64);
        let ana = attempt("ana", "192.0.2.1");
        while throttle.begin(&ana, Time::ZERO).is_ok() {}
        for n in 0..1_000 {
            let flood = attempt(&format!("name-{n}"), &format!("2001:db8:0:{n:x}::1"));
            assert_eq!(throttle.begin(&flood, Time::ZERO), Ok(()));
            assert!(throttle.counters.len() <= 64);
        }
        assert!(throttle.begin(&ana, Time::ZERO).is_err());
        assert_eq!(throttle.begin(&ana, Time::ZERO + minutes(16)), Ok(()), "forgiven with time");
    }
}
