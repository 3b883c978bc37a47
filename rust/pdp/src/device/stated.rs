use ztna_api::device::{Granted, Notice, NoticeEvent};
use ztna_api::statement::{self, Body, Confirmed, Statement};
use ztna_model::{
    DenyReason, DeviceId, EndReason, Fact, FactState, Observed, Reading, Tier, WallTime, WgPublic, minutes,
};

use crate::audit::{By, Event};
use crate::batch::ClaimKind;
use crate::input::StreamId;
use crate::ledger::{Change, Outcome};
use crate::nonce::{NONCE_LIFE, Purpose};
use crate::pdp::Pdp;
use crate::rows::{Device, DeviceState, Received, Session, Tunnel};

impl Pdp {
    /// Takes what the device key has signed, if it was signed for this stream, just now, and for the first time.
    pub(super) fn stated(&mut self, stream: StreamId, text: &str) {
        let Some(session) = self.session_of_stream(stream).filter(|session| session.is_live()).cloned()
        else {
            return;
        };
        let per_second = self.settings().asks_per_second;
        if !self.devices.may_ask(session.sid, per_second, self.clock.boot()) {
            return;
        }
        let Ok(statement) = statement::verify(text, &session.jkt, &self.rows.org, session.sid) else {
            return;
        };
        let Some(sealed) = self.open_nonce(stream, &session, &statement.nonce) else { return };
        let mut change = Change::default();
        change.claim(ClaimKind::Nonce, statement.nonce.clone(), sealed + NONCE_LIFE + minutes(2));
        self.heard_of(session.sid);
        let Statement { body, .. } = statement;
        match body {
            Body::Presence {} => self.presence(stream, sealed, change),
            Body::TunnelKey { wg_pub } if session.is_open() => {
                self.tunnel_key(stream, &session, wg_pub, text, change);
            }
            Body::Facts { readings } if session.is_open() => self.facts(&session, readings, sealed, change),
            Body::Confirm { device, action } if session.is_open() => {
                self.confirm(&session, device, action, change);
            }
            // A device that waits can do nothing but wait.
            Body::TunnelKey { .. } | Body::Facts { .. } | Body::Confirm { .. } => {}
        }
    }

    fn open_nonce(&self, stream: StreamId, session: &Session, nonce: &str) -> Option<WallTime> {
        let known = self.devices.stream(stream)?;
        let purpose = Purpose::Statement(session.sid, known.salt);
        let fresh = !self.is_claimed(ClaimKind::Nonce, nonce);
        self.nonces.open(nonce, purpose, self.clock.wall(), NONCE_LIFE).filter(|_| fresh)
    }

    fn presence(&mut self, stream: StreamId, sealed: WallTime, change: Change) {
        let shown = self.clock.boot() - self.clock.wall().since(sealed);
        self.propose(self.turn.clone(), change, move |pdp, outcome| {
            if let Some(known) = pdp.devices.streams.get_mut(&stream).filter(|_| outcome.is_written()) {
                known.present = known.present.max(Some(shown));
            }
        });
    }

    /// The session gets another tunnel key, or hears that it has this one. Leases of the one before end: the gateways
    /// would not take them any more.
    fn tunnel_key(
        &mut self,
        stream: StreamId,
        session: &Session,
        wg_pub: WgPublic,
        text: &str,
        mut change: Change,
    ) {
        let known = session.tunnel.as_ref().is_some_and(|tunnel| tunnel.wg_pub == wg_pub);
        if !known {
            let id = wg_pub.to_string();
            if self.is_claimed(ClaimKind::TunnelKey, &id) {
                return;
            }
            change.claim(ClaimKind::TunnelKey, id, session.expires);
            let tunnel = Some(Tunnel { wg_pub, statement: text.to_owned() });
            change.put(Session { tunnel, ..session.clone() });
            let by = self.by(&session.person);
            change.audit.push(self.entry(by, Event::TunnelKeyStated { sid: session.sid }));
        }
        self.propose(self.turn.clone(), change, move |pdp, outcome| {
            if outcome.is_written() {
                pdp.keyed(stream);
            }
        });
    }

    /// From now on the device hears what it may reach, beginning with what is granted already.
    fn keyed(&mut self, stream: StreamId) {
        let Some(known) = self.devices.streams.get_mut(&stream) else { return };
        let (sid, told) = (known.sid, std::mem::replace(&mut known.keyed, true));
        if !told {
            for grant in self.live_grants(&sid) {
                self.tell(stream, Granted { request: None, grant });
            }
        }
    }

