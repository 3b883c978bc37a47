use ztna_model::{Date, Fact, FactKind, FactState, FactValue, Observed, Reading, Tier, WallTime, secs};

use crate::age::aged;
use crate::plain::plain;
use crate::requirements::Requirements;
use crate::verdict::{Verdict, judge};

/// Grades what a device read: exactly one fact for every kind, in the order of [`FactKind::ALL`].
///
/// `tier` is what this device's app has earned with the broker, whatever the device says of itself. `as_of`
/// is when the readings are known to have been true: the broker's receipt, or the nonce of the statement that
/// carries them, whichever is older.
///
/// Any readings at all may go in. A kind that is missing, contradictory, malformed, made up, too weakly
/// proven or too old comes out as unknown and says so; only what is sound and as asked comes out as a pass.
pub fn grade(readings: &[Reading], requirements: &Requirements, tier: Tier, as_of: WallTime) -> Vec<Fact> {
    let fact_of = |kind| {
        let mut of_kind = readings.iter().filter(|reading| reading.kind == kind);
        match (of_kind.next(), of_kind.next()) {
            (Some(reading), None) => weigh(reading, requirements, tier, as_of),
            (None, _) => missing(kind, as_of, "This device did not report it."),
            // Which of them holds cannot be told, so none counts.
            (Some(_), Some(_)) => missing(kind, as_of, "This device reported it more than once."),
        }
    };
    FactKind::ALL.into_iter().map(fact_of).collect()
}

/// One reading, through every way in which it can fail to count. The order is that of what to tell: what was
/// read comes first, and the reasons why it does not count are put before it.
fn weigh(reading: &Reading, requirements: &Requirements, tier: Tier, as_of: WallTime) -> Fact {
    let (Verdict { state, why }, value) = look(reading, requirements, Date::of(as_of));
    let fact = Fact {
        kind: reading.kind,
        state,
        // What anybody can write into a file is no evidence, however well the app is proven.
        tier: if reading.simulated { Tier::Unproven } else { tier },
        value,
        source: plain(&reading.source),
        why,
        as_of: as_of - secs(reading.age_s),
        simulated: reading.simulated,
    };
    aged(counted(fact, requirements), as_of, requirements)
}

/// What the reading says, before asking whether it counts.
fn look(reading: &Reading, requirements: &Requirements, today: Date) -> (Verdict, Option<FactValue>) {
    let told = |state, why: &str| (Verdict { state, why: sentence(why) }, None);
    let value = match &reading.observed {
        Observed::Value(value) => value,
        Observed::Unknown(why) => return told(FactState::Unknown, why),
        Observed::Unsupported(why) => return told(FactState::Unsupported, why),
    };
    if let FactValue::Text(text) = value
        && *text != plain(text)
    {
        return told(FactState::Unknown, "The reading is too long, or not plain text.");
    }
    match judge(reading.kind, value, requirements, today) {
        None => told(FactState::Unknown, "The reading does not have the form that it should."),
        Some(verdict) => {
            let known = verdict.state != FactState::Unknown;
            (verdict, known.then(|| value.clone()))
        }
    }
}

/// The fact, or unknown where its evidence is too weak. The sentence keeps what was read, for people to see.
fn counted(fact: Fact, requirements: &Requirements) -> Fact {
    if fact.simulated && !requirements.simulated {
        let why = format!("This is simulated, which does not count here. {}", fact.why);
        return unknown(fact, why);
    }
    if fact.tier < requirements.tier {
        let (given, asked) = (u8::from(fact.tier), u8::from(requirements.tier));
        let why = format!("This is proven to tier {given} only, and tier {asked} is asked for. {}", fact.why);
        return unknown(fact, why);
    }
    fact
}

/// The fact with nothing left that a rule could take for an answer.
///
/// INVARIANT: a fact has a value only if it passes or fails: `look` begins so, and this keeps it so.
pub(crate) fn unknown(fact: Fact, why: String) -> Fact {
    Fact { state: FactState::Unknown, value: None, why, ..fact }
}

