use std::collections::BTreeSet;

use ztna_api::admin::{AdmittedBy, HoldTarget};
use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::{
    ApprovalId, DenyReason, DeviceId, GroupId, PersonId, Pseudonym, Random, Secret, WallTime, base64url,
};

use crate::audit::{By, Draft, Event};
use crate::batch::ClaimKind;
use crate::input::{Exchange, IdToken};
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::refusal::{denial, refusal};
use crate::rows::{
    Device, DeviceState, Email, Enrolment, EnrolmentKind, Invitation, Key, Person, Session, SessionState,
    TokenHash,
};

/// A person who may come in, on a device that may be used or waits to be.
pub(super) struct Admitted {
    pub(super) device: Device,
    /// What is to be written for it.
    pub(super) change: Change,
    /// Whether the device is new, or was admitted just now.
    pub(super) arrived: bool,
}

impl Pdp {
    /// Who may come in, and on what: default deny.
    pub(super) fn admission(&mut self, exchange: &Exchange) -> Result<Admitted, TokenError> {
        let mut change = Change::default();
        let person = self.admit_person(&exchange.id_token, &mut change)?;
        if self.is_held(&HoldTarget::Person(person.id.clone()), self.clock.wall()) {
            return Err(denial(TokenErrorCode::AccessDenied, DenyReason::Held));
        }
        let enrolment = self.enrolment(exchange.enrolment.as_ref(), &person.id)?;
        let known = self.known_device(exchange, &person.id)?;
        let admitted_by = match known.as_ref().map(|device| &device.state) {
            Some(DeviceState::Admitted { .. }) => None,
            Some(DeviceState::Waiting { .. } | DeviceState::Ended { .. }) => {
                enrolment.as_ref().map(|_| AdmittedBy::Token)
            }
            None => self.may_admit_itself(&person.id, enrolment.is_some())?,
        };
        if let Some(enrolment) = enrolment.filter(|_| admitted_by == Some(AdmittedBy::Token)) {
            let now = self.clock.wall();
            change.claim(ClaimKind::Enrolment, enrolment.hash.to_string(), enrolment.expires);
            change.put(Enrolment { used: Some(now), ..enrolment });
        }
        let arrived = known.is_none() || admitted_by.is_some();
        let device = known.unwrap_or_else(|| self.new_device(exchange, &person, &mut change));
        let name = shown(&exchange.device_name, "a device");
        let device = Device { name, seen: self.clock.wall(), ..device };
        change.put(device.clone());
        let device = match admitted_by {
            Some(how) => self.admit_as(&device, person.pseudonym, how, &mut change),
            None => device,
        };
        change.put(person);
        Ok(Admitted { device, change, arrived })
    }

    /// The person as they will be known from here on.
    fn admit_person(&mut self, token: &IdToken, change: &mut Change) -> Result<Person, TokenError> {
        let id = token.person();
        let claimed: BTreeSet<String> = token.groups.iter().take(MOST_GROUPS).cloned().collect();
        if let Some(known) = self.rows.people.get(&id).cloned() {
            let since = known.since.or(Some(self.clock.wall()));
            return Ok(Person { claimed, since, ..known });
        }
        let invitation = self.invitation_for(token);
        let denied = || refusal(TokenErrorCode::AccessDenied, "nobody has invited this person");
        let invitation = invitation.ok_or_else(denied)?;
        let pseudonym = Pseudonym::random(&mut *self.random);
        let mut draft = Draft::new(&mut *self.random);
        let email = draft.commit(&invitation.email.to_string());
        let event = Event::InvitationFollowed { person: pseudonym, email };
        change.audit.push(draft.entry(self.clock.wall(), By::Person(pseudonym), event));
        let once = format!("{} {}", invitation.email, invitation.invited.as_millis());
        change.claim(ClaimKind::Invitation, once, WallTime::from_millis(u64::MAX / 2));
        change.delete(Key::Invitation(invitation.email.clone()));
        Ok(Person {
            id,
            name: token.name.clone().map_or(invitation.name, |name| shown(&name, "")),
            email: Some(invitation.email),
            pseudonym,
            groups: invitation.groups,
            claimed,
            roles: BTreeSet::new(),
            since: Some(self.clock.wall()),
            not_before: WallTime::EPOCH,
        })
    }

    /// An e-mail address leads to an invitation if it is verified, by an issuer that may speak for its domain.
    fn invitation_for(&self, token: &IdToken) -> Option<Invitation> {
        let email = token.email.as_deref().and_then(Email::new).filter(|_| token.email_verified)?;
        let issuer = self.trust.issuer(&token.issuer)?;
        self.rows.invitations.get(&email).filter(|_| issuer.is_authoritative_for(&email)).cloned()
    }

    fn enrolment(
        &self,
        token: Option<&Secret<String>>,
        person: &PersonId,
    ) -> Result<Option<Enrolment>, TokenError> {
        let Some(token) = token else { return Ok(None) };
        let invalid = || refusal(TokenErrorCode::InvalidGrant, "the enrolment token is not good");
        let row = self.usable_enrolment(token).ok_or_else(invalid)?;
        match &row.kind {
            EnrolmentKind::Device { person: None } => Ok(Some(row)),
            EnrolmentKind::Device { person: Some(only) } if only == person => Ok(Some(row)),
            EnrolmentKind::Device { .. } | EnrolmentKind::Owner | EnrolmentKind::Gateway { .. } => {
                Err(invalid())
            }
        }
    }

