use std::collections::BTreeSet;
use std::time::Duration;

use ztna_api::admin::HoldTarget;
use ztna_model::{
    Decision, DenyReason, DeviceId, Fact, Fix, GroupId, Lease, PersonId, ResourceId, WallTime, secs,
};
use ztna_posture::{aged, grade};

use crate::cedar::{Judged, Person, Scene, Sign, Surroundings};
use crate::pdp::Pdp;
use crate::rows::{self, Session, SessionState};

impl Pdp {
    /// The full decision: may this session reach this resource at `at`, on what is known today?
    pub(crate) fn decide(&self, session: &Session, resource: &ResourceId, at: WallTime) -> Judged {
        if let Some((reason, fix)) = self.standing(session, at) {
            return Judged::denied(reason, vec![fix], BTreeSet::new());
        }
        match self.scene(session, at) {
            Some(scene) => self.decide_in(&scene, resource, at),
            None => Judged::denied(DenyReason::SessionEnded, vec![Fix::SignIn], BTreeSet::new()),
        }
    }

    /// The decision on one of many resources, when nothing stands against the session itself.
    pub(crate) fn decide_in(&self, scene: &Scene, resource: &ResourceId, at: WallTime) -> Judged {
        if self.is_held(&HoldTarget::Resource(resource.clone()), at) {
            return Judged::denied(DenyReason::Held, vec![Fix::AskAdministrator], BTreeSet::new());
        }
        self.engine.judge(scene, resource)
    }

    /// What stands against the session itself, before any policy is asked.
    pub(crate) fn standing(&self, session: &Session, at: WallTime) -> Option<(DenyReason, Fix)> {
        match session.state {
            SessionState::Ended { .. } => return Some((DenyReason::SessionEnded, Fix::SignIn)),
            SessionState::Pending => return Some((DenyReason::DeviceNotAdmitted, Fix::AwaitAdmission)),
            SessionState::Open => {}
        }
        let device = self.rows.devices.get(&session.device);
        if !device.is_some_and(rows::Device::is_admitted) {
            return Some((DenyReason::DeviceNotAdmitted, Fix::AwaitAdmission));
        }
        if at >= self.ends_at(session) || !self.rows.people.contains_key(&session.person) {
            return Some((DenyReason::SessionEnded, Fix::SignIn));
        }
        let targets = [
            HoldTarget::Person(session.person.clone()),
            HoldTarget::Device(session.device),
            HoldTarget::Session(session.sid),
        ];
        if targets.iter().any(|target| self.is_held(target, at)) {
            return Some((DenyReason::Held, Fix::AskAdministrator));
        }
        let vouched_until = session.auth.idp_seen + secs(self.settings().idp_seen_max_s);
        (at >= vouched_until).then_some((DenyReason::EvidenceTooOld, Fix::SignIn))
    }

    /// Whether a hold denies `target`.
    pub(crate) fn is_held(&self, target: &HoldTarget, at: WallTime) -> bool {
        self.rows
            .holds
            .values()
            .any(|hold| hold.target == *target && hold.until.is_none_or(|until| at < until))
    }

    /// When the session ends if nothing more is heard of it. Sleeping through its idleness has its place here.
    pub(crate) fn ends_at(&self, session: &Session) -> WallTime {
        let active = self.devices.active(&session.sid).unwrap_or(session.active).max(session.active);
        session.expires.min(active + secs(self.settings().idle_s))
    }

    /// The session's request in Cedar's terms.
    pub(crate) fn scene(&self, session: &Session, at: WallTime) -> Option<Scene> {
        let person = self.subject(&session.person)?;
        let surroundings = Surroundings {
            sign: Sign {
                acr: session.auth.acr.clone(),
                amr: session.auth.amr.clone(),
                age: at.since(session.auth.auth_time),
            },
            device: session.device,
            facts: self.facts_at(&session.device, at),
            from: self.devices.address(&session.sid),
            at,
            utc_offset_minutes: self.settings().utc_offset_minutes,
        };
        Some(Scene::new(&person, surroundings, self.engine.language()))
    }

    /// The person as policies know them.
    pub(crate) fn subject(&self, person: &PersonId) -> Option<Person> {
        let row = self.rows.people.get(person)?;
        Some(Person { id: person.clone(), groups: self.groups_of(row).into_iter().collect() })
    }

