use ztna_api::admin::{Answer, HoldTarget};
use ztna_model::{EndReason, HoldId, SessionId, WallTime};

use super::{Plan, Planned, Revocation, invalid, unknown};
use crate::audit::{By, Event, Target};
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::{Hold, Key, Session};
use crate::timers::Timer;

impl Pdp {
    /// Ends a session. A sign-in that has begun does not bring it back.
    pub(super) fn session_end(&mut self, sid: &SessionId) -> Planned {
        let session = self.rows.sessions.get(sid).filter(|session| session.is_live()).cloned();
        let session: Session = session.ok_or_else(|| unknown("session", sid))?;
        let mut change = Change::default();
        self.end_session(&session, EndReason::Administrator, &mut change);
        self.move_not_before(&session.person, &mut change);
        Ok(Plan::Enforce(change, Revocation { hold: None, sids: vec![*sid] }))
    }

    /// Places a hold: from here on every decision on its target is a no, whatever policies say.
    pub(super) fn hold_place(
        &mut self,
        target: HoldTarget,
        reason: &str,
        until: Option<WallTime>,
        by: &By,
    ) -> Planned {
        let named = self.audit_target(&target)?;
        let now = self.clock.wall();
        if until.is_some_and(|until| until <= now) {
            return Err(invalid("the hold would be over before it began"));
        }
        if reason.trim().is_empty() || reason.len() > LONGEST_REASON {
            return Err(invalid("a hold needs a reason of at most 1,000 bytes"));
        }
        let id = HoldId::random(&mut *self.random);
        let mut change = Change::default();
        let event = |reason| Event::HoldPlaced { hold: id, target: named, reason };
        change.audit.push(self.personal_entry(by, reason, event));
        if let HoldTarget::Person(person) = &target {
            self.move_not_before(person, &mut change);
        }
        change.put(Hold { id, target, reason: reason.to_owned(), placed: now, until });
        if let Some(until) = until {
            self.timers.set(self.clock.boot_at(until), Timer::HoldOver(id));
        }
        Ok(Plan::Enforce(change, Revocation { hold: Some(id), sids: Vec::new() }))
    }

    fn audit_target(&self, target: &HoldTarget) -> Result<Target, ztna_api::admin::AdminError> {
        match target {
            HoldTarget::Person(person) => Ok(Target::Person(self.person(person)?.pseudonym)),
            HoldTarget::Device(device) if self.rows.devices.contains_key(device) => {
                Ok(Target::Device(*device))
            }
            HoldTarget::Session(sid) if self.rows.sessions.contains_key(sid) => Ok(Target::Session(*sid)),
            HoldTarget::Resource(resource) if self.rows.resources.contains_key(resource) => {
                Ok(Target::Resource(resource.clone()))
            }
            HoldTarget::Device(device) => Err(unknown("device", device)),
            HoldTarget::Session(sid) => Err(unknown("session", sid)),
            HoldTarget::Resource(resource) => Err(unknown("resource", resource)),
        }
    }

    pub(super) fn hold_lift(&mut self, hold: &HoldId, by: &By) -> Planned {
        if !self.rows.holds.contains_key(hold) {
            return Err(unknown("hold", hold));
        }
        let event = Event::HoldLifted { hold: *hold, expired: false };
        let mut change = Change { audit: vec![self.entry(by.clone(), event)], ..Change::default() };
        change.delete(Key::Hold(*hold));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    /// A hold ends by itself.
    pub(crate) fn hold_over(&mut self, hold: HoldId) {
        let Some(until) = self.rows.holds.get(&hold).and_then(|row| row.until) else { return };
        if self.clock.wall() < until {
            return self.timers.set(self.clock.boot_at(until), Timer::HoldOver(hold));
        }
        let event = Event::HoldLifted { hold, expired: true };
        let mut change = Change { audit: vec![self.entry(By::Broker, event)], ..Change::default() };
        change.delete(Key::Hold(hold));
        self.propose(None, change, |_, _| ());
    }
}

const LONGEST_REASON: usize = 1_000;