    /// The row of a single-use token that is neither used nor too old.
    pub(crate) fn usable_enrolment(&self, token: &Secret<String>) -> Option<Enrolment> {
        let secret = token.expose().rsplit('!').next().unwrap_or_default();
        let row = self.rows.enrolments.get(&TokenHash::of(secret))?;
        let unclaimed = !self.is_claimed(ClaimKind::Enrolment, &row.hash.to_string());
        (row.used.is_none() && self.clock.wall() < row.expires && unclaimed).then(|| row.clone())
    }

    /// The device with this key. It belongs to one person, and once ended it stays so: a lost key means a new device.
    fn known_device(&self, exchange: &Exchange, person: &PersonId) -> Result<Option<Device>, TokenError> {
        let known = self.index.device_with(&exchange.proof.jkt).and_then(|id| self.rows.devices.get(&id));
        let Some(device) = known else { return Ok(None) };
        if device.owner != *person {
            return Err(refusal(TokenErrorCode::AccessDenied, "the device key is another person's"));
        }
        if !device.is_theirs() {
            return Err(refusal(TokenErrorCode::AccessDenied, "the device was ended: it needs a new key"));
        }
        if self.is_held(&HoldTarget::Device(device.id), self.clock.wall()) {
            return Err(denial(TokenErrorCode::AccessDenied, DenyReason::Held));
        }
        Ok(Some(device.clone()))
    }

    fn may_admit_itself(&self, person: &PersonId, has_token: bool) -> Result<Option<AdmittedBy>, TokenError> {
        let settings = self.settings();
        let devices = self.index.devices_of(person);
        let theirs =
            devices.iter().filter_map(|id| self.rows.devices.get(id)).filter(|device| device.is_theirs());
        if theirs.count() >= settings.devices_per_person as usize {
            return Err(denial(TokenErrorCode::AccessDenied, DenyReason::LimitReached));
        }
        // Devices that were ended count: who ends a stolen one does not want the thief's next to be the first.
        let first = devices.is_empty() && settings.first_device;
        Ok(if has_token { Some(AdmittedBy::Token) } else { first.then_some(AdmittedBy::First) })
    }

    fn new_device(&mut self, exchange: &Exchange, person: &Person, change: &mut Change) -> Device {
        let random = &mut *self.random;
        let id = DeviceId::random(random);
        let state = DeviceState::Waiting { approval: ApprovalId::random(random), code: spoken_code(random) };
        let name = shown(&exchange.device_name, "a device");
        let mut draft = Draft::new(random);
        let said = draft.commit(&name);
        let event = Event::DeviceWaiting { device: id, person: person.pseudonym, name: said };
        change.audit.push(draft.entry(self.clock.wall(), By::Person(person.pseudonym), event));
        Device {
            id,
            jkt: exchange.proof.jkt,
            owner: person.id.clone(),
            name,
            platform: String::new(),
            state,
            seen: self.clock.wall(),
            received: None,
        }
    }

    /// Admits a device that waits, and opens its session.
    pub(crate) fn admit(&mut self, device: &Device, how: AdmittedBy, change: &mut Change) {
        let Some(person) = self.rows.people.get(&device.owner).map(|person| person.pseudonym) else { return };
        self.admit_as(device, person, how, change);
    }

    fn admit_as(
        &mut self,
        device: &Device,
        person: Pseudonym,
        how: AdmittedBy,
        change: &mut Change,
    ) -> Device {
        let state = DeviceState::Admitted { since: self.clock.wall(), by: how };
        let device = Device { state, ..device.clone() };
        change.put(device.clone());
        let event = Event::DeviceAdmitted { device: device.id, person, how };
        change.audit.push(self.entry(By::Broker, event));
        for sid in self.index.sessions_on(&device.id) {
            if let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()) {
                change.put(Session { state: SessionState::Open, ..session.clone() });
            }
        }
        device
    }

    /// The device is in: it learns all it may know, and its owner's other devices learn of it.
    pub(crate) fn admitted(&mut self, device: DeviceId) {
        for sid in self.index.sessions_on(&device) {
            let session = self.rows.sessions.get(&sid).filter(|session| session.is_open()).cloned();
            if let Some((session, stream)) = session.zip(self.devices.told_stream(&sid)) {
                self.full_state(stream, &session);
            }
        }
        self.tell_of_device(device);
    }
}

/// A name from outside, fit to be shown.
pub(crate) fn shown(name: &str, otherwise: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let name = name.trim();
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// Six characters that are hard to mishear.
fn spoken_code(random: &mut dyn Random) -> String {
    let mut bytes = [0; 6];
    random.fill(&mut bytes);
    let letter = |byte: u8| CODE.get(usize::from(byte) % CODE.len()).copied().unwrap_or(b'2');
    bytes.iter().map(|byte| char::from(letter(*byte))).collect()
}

/// A single-use token as people pass it on: it carries where it is good, and the root to trust there.
pub(crate) fn passed_on(org: &ztna_model::OrgId, root: &ztna_model::RootHash, secret: &str) -> String {
    format!("{org}#{root}!{secret}")
}

/// A fresh single-use secret.
pub(crate) fn fresh_secret(random: &mut dyn Random) -> String {
    let mut bytes = [0; 20];
    random.fill(&mut bytes);
    base64url::encode(bytes)
}

/// The groups given by an invitation or an administrator, if they exist.
pub(crate) fn unknown_group<'a>(
    groups: &'a BTreeSet<GroupId>,
    known: &std::collections::BTreeMap<GroupId, ztna_api::admin::Group>,
) -> Option<&'a GroupId> {
    groups.iter().find(|group| !known.contains_key(group))
}

/// 32 characters without 0, 1, I and O.
const CODE: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const LONGEST_NAME: usize = 64;
const MOST_GROUPS: usize = 256;

#[cfg(test)]
mod tests;
