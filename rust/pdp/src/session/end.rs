use ztna_api::device::{Ended, ToDevice};
use ztna_model::{EndReason, Incarnation, PersonId};

use crate::audit::{By, Event};
use crate::input::LoggedOut;
use crate::ledger::Change;
use crate::output::Output;
use crate::pdp::Pdp;
use crate::rows::{Device, DeviceState, Key, One, Person, Session, SessionState};

impl Pdp {
    /// Ends a session: no token of it is good any more, its leases go with the floor that follows, its streams close.
    pub(crate) fn end_session(&mut self, session: &Session, reason: EndReason, change: &mut Change) {
        let state = SessionState::Ended { reason, at: self.clock.wall() };
        change.put(Session { state, ..session.clone() });
        for hash in self.index.tokens_of(&session.sid) {
            change.delete(Key::Token(hash));
        }
        if let Some(person) = self.rows.people.get(&session.person).map(|person| person.pseudonym) {
            let event = Event::SessionEnded { sid: session.sid, person, reason };
            let by = match reason {
                EndReason::SignedOut | EndReason::EndedByOwner => By::Person(person),
                EndReason::Administrator
                | EndReason::Cloned
                | EndReason::TokenReused
                | EndReason::Idle
                | EndReason::Expired
                | EndReason::Removed
                | EndReason::Restored => By::Broker,
            };
            change.audit.push(self.entry(by, event));
        }
    }

    /// What follows for the streams of a session that is over: called once its floor is out.
    pub(crate) fn dismiss(&mut self, session: &Session) {
        let SessionState::Ended { reason, .. } = session.state else { return };
        for stream in self.devices.forget(&session.sid) {
            self.out.push_back(Output::ToDevice(stream, ToDevice::Ended(Ended { reason })));
            self.out.push_back(Output::Close(stream));
        }
    }

    /// Ends a session that lay idle, or has reached its hard end.
    pub(crate) fn end_worn_out(&mut self, session: &Session) {
        let expired = self.clock.wall() >= session.expires;
        let reason = if expired { EndReason::Expired } else { EndReason::Idle };
        let mut change = Change::default();
        self.end_session(session, reason, &mut change);
        self.enforce(change, |_, _| ());
    }

    /// Ends what an identity provider says is over: the sessions of one sign-in there, or all of a person's.
    pub(crate) fn logged_out(&mut self, logged_out: &LoggedOut) {
        let LoggedOut { request, issuer, subject, idp_sid } = logged_out;
        let names_somebody = subject.is_some() || idp_sid.is_some();
        let named = |session: &&Session| {
            names_somebody
                && session.is_live()
                && session.person.issuer == *issuer
                && subject.as_ref().is_none_or(|subject| session.person.subject == *subject)
                && idp_sid.as_ref().is_none_or(|sid| session.idp_sid.as_ref() == Some(sid))
        };
        let over: Vec<Session> = self.rows.sessions.values().filter(named).cloned().collect();
        let mut change = Change::default();
        for session in &over {
            self.end_session(session, EndReason::SignedOut, &mut change);
        }
        let request = *request;
        self.enforce(change, move |pdp, _| pdp.out.push_back(Output::SignedOut(request, Ok(()))));
    }

    /// Ends a device for good, and its session.
    pub(crate) fn end_device(&mut self, device: &Device, reason: EndReason, by: By, change: &mut Change) {
        let state = DeviceState::Ended { since: self.clock.wall() };
        change.put(Device { state, received: None, ..device.clone() });
        if let Some(person) = self.rows.people.get(&device.owner).map(|person| person.pseudonym) {
            let event = Event::DeviceEnded { device: device.id, person };
            change.audit.push(self.entry(by, event));
        }
        for sid in self.index.sessions_on(&device.id) {
            if let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() {
                self.end_session(&session, reason, change);
            }
        }
    }

    /// Voids every sign-in of the person that has begun.
    pub(crate) fn move_not_before(&self, person: &PersonId, change: &mut Change) {
        if let Some(person) = self.rows.people.get(person) {
            change.put(Person { not_before: self.clock.wall(), ..person.clone() });
        }
    }

    /// The life of the store.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.rows.organisation.get(&One).map_or(Incarnation([0; 16]), |row| row.incarnation)
    }

    /// After a restore, sessions of the life before are over.
    pub(crate) fn end_other_lives(&mut self, change: &mut Change) {
        let incarnation = self.incarnation();
        let others: Vec<Session> = self
            .rows
            .sessions
            .values()
            .filter(|session| session.is_live() && session.incarnation != incarnation)
            .cloned()
            .collect();
        if !others.is_empty() {
            change.audit.push(self.entry(By::Broker, Event::Restored { incarnation }));
        }
        for session in others {
            self.end_session(&session, EndReason::Restored, change);
        }
    }
}