    /// The groups given by administrators, and those that the person's own issuer says.
    pub(crate) fn groups_of(&self, person: &rows::Person) -> BTreeSet<GroupId> {
        let claimed = self.rows.groups.values().filter(|group| {
            group
                .claims
                .iter()
                .any(|claim| claim.issuer == person.id.issuer && person.claimed.contains(&claim.name))
        });
        claimed.map(|group| group.id.clone()).chain(person.groups.iter().cloned()).collect()
    }

    /// A device's facts as they count at `at`.
    pub(crate) fn facts_at(&self, device: &DeviceId, at: WallTime) -> Vec<Fact> {
        let facts = self.devices.graded(device).unwrap_or_else(|| self.graded(device));
        facts.into_iter().map(|fact| aged(fact, at, &self.requirements)).collect()
    }

    /// A device's facts as they were when they came in.
    pub(crate) fn graded(&self, device: &DeviceId) -> Vec<Fact> {
        let received = self.rows.devices.get(device).and_then(|row| row.received.as_ref());
        match received {
            Some(received) => grade(&received.readings, &self.requirements, received.tier, received.as_of),
            None => grade(&[], &self.requirements, ztna_model::Tier::Unproven, self.clock.wall()),
        }
    }

    /// The full decision on a live lease, and for how long at most it may be signed: no longer than the answer stays
    /// the same, so never past the age of a fact, of the evidence or of the session, or an edge of time.
    pub(crate) fn decide_lease(&self, lease: &Lease) -> (Judged, Duration) {
        let refused = |reason| (Judged::denied(reason, Vec::new(), BTreeSet::new()), Duration::ZERO);
        let Some(session) = self.rows.sessions.get(&lease.sid) else {
            return refused(DenyReason::SessionEnded);
        };
        if !self.is_as_it_was(lease, session) {
            return refused(DenyReason::Revoked);
        }
        let now = self.clock.wall();
        let resource = &lease.rule.resource;
        let judged = self.decide(session, resource, now);
        if !judged.decision.is_granted() {
            return (judged, Duration::ZERO);
        }
        let ttl = self.lease_ttl().min(judged.max_ttl.unwrap_or(Lease::LONGEST));
        let holds = |span| self.decide(session, resource, now + span).decision.is_granted();
        match longest(ttl, holds) {
            Duration::ZERO => (self.decide(session, resource, now + secs(1)), Duration::ZERO),
            span => (judged, span),
        }
    }

    /// The organisation's choice of a lease's life.
    pub(crate) fn lease_ttl(&self) -> Duration {
        secs(self.settings().lease_ttl_s.max(1)).min(Lease::LONGEST)
    }

    /// Whether the lease still says what would be granted today: a renewal may change nothing else.
    fn is_as_it_was(&self, lease: &Lease, session: &Session) -> bool {
        let Some(resource) = self.rows.resources.get(&lease.rule.resource) else { return false };
        let Some(terms) = crate::ask::terms(resource, &lease.rule.covers, self.suffixes()) else {
            return false;
        };
        let ztna_model::Holder::Tunnel { wg_pub, .. } = &lease.holder;
        let gateway = self.rows.gateways.get(&lease.gw);
        session.tunnel.as_ref().is_some_and(|tunnel| tunnel.wg_pub == *wg_pub)
            && gateway.is_some_and(|row| row.revoked.is_none() && row.site == resource.site)
            && terms == (lease.rule.clone(), lease.target.clone())
    }
}

/// The longest span up to `most`, in whole seconds where it is shorter, for which `holds` is true at its end. Found by
/// halves: what turns back in between is seen at the renewal, which comes at half-life.
fn longest(most: Duration, holds: impl Fn(Duration) -> bool) -> Duration {
    if holds(most) {
        return most;
    }
    let (mut good, mut bad) = (0, most.as_secs().saturating_add(1));
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if holds(secs(middle)) { good = middle } else { bad = middle }
    }
    secs(good)
}

/// The answer in one word, for a lease that ends.
pub(crate) const fn reason_of(decision: &Decision) -> DenyReason {
    match decision {
        Decision::Denied { reason, .. } => *reason,
        Decision::StepUp { .. } => DenyReason::EvidenceTooOld,
        Decision::Granted | Decision::Pending { .. } => DenyReason::Revoked,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn p5_2_a_lease_is_never_signed_past_the_moment_its_answer_turns(edge_ms in 0..400_000_u64, ttl in 1..300_u64) {
            let edge = Duration::from_millis(edge_ms);
            let span = longest(secs(ttl), |span| span < edge);
            prop_assert!(span == Duration::ZERO || span < edge);
            prop_assert!(span <= secs(ttl));
            prop_assert!(span == secs(ttl) || span + secs(1) >= edge, "a second more would do");
        }
    }
}