fn missing(kind: FactKind, as_of: WallTime, why: &str) -> Fact {
    Fact {
        kind,
        state: FactState::Unknown,
        tier: Tier::Unproven,
        value: None,
        source: String::new(),
        why: why.to_owned(),
        as_of,
        simulated: false,
    }
}

fn sentence(why: &str) -> String {
    let why = plain(why);
    if why.is_empty() { "The device did not say why.".to_owned() } else { why }
}

#[cfg(test)]
mod tests {
    use FactKind::*;
    use FactState::*;
    use FactValue::{Bool, Number};
    use Observed::Value;
    use proptest::prelude::*;

    use super::*;

    const NOW: WallTime = WallTime::from_secs(1_795_435_200); // 2026-11-23, noon

    fn reading(kind: FactKind, observed: Observed) -> Reading {
        Reading { kind, observed, source: "a file".to_owned(), age_s: 0, simulated: false }
    }

    fn simulated(reading: Reading) -> Reading {
        Reading { simulated: true, ..reading }
    }

    fn aged_by(age_s: u64, reading: Reading) -> Reading {
        Reading { age_s, ..reading }
    }

    fn said(text: &str) -> Observed {
        Value(FactValue::Text(text.to_owned()))
    }

    fn demo() -> Requirements {
        Requirements { tier: Tier::Unproven, simulated: true, ..Requirements::default() }
    }

    /// What one reading of a device whose app has earned `tier` comes to.
    fn check(reading: Reading, tier: Tier, asked: &Requirements, state: FactState, why: &str) {
        let facts = grade(std::slice::from_ref(&reading), asked, tier, NOW);
        let fact = facts.into_iter().find(|fact| fact.kind == reading.kind).unwrap();
        assert_eq!(fact.state, state, "{reading:?}: {}", fact.why);
        assert!(fact.why.starts_with(why), "{reading:?}: {}", fact.why);
        assert_eq!(fact.tier, if reading.simulated { Tier::Unproven } else { tier });
        assert_eq!(fact.simulated, reading.simulated);
    }

    #[test]
    fn readings_and_their_facts() {
        let (usual, demo) = (&Requirements::default(), &demo());
        let [zero, one, two] = [Tier::Unproven, Tier::ProvenApp, Tier::Server];
        let disk = |yes| reading(DiskEncrypted, Value(Bool(yes)));
        let unseen = |why: &str| reading(Tpm, Observed::Unknown(why.to_owned()));
        let absent = |why: &str| reading(SecureBoot, Observed::Unsupported(why.to_owned()));
        let kernel = |text: &str| reading(KernelCurrent, said(text));
        let strict_demo = &Requirements { tier: one, ..demo.clone() };

        check(disk(true), one, usual, Pass, "The disk that holds your files is encrypted.");
        check(disk(true), two, usual, Pass, "The disk");
        check(disk(false), one, usual, Fail, "The disk that holds your files is not encrypted.");
        check(
            disk(true),
            zero,
            usual,
            Unknown,
            "This is proven to tier 0 only, and tier 1 is asked for. The",
        );
        check(disk(false), zero, usual, Unknown, "This is proven to tier 0 only");
        check(disk(true), zero, demo, Pass, "The disk");
        check(simulated(disk(true)), zero, demo, Pass, "The disk");
        check(simulated(disk(false)), two, demo, Fail, "The disk");
        check(
            simulated(disk(true)),
            two,
            usual,
            Unknown,
            "This is simulated, which does not count here. The",
        );
        check(simulated(disk(true)), two, strict_demo, Unknown, "This is proven to tier 0 only");
        check(aged_by(43_199, disk(true)), one, usual, Pass, "The disk");
        check(aged_by(43_200, disk(true)), one, usual, Unknown, "This is too old");
        check(aged_by(u64::MAX, disk(true)), one, usual, Unknown, "This is too old");
        check(unseen("No TPM is shown."), one, usual, Unknown, "No TPM is shown.");
        check(unseen(""), one, usual, Unknown, "The device did not say why.");
        check(absent("There is no UEFI."), one, usual, Unsupported, "There is no UEFI.");
        check(absent("There is no UEFI."), zero, usual, Unknown, "This is proven to tier 0 only");
        check(reading(DiskEncrypted, Value(Number(1))), one, usual, Unknown, "The reading does not have");
        check(reading(ClockSkew, said("0")), one, usual, Unknown, "The reading does not have the form");
        check(reading(PatchAge, Value(Number(-1))), one, usual, Unknown, "The last update lies in the");
        check(kernel(&"6".repeat(256)), one, usual, Pass, "The newest kernel");
        check(kernel(&"6".repeat(257)), one, usual, Unknown, "The reading is too long");
        check(kernel("6.1\u{1b}[2K"), one, usual, Unknown, "The reading is too long, or not plain text.");
    }

