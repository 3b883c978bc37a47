use std::time::Duration;

use proptest::prelude::*;
use ztna_model::{Decision, FactKind, FactState, Fix};

use super::tests::{engine, fact, judge, person, resources, surroundings};
use super::{Scene, Sign, Surroundings};

fn any_state() -> impl Strategy<Value = FactState> {
    proptest::sample::select(vec![
        FactState::Pass,
        FactState::Fail,
        FactState::Unknown,
        FactState::Unsupported,
    ])
}

fn any_surroundings() -> impl Strategy<Value = Surroundings> {
    let states = proptest::collection::vec(any_state(), FactKind::ALL.len());
    (states, 0..200_u64, any::<bool>()).prop_map(|(states, age, mfa)| {
        let weak: Vec<_> = FactKind::ALL.into_iter().zip(states).collect();
        let sign =
            Sign { acr: mfa.then(|| "mfa".into()), amr: vec!["pwd".into()], age: Duration::from_secs(age) };
        Surroundings { sign, ..surroundings(&weak) }
    })
}

/// Policies of every shape that is accepted, over few names so that they meet.
fn any_policy() -> impl Strategy<Value = String> {
    let principal = proptest::sample::select(vec![
        "principal",
        "principal in Group::\"staff\"",
        "principal in Group::\"contractors\"",
        "principal is Person",
        "principal is Person in Group::\"staff\"",
    ]);
    let action =
        proptest::sample::select(vec!["action == Action::\"connect\"", "action in [Action::\"connect\"]"]);
    let resource = proptest::sample::select(vec![
        "resource",
        "resource == Resource::\"wiki\"",
        "resource == Resource::\"robot\"",
        "resource in Site::\"hq\"",
        "resource in Site::\"lab\"",
        "resource in Resource::\"wiki\"",
        "resource is Resource",
        "resource is Resource in Site::\"lab\"",
    ]);
    let fact = proptest::sample::select(vec![FactKind::DiskEncrypted, FactKind::Tpm, FactKind::Firewall]);
    let rest =
        proptest::sample::select(vec!["", " && context.auth.age_s < 100", " && context.time.minute > 3"]);
    let head = (principal, action, resource);
    (any::<bool>(), head, proptest::option::of((fact, rest))).prop_map(|(permits, head, clause)| {
        let (effect, word) = if permits { ("permit", "when") } else { ("forbid", "unless") };
        let clause = clause.map_or(String::new(), |(fact, rest)| {
            format!(" {word} {{ context.device.{fact}.state == \"pass\"{rest} }}")
        });
        format!("{effect}({}, {}, {}){clause};", head.0, head.1, head.2)
    })
}

fn any_groups() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["staff", "contractors"], 0..=2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn p4_1_a_slice_says_what_the_whole_set_says(
        policies in proptest::collection::vec(any_policy(), 0..8),
        groups in any_groups(),
        surroundings in any_surroundings(),
    ) {
        let texts: Vec<&str> = policies.iter().map(String::as_str).collect();
        let engine = engine(&texts);
        let scene = Scene::new(&person(&groups), surroundings, engine.language());
        for resource in resources() {
            let judged = engine.judge(&scene, &resource.id);
            prop_assert_eq!(judged.decision.is_granted(), engine.whole_set_allows(&scene, &resource));
        }
    }

    #[test]
    fn p4_1_nothing_but_pass_ever_helps(
        policies in proptest::collection::vec(any_policy(), 0..6),
        groups in any_groups(),
        surroundings in any_surroundings(),
        kind in proptest::sample::select(FactKind::ALL.to_vec()),
    ) {
        let texts: Vec<&str> = policies.iter().map(String::as_str).collect();
        let granted = |state| {
            let mut surroundings = surroundings.clone();
            surroundings.facts.iter_mut().filter(|known| known.kind == kind).for_each(|known| *known = fact(kind, state));
            judge(&texts, &groups, surroundings).decision.is_granted()
        };
        let failing = granted(FactState::Fail);
        prop_assert_eq!(granted(FactState::Unknown), failing);
        prop_assert_eq!(granted(FactState::Unsupported), failing);
        prop_assert!(granted(FactState::Pass) || !failing);
    }

    #[test]
    fn p4_2_a_fix_that_is_suggested_helps_and_none_of_it_is_idle(
        policies in proptest::collection::vec(any_policy(), 0..6),
        groups in any_groups(),
        surroundings in any_surroundings(),
    ) {
        let texts: Vec<&str> = policies.iter().map(String::as_str).collect();
        if let Decision::Denied { fixes, .. } = judge(&texts, &groups, surroundings.clone()).decision
            && !fixes.contains(&Fix::AskAdministrator)
        {
            let mended = |fixes: &[Fix]| {
                let mut better = surroundings.clone();
                for known in &mut better.facts {
                    if fixes.contains(&Fix::Device { fact: known.kind }) {
                        *known = fact(known.kind, FactState::Pass);
                    }
                }
                if fixes.contains(&Fix::SignIn) {
                    better.sign.age = Duration::ZERO;
                }
                judge(&texts, &groups, better).decision.is_granted()
            };
            prop_assert!(mended(&fixes));
            for n in 0..fixes.len() {
                let mut fewer = fixes.clone();
                fewer.remove(n);
                prop_assert!(!mended(&fewer), "{:?} is enough of {:?}", fewer, fixes);
            }
        }
    }

    #[test]
    fn p4_1_removing_a_permit_or_adding_a_forbid_lets_nobody_in(
        policies in proptest::collection::vec(any_policy(), 1..6),
        extra in any_policy(),
        groups in any_groups(),
        surroundings in any_surroundings(),
    ) {
        let texts: Vec<&str> = policies.iter().map(String::as_str).collect();
        let mut fewer = texts.clone();
        if let Some(n) = texts.iter().position(|text| text.starts_with("permit")) {
            fewer.remove(n);
        }
        if extra.starts_with("forbid") {
            fewer.push(&extra);
        }
        let granted = |texts: &[&str]| judge(texts, &groups, surroundings.clone()).decision.is_granted();
        prop_assert!(granted(&texts) || !granted(&fewer));
    }
}
