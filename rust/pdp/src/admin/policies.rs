use std::collections::BTreeSet;

use ztna_api::admin::{AdminError, Answer, HoldTarget, Policy, Verdict};
use ztna_model::{DeviceId, FactKind, FactState, PersonId, PolicyId, ResourceId};

use super::{Plan, Planned, invalid, unknown};
use crate::audit::{By, Event};
use crate::cedar::{Engine, Judged, Rule, Scene};
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::{Key, Session};

impl Pdp {
    pub(super) fn policy_put(&mut self, id: PolicyId, text: String, by: &By) -> Planned {
        self.read_policy(&id, &text)?;
        let version = self.rows.policies.get(&id).map_or(1, |policy| policy.version.saturating_add(1));
        let event = Event::PolicyPut { policy: id.clone(), version, text: text.clone() };
        let mut change = Change { audit: vec![self.entry(by.clone(), event)], ..Change::default() };
        change.put(Policy { id, text, version, changed: self.clock.wall() });
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    /// Reads a policy as it would be kept, or says what is wrong with it.
    pub(super) fn read_policy(&self, id: &PolicyId, text: &str) -> Result<Rule, AdminError> {
        let language = self.engine.language();
        if text.len() > LONGEST_POLICY {
            return Err(invalid("a policy has at most 16,384 bytes"));
        }
        let rule = Rule::read(id, text, language).map_err(invalid)?;
        match rule.stranger(&self.known(), language) {
            Some(name) => Err(invalid(format!("it names {name}, which does not exist"))),
            None => Ok(rule),
        }
    }

    pub(super) fn policy_remove(&mut self, id: &PolicyId, by: &By) -> Planned {
        if !self.rows.policies.contains_key(id) {
            return Err(unknown("policy", id));
        }
        let mut change = self.administered("policy-remove", id, by);
        change.delete(Key::Policy(id.clone()));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    /// May this person reach this resource now, and why?
    pub(super) fn policy_test(
        &mut self,
        person: &PersonId,
        device: Option<DeviceId>,
        resource: &ResourceId,
    ) -> Planned {
        self.person(person)?;
        if !self.rows.resources.contains_key(resource) {
            return Err(unknown("resource", resource));
        }
        let mut sessions: Vec<Session> = self.live_sessions(person);
        if let Some(device) = device {
            sessions.retain(|session| session.device == device);
            if sessions.is_empty() {
                return Err(unknown("session on the device", device));
            }
        }
        let mut verdicts: Vec<Verdict> =
            sessions.iter().filter_map(|session| self.verdict(session, resource)).collect();
        if verdicts.is_empty() {
            verdicts.extend(self.fit_verdict(person, resource));
        }
        Ok(Plan::Show(Answer::Tested { verdicts }))
    }

    pub(super) fn live_sessions(&self, person: &PersonId) -> Vec<Session> {
        let sids = self.index.sessions_of(person);
        let rows = sids.iter().filter_map(|sid| self.rows.sessions.get(sid));
        rows.filter(|session| session.is_live()).cloned().collect()
    }

    fn verdict(&self, session: &Session, resource: &ResourceId) -> Option<Verdict> {
        let now = self.clock.wall();
        let scene = self.scene(session, now)?;
        let judged = self.decide(session, resource, now);
        Some(self.told(Some(session.device), &scene, judged, resource))
    }

    /// The answer for a device on which everything passes, after a sign-in a moment ago.
    fn fit_verdict(&self, person: &PersonId, resource: &ResourceId) -> Option<Verdict> {
        let scene = self.fit_scene(person)?;
        let held = self.is_held(&HoldTarget::Person(person.clone()), self.clock.wall());
        let judged = if held {
            let fix = vec![ztna_model::Fix::AskAdministrator];
            Judged::denied(ztna_model::DenyReason::Held, fix, BTreeSet::new())
        } else {
            self.decide_in(&scene, resource, self.clock.wall())
        };
        Some(self.told(None, &scene, judged, resource))
    }

    pub(super) fn fit_scene(&self, person: &PersonId) -> Option<Scene> {
        let settings = self.settings();
        let person = self.subject(person)?;
        let now = self.clock.wall();
        Some(Scene::on_a_fit_device(&person, now, settings.utc_offset_minutes, self.engine.language()))
    }

    fn told(
        &self,
        device: Option<DeviceId>,
        scene: &Scene,
        judged: Judged,
        resource: &ResourceId,
    ) -> Verdict {
        let visible = judged.decision.is_granted() || self.engine.sees(scene, resource);
        let reads = self.engine.reads_of(resource).facts;
        let weak = |(kind, state): &(FactKind, FactState)| reads.contains(kind) && *state != FactState::Pass;
        let facts = scene.facts().filter(weak).collect();
        Verdict { device, decision: judged.decision, visible, policies: judged.policies, facts }
    }

    /// The engine as it would be with these rules.
    pub(super) fn engine_with(&self, rules: std::collections::BTreeMap<PolicyId, Rule>) -> Engine {
        Engine::new(self.engine.language().clone(), rules, self.rows.resources.values())
    }
}

const LONGEST_POLICY: usize = 16_384;
