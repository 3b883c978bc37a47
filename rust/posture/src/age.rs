use std::time::Duration;

use ztna_model::{Fact, FactState, WallTime, secs};

use crate::grade::unknown;
use crate::requirements::Requirements;

/// The fact as it counts at `now`: itself, or unknown once it has reached its limit.
///
/// Facts are kept as they were graded and aged at each decision, so a broker that slept through a deadline
/// cannot decide on an old fact. `now` is the broker's clock, as the fact's `as_of` is.
pub fn aged(fact: Fact, now: WallTime, requirements: &Requirements) -> Fact {
    let limit = requirements.max_age(fact.kind);
    if fact.state == FactState::Unknown {
        fact // already, and for a better reason than age
    } else if now.since(fact.as_of) >= limit {
        let why = format!("This is too old: it was last read more than {} ago. {}", span(limit), fact.why);
        unknown(fact, why)
    } else if fact.as_of.since(now) > MOST_AHEAD {
        // A clock that was set back must not keep a fact young.
        let why = format!("This is dated in the future. {}", fact.why);
        unknown(fact, why)
    } else {
        fact
    }
}

/// When the first of these facts will be lost to age, if any will: the latest moment at which what was
/// decided on them must be decided anew.
pub fn next_change(facts: &[Fact], now: WallTime, requirements: &Requirements) -> Option<WallTime> {
    let known = facts.iter().filter(|fact| fact.state != FactState::Unknown);
    known.map(|fact| fact.as_of + requirements.max_age(fact.kind)).filter(|end| *end > now).min()
}

fn span(limit: Duration) -> String {
    match limit.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds @ 120..7_200 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3_600),
    }
}

/// How far the clocks of two brokers may lie apart.
const MOST_AHEAD: Duration = secs(60);

#[cfg(test)]
mod tests {
    use FactState::*;
    use proptest::prelude::*;
    use ztna_model::{FactKind, FactValue, Tier, millis, minutes};

    use super::*;

    const READ: WallTime = WallTime::from_secs(1_795_435_200);
    const LIMIT: Duration = minutes(12 * 60);

    fn fact(kind: FactKind, state: FactState, as_of: WallTime) -> Fact {
        let value = matches!(state, Pass | Fail).then_some(FactValue::Bool(true));
        let (source, why) = ("a file".to_owned(), "It was read.".to_owned());
        Fact { kind, state, tier: Tier::ProvenApp, value, source, why, as_of, simulated: false }
    }

    /// What a fact of `state`, read at `READ`, is at `now`.
    fn check(state: FactState, now: WallTime, expected: FactState, why: &str) {
        let aged = aged(fact(FactKind::Tpm, state, READ), now, &Requirements::default());
        assert_eq!(aged.state, expected, "{state} at {now:?}");
        assert_eq!(aged.value.is_some(), matches!(expected, Pass | Fail));
        assert!(aged.why.starts_with(why), "{}", aged.why);
    }

    #[test]
    fn facts_and_their_age() {
        let old = "This is too old: it was last read more than 12 hours ago. It was read.";
        check(Pass, READ, Pass, "It was read.");
        check(Pass, READ + LIMIT - millis(1), Pass, "It was read.");
        check(Pass, READ + LIMIT, Unknown, old);
        check(Fail, READ + LIMIT, Unknown, old);
        check(Unsupported, READ + LIMIT, Unknown, old);
        check(Unknown, READ + LIMIT, Unknown, "It was read.");
        check(Pass, READ - secs(60), Pass, "It was read.");
        check(Pass, READ - secs(61), Unknown, "This is dated in the future. It was read.");
        check(Pass, WallTime::EPOCH, Unknown, "This is dated in the future.");
    }

    #[test]
    fn each_kind_has_its_own_limit() {
        let limits = [(FactKind::DebuggerAttached, 900)].into();
        let requirements = Requirements { max_age_s_of: limits, ..Requirements::default() };
        let facts = [FactKind::Tpm, FactKind::DebuggerAttached].map(|kind| fact(kind, Pass, READ));
        assert_eq!(next_change(&facts, READ, &requirements), Some(READ + secs(900)));
        assert_eq!(next_change(&facts, READ + secs(900), &requirements), Some(READ + LIMIT));
        assert_eq!(next_change(&facts, READ + LIMIT, &requirements), None);
        assert_eq!(next_change(&[fact(FactKind::Tpm, Unknown, READ)], READ, &requirements), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_before_the_next_change_and_something_is_lost_at_it(
            ages in proptest::collection::vec(0..50_000_u64, 1..12), later in 0..50_000_u64,
        ) {
            let requirements = Requirements::default();
            let facts: Vec<Fact> = ages.iter().zip(FactKind::ALL)
                .map(|(age, kind)| fact(kind, Pass, READ - secs(*age)))
                .collect();
            let states = |now| -> Vec<FactState> {
                facts.iter().map(|fact| aged(fact.clone(), now, &requirements).state).collect()
            };
            match next_change(&facts, READ, &requirements) {
                None => prop_assert!(states(READ).iter().all(|state| *state == Unknown)),
                Some(change) => {
                    let before = (READ + secs(later)).min(change - millis(1));
                    prop_assert_eq!(states(before), states(READ));
                    prop_assert_ne!(states(change), states(READ));
                }
            }
        }
    }
}
