use std::collections::BTreeSet;
use std::time::Duration;

use ztna_model::{DenyReason, Fact, FactKind, FactState, Fix, PolicyId};

use super::engine::{Engine, Judged, Slice};
use super::scene::{Scene, Surroundings, passing};

impl Engine {
    /// Why policies refuse, and the fewest things that would turn them: facts to bring in order, a fresh sign-in, or
    /// else an administrator.
    pub(super) fn explain(&self, scene: &Scene, slice: &Slice, forbids: BTreeSet<PolicyId>) -> Judged {
        let weak = |fact: &&Fact| slice.reads.facts.contains(&fact.kind) && fact.state != FactState::Pass;
        let weak: BTreeSet<FactKind> =
            scene.surroundings.facts.iter().filter(weak).map(|fact| fact.kind).collect();
        for fresh in [false, true] {
            if self.would_allow(scene, slice, &weak, fresh) {
                let needed = self.fewest(scene, slice, weak, fresh);
                return Judged::denied(reason(scene, &needed), fixes(needed, fresh), forbids);
            }
        }
        let reason = if forbids.is_empty() { DenyReason::NotEntitled } else { DenyReason::Forbidden };
        Judged::denied(reason, vec![Fix::AskAdministrator], forbids)
    }

    /// Whether policies would allow it if these facts passed and, perhaps, the sign-in were fresh.
    fn would_allow(&self, scene: &Scene, slice: &Slice, passed: &BTreeSet<FactKind>, fresh: bool) -> bool {
        let verdict = self.connect(&scene.had(better(scene, passed, fresh), &self.language), slice);
        verdict.allowed && !verdict.erred
    }

    /// `facts` without those that need not change; no further one can be left out.
    fn fewest(
        &self,
        scene: &Scene,
        slice: &Slice,
        facts: BTreeSet<FactKind>,
        fresh: bool,
    ) -> BTreeSet<FactKind> {
        let mut needed = facts.clone();
        for fact in facts {
            needed.remove(&fact);
            if !self.would_allow(scene, slice, &needed, fresh) {
                needed.insert(fact);
            }
        }
        needed
    }
}

fn better(scene: &Scene, passed: &BTreeSet<FactKind>, fresh: bool) -> Surroundings {
    let mut surroundings = scene.surroundings.clone();
    for fact in surroundings.facts.iter_mut().filter(|fact| passed.contains(&fact.kind)) {
        *fact = passing(fact, scene.surroundings.at);
    }
    if fresh {
        surroundings.sign.age = Duration::ZERO;
    }
    surroundings
}

fn reason(scene: &Scene, needed: &BTreeSet<FactKind>) -> DenyReason {
    let mut facts = scene.surroundings.facts.iter().filter(|fact| needed.contains(&fact.kind));
    if needed.is_empty() {
        DenyReason::EvidenceTooOld
    } else if facts.any(|fact| fact.state == FactState::Fail) {
        DenyReason::DeviceUnfit
    } else {
        DenyReason::DeviceUnproven
    }
}

fn fixes(needed: BTreeSet<FactKind>, fresh: bool) -> Vec<Fix> {
    let facts = needed.into_iter().map(|fact| Fix::Device { fact });
    facts.chain(fresh.then_some(Fix::SignIn)).collect()
}
