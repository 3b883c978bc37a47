use std::collections::BTreeSet;

use ztna_api::admin::{AdminError, Answer, PolicyChange, Preview, Right, Shift};
use ztna_model::{PersonId, ResourceId, SessionId};

use super::{Plan, Planned, unknown};
use crate::cedar::{Engine, Scene};
use crate::pdp::Pdp;
use crate::rows::Session;

impl Pdp {
    /// Who would gain and who would lose: every person and every live session, before and after, on every resource.
    pub(super) fn policy_preview(&mut self, change: &PolicyChange) -> Planned {
        let after = self.engine_after(change)?;
        let mut preview = Preview::default();
        let people: Vec<PersonId> = self.rows.people.keys().cloned().collect();
        let resources: Vec<ResourceId> = self.rows.resources.keys().cloned().collect();
        for person in people {
            let Some(fit) = self.fit_scene(&person) else { continue };
            let sessions = self.scenes_of(&person);
            for resource in &resources {
                self.compare(&after, &person, resource, &fit, &sessions, &mut preview);
            }
        }
        Ok(Plan::Show(Answer::Preview(preview)))
    }

    fn engine_after(&self, change: &PolicyChange) -> Result<Engine, AdminError> {
        let mut rules = self.engine.rules().clone();
        match change {
            PolicyChange::Put { policy, text } => {
                rules.insert(policy.clone(), self.read_policy(policy, text)?);
            }
            PolicyChange::Remove { policy } => {
                rules.remove(policy).ok_or_else(|| unknown("policy", policy))?;
            }
        }
        Ok(self.engine_with(rules))
    }

    /// The person's sessions that nothing but policies could deny.
    fn scenes_of(&self, person: &PersonId) -> Vec<(SessionId, Scene)> {
        let now = self.clock.wall();
        let open = |session: &Session| self.standing(session, now).is_none();
        let sessions = self.live_sessions(person).into_iter().filter(open);
        sessions.filter_map(|session| Some((session.sid, self.scene(&session, now)?))).collect()
    }

    fn compare(
        &self,
        after: &Engine,
        person: &PersonId,
        resource: &ResourceId,
        fit: &Scene,
        sessions: &[(SessionId, Scene)],
        preview: &mut Preview,
    ) {
        let before = &self.engine;
        let reaches = |engine: &Engine, scene: &Scene| engine.judge(scene, resource).decision.is_granted();
        let fit_change = (reaches(before, fit), reaches(after, fit));
        let mut turned: (BTreeSet<SessionId>, BTreeSet<SessionId>) = Default::default();
        for (sid, scene) in sessions {
            match (reaches(before, scene), reaches(after, scene)) {
                (false, true) => turned.0.insert(*sid),
                (true, false) => turned.1.insert(*sid),
                (true, true) | (false, false) => false,
            };
        }
        let shift =
            |right, sessions| Shift { person: person.clone(), resource: resource.clone(), right, sessions };
        if fit_change == (false, true) || !turned.0.is_empty() {
            preview.gains.push(shift(Right::Connect, turned.0));
        }
        if fit_change == (true, false) || !turned.1.is_empty() {
            preview.losses.push(shift(Right::Connect, turned.1));
        }
        match (before.sees(fit, resource), after.sees(fit, resource)) {
            (false, true) => preview.gains.push(shift(Right::See, BTreeSet::new())),
            (true, false) => preview.losses.push(shift(Right::See, BTreeSet::new())),
            (true, true) | (false, false) => {}
        }
    }
}