    #[test]
    fn what_is_not_reported_is_unknown_and_what_is_reported_twice_too() {
        let facts = grade(&[], &Requirements::default(), Tier::Hardware, NOW);
        assert!(
            facts.iter().all(|fact| fact.state == Unknown && fact.why == "This device did not report it.")
        );

        let disk = |yes| reading(DiskEncrypted, Value(Bool(yes)));
        for twice in [[disk(true), disk(true)], [disk(true), disk(false)]] {
            let facts = grade(&twice, &Requirements::default(), Tier::Hardware, NOW);
            let fact = facts.iter().find(|fact| fact.kind == DiskEncrypted).unwrap();
            assert_eq!((fact.state, fact.why.as_str()), (Unknown, "This device reported it more than once."));
        }
    }

    fn any_observed() -> impl Strategy<Value = Observed> {
        prop_oneof![
            any::<bool>().prop_map(|yes| Value(Bool(yes))),
            prop_oneof![-400..400_i64, any::<i64>()].prop_map(|number| Value(Number(number))),
            "\\PC{0,40}|debian 1[0-9]|6\\.1( < 6\\.2)?".prop_map(|text| said(&text)),
            any::<String>().prop_map(Observed::Unknown),
            any::<String>().prop_map(Observed::Unsupported),
        ]
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        let kind = proptest::sample::select(FactKind::ALL.to_vec());
        let age_s = prop_oneof![0..90_000_u64, any::<u64>()];
        (kind, any_observed(), any::<String>(), age_s, any::<bool>()).prop_map(
            |(kind, observed, source, age_s, simulated)| Reading { kind, observed, source, age_s, simulated },
        )
    }

    fn any_tier() -> impl Strategy<Value = Tier> {
        (0..4_u8).prop_map(|number| number.try_into().unwrap())
    }

    proptest! {
        /// The promise that everything else rests on, for every input there is.
        #[test]
        fn only_a_sound_reading_passes(
            readings in proptest::collection::vec(any_reading(), 0..20),
            (tier, asked_tier, allowed) in (any_tier(), any_tier(), any::<bool>()),
        ) {
            let asked = Requirements { tier: asked_tier, simulated: allowed, ..Requirements::default() };
            let facts = grade(&readings, &asked, tier, NOW);
            prop_assert!(facts.iter().map(|fact| fact.kind).eq(FactKind::ALL));
            for fact in facts {
                let of_kind: Vec<_> = readings.iter().filter(|reading| reading.kind == fact.kind).collect();
                let decided = matches!(fact.state, Pass | Fail);
                prop_assert_eq!(fact.value.is_some(), decided);
                prop_assert!(!fact.why.is_empty() && fact.why.len() <= 512 && fact.source.len() <= 256);
                if fact.state == Unknown {
                    continue;
                }
                let [reading] = of_kind.as_slice() else { panic!("{} reading(s)", of_kind.len()) };
                prop_assert_eq!(decided, matches!(reading.observed, Value(_)));
                prop_assert!(allowed || !reading.simulated);
                prop_assert!(fact.tier >= asked_tier && fact.tier <= tier);
                prop_assert_eq!(fact.simulated, reading.simulated);
                prop_assert!(reading.age_s < asked.max_age_s);
            }
        }
    }
}
