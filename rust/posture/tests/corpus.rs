//! What devices may send, sound and hostile, read from `tests/corpus/posture` at the root of the repository.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use FactKind::*;
use FactState::*;
use ztna_model::{Fact, FactKind, FactState, Reading, Tier, WallTime};
use ztna_posture::{Requirements, grade};

const NOW: WallTime = WallTime::from_secs(1_795_435_200); // 2026-11-23, noon

fn read(name: &str) -> serde_json::Result<Vec<Reading>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/posture");
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap())
}

/// What the device in a file comes to, for one kind.
fn check(name: &str, kind: FactKind, expected: FactState) {
    let facts = grade(&read(name).unwrap(), &Requirements::default(), Tier::ProvenApp, NOW);
    let fact: &Fact = facts.iter().find(|fact| fact.kind == kind).unwrap();
    assert_eq!(fact.state, expected, "{name}: {}", fact.why);
}

#[test]
fn readings_are_graded_soundly() {
    check("sound.json", DiskEncrypted, Pass);
    check("contradictory-kind.json", DiskEncrypted, Unknown);
    check("contradictory-kind.json", Tpm, Pass); // one bad kind spoils no other
    check("oversize-text.json", OsSupported, Unknown);
    check("control-characters.json", KernelCurrent, Unknown);
    check("wrong-form.json", PatchAge, Unknown);
    check("wrong-form.json", DiskEncrypted, Unknown);
    check("simulated.json", Firewall, Unknown);
    check("from-the-far-past.json", ScreenLock, Unknown);
}

#[test]
fn what_is_no_reading_is_refused() {
    for name in ["fraction.json", "two-observations.json", "unknown-kind.json"] {
        assert!(read(name).is_err(), "{name}");
    }
}

/// A scripted client reports a perfect device, and names a state and a tier of its own.
#[test]
fn p4_4_d01_spoofed_facts_reach_tier_0_only() {
    let readings = read("spoofed-state-and-tier.json").unwrap();
    assert_eq!(readings.len(), FactKind::ALL.len());
    for fact in grade(&readings, &Requirements::default(), Tier::Unproven, NOW) {
        assert_eq!((fact.state, fact.tier, fact.value), (Unknown, Tier::Unproven, None), "{}", fact.kind);
    }
    // An organisation that lets tier 0 count sees on each fact that it is no more than that.
    let lenient = Requirements { tier: Tier::Unproven, ..Requirements::default() };
    for fact in grade(&readings, &lenient, Tier::Unproven, NOW) {
        assert_eq!((fact.state, fact.tier), (Pass, Tier::Unproven), "{}", fact.kind);
    }
}