    fn facts(&mut self, session: &Session, readings: Vec<Reading>, sealed: WallTime, mut change: Change) {
        let Some(device) = self.rows.devices.get(&session.device).cloned() else { return };
        // Nothing has proven this app, whatever it says: attestation will be what raises this.
        let as_of = sealed.min(self.clock.wall());
        let received = Received { readings, tier: Tier::Unproven, as_of };
        let facts = ztna_posture::grade(&received.readings, &self.requirements, received.tier, as_of);
        let event = Event::FactsReceived { device: device.id, facts: facts.iter().map(summary).collect() };
        let by = self.by(&session.person);
        change.audit.push(self.entry(by, event));
        let device = Device { received: Some(received), seen: self.clock.wall(), ..device };
        change.put(device.clone());
        let session = session.clone();
        self.propose(self.turn.clone(), change, move |pdp, outcome| match outcome {
            Outcome::Written | Outcome::Overtaken => pdp.tell_facts(&session),
            Outcome::StoreDown => pdp.take_the_worse(device),
            Outcome::Claimed(_) => {}
        });
    }

    /// The store is down: facts that got worse count all the same, those that got better do not.
    fn take_the_worse(&mut self, stated: Device) {
        let Some(known) = self.rows.devices.get(&stated.id).cloned() else { return };
        let (Some(before), Some(after)) = (known.received.clone(), stated.received) else { return };
        let requirements = &self.requirements;
        let now = ztna_posture::grade(&after.readings, requirements, after.tier, after.as_of);
        let worse = |reading: &Reading| {
            now.iter().any(|fact| fact.kind == reading.kind && fact.state != FactState::Pass)
        };
        let missing = |reading: &Reading| !after.readings.iter().any(|other| other.kind == reading.kind);
        let (why, readings) = ("it was not reported again".to_owned(), before.readings);
        let readings = readings.into_iter().map(|reading| {
            let stated = after.readings.iter().find(|other| other.kind == reading.kind && worse(other));
            match stated {
                Some(stated) => stated.clone(),
                None if missing(&reading) => Reading { observed: Observed::Unknown(why.clone()), ..reading },
                None => reading,
            }
        });
        let received = Received { readings: readings.collect(), ..before };
        let mut change = Change::default();
        change.put(Device { received: Some(received), ..known });
        self.enforce(change, |_, _| ());
    }

    /// A person admits or ends a device of theirs from another one. What a hold keeps from everything else has no say
    /// in other devices either: who has a stolen one would bring in the next.
    fn confirm(&mut self, session: &Session, device: DeviceId, action: Confirmed, mut change: Change) {
        let theirs = self.rows.devices.get(&device).filter(|device| device.owner == session.person).cloned();
        let Some(theirs) = theirs.filter(|theirs| theirs.id != session.device) else { return };
        let against = self.standing(session, self.clock.wall()).map(|(reason, _)| reason);
        match (action, &theirs.state) {
            (Confirmed::Admit, DeviceState::Waiting { .. }) if against.is_none() => {
                self.admit(&theirs, ztna_api::admin::AdmittedBy::Owner, &mut change);
                self.propose(self.turn.clone(), change, move |pdp, outcome| {
                    if outcome.is_written() {
                        pdp.admitted(theirs.id);
                    }
                });
            }
            (Confirmed::End, DeviceState::Waiting { .. } | DeviceState::Admitted { .. })
                if against != Some(DenyReason::Held) =>
            {
                // The nonce is not claimed with it: who repeats this can but end what is over.
                let mut change = Change::default();
                let by = self.by(&session.person);
                self.end_device(&theirs, EndReason::EndedByOwner, by, &mut change);
                self.enforce(change, |_, _| ());
            }
            (
                Confirmed::Admit | Confirmed::End,
                DeviceState::Waiting { .. } | DeviceState::Admitted { .. } | DeviceState::Ended { .. },
            ) => {}
        }
    }

    /// The person, as the audit log knows them.
    pub(crate) fn by(&self, person: &ztna_model::PersonId) -> By {
        self.rows.people.get(person).map_or(By::Unknown, |row| By::Person(row.pseudonym))
    }

    /// Tells the person's other devices that are connected.
    pub(crate) fn tell_other_devices(
        &mut self,
        person: &ztna_model::PersonId,
        but: DeviceId,
        notice: Notice,
    ) {
        let others = self.index.sessions_of(person);
        for sid in others {
            if self.rows.sessions.get(&sid).is_some_and(|session| session.device != but && session.is_open())
            {
                self.tell_session(&sid, notice.clone());
            }
        }
    }

    /// Tells the person's other devices that this one came in, or waits to.
    pub(crate) fn tell_of_device(&mut self, device: DeviceId) {
        let Some(device) = self.rows.devices.get(&device).cloned() else { return };
        let event = match &device.state {
            DeviceState::Waiting { code, .. } => {
                NoticeEvent::DeviceWaiting { device: device.id, name: device.name, code: code.clone() }
            }
            DeviceState::Admitted { .. } => NoticeEvent::DeviceAdmitted { name: device.name },
            DeviceState::Ended { .. } => return,
        };
        self.tell_other_devices(&device.owner, device.id, Notice { event });
    }
}

fn summary(fact: &Fact) -> (ztna_model::FactKind, FactState, Tier) {
    (fact.kind, fact.state, fact.tier)
}

#[cfg(test)]
mod tests;
