use std::collections::BTreeSet;

use ztna_api::admin::{AdminError, AdmittedBy, Answer, Invited, Role};
use ztna_model::{DeviceId, EndReason, GroupId, PersonId, Pseudonym, Secret, WallTime, minutes, secs};

use super::{Plan, Planned, Revocation, exists, invalid, unknown};
use crate::audit::{By, Event};
use crate::batch::ClaimKind;
use crate::ledger::{Change, Lock};
use crate::pdp::Pdp;
use crate::rows::{Device, DeviceState, Email, Enrolment, EnrolmentKind, Invitation, Key, Person, TokenHash};
use crate::session::{fresh_secret, passed_on, shown, unknown_group};

impl Pdp {
    /// Makes the token for the first owner: no password is there by default, so this is how it begins.
    pub(super) fn set_up_token(&mut self, by: &By) -> Planned {
        if self.owners().next().is_some() {
            return Err(exists("owner", self.rows.org.clone()));
        }
        let mut change = self.administered("set-up-token", "owner", by);
        let until = self.clock.wall() + minutes(30);
        let token = self.single_use(EnrolmentKind::Owner, until, &mut change);
        Ok(Plan::Propose(change, token))
    }

    pub(super) fn set_up(&mut self, token: &Secret<String>, id: PersonId, name: &str, by: &By) -> Planned {
        let row = self.usable_enrolment(token).filter(|row| row.kind == EnrolmentKind::Owner);
        let row = row.filter(|_| self.owners().next().is_none()).ok_or(AdminError::BadToken)?;
        let known = self.rows.people.get(&id).cloned();
        let person = known.unwrap_or_else(|| self.somebody(id, name, BTreeSet::new()));
        let pseudonym = person.pseudonym;
        let mut change = Change::default();
        change.claim(ClaimKind::Enrolment, row.hash.to_string(), row.expires);
        change.put(Enrolment { used: Some(self.clock.wall()), ..row });
        let event = |name| Event::OwnerMade { person: pseudonym, name };
        change.audit.push(self.personal_entry(by, &person.name.clone(), event));
        change.put(Person { roles: [Role::Owner].into(), ..person });
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    fn somebody(&mut self, id: PersonId, name: &str, groups: BTreeSet<GroupId>) -> Person {
        Person {
            name: shown(name, &id.subject),
            id,
            email: None,
            pseudonym: Pseudonym::random(&mut *self.random),
            groups,
            claimed: BTreeSet::new(),
            roles: BTreeSet::new(),
            since: None,
            not_before: WallTime::EPOCH,
        }
    }

    fn owners(&self) -> impl Iterator<Item = &Person> {
        self.rows.people.values().filter(|person| person.roles.contains(&Role::Owner))
    }

    /// A single-use token, shown this once and kept by its hash.
    pub(super) fn single_use(
        &mut self,
        kind: EnrolmentKind,
        expires: WallTime,
        change: &mut Change,
    ) -> Answer {
        let secret = fresh_secret(&mut *self.random);
        change.put(Enrolment { hash: TokenHash::of(&secret), kind, expires, used: None });
        let token = passed_on(&self.rows.org, &self.keys.root, &secret);
        Answer::Token { token: token.into(), expires }
    }

    pub(super) fn person_invite(
        &mut self,
        who: Invited,
        name: &str,
        groups: BTreeSet<GroupId>,
        by: &By,
    ) -> Planned {
        self.check_groups(&groups)?;
        let mut change = Change::default();
        match who {
            Invited::Person(id) => {
                if self.trust.issuer(&id.issuer).is_none() {
                    return Err(invalid(format!("`{}` is no issuer of this organisation", id.issuer)));
                }
                if self.rows.people.contains_key(&id) {
                    return Err(exists("person", id.subject));
                }
                let person = self.somebody(id, name, groups.clone());
                let pseudonym = Some(person.pseudonym);
                let event = |name| Event::PersonInvited { person: pseudonym, name, groups };
                change.audit.push(self.personal_entry(by, &person.name.clone(), event));
                change.put(person);
            }
            Invited::Email(text) => {
                let email =
                    Email::new(&text).ok_or_else(|| invalid(format!("`{text}` is not an e-mail address")))?;
                if !self.trust.issuers.iter().any(|issuer| issuer.is_authoritative_for(&email)) {
                    let domain = email.domain();
                    return Err(invalid(format!("no issuer is authoritative for the domain `{domain}`")));
                }
                let event = |name| Event::PersonInvited { person: None, name, groups: groups.clone() };
                change.audit.push(self.personal_entry(by, &email.to_string(), event));
                let (name, invited) = (shown(name, &email.to_string()), self.clock.wall());
                change.put(Invitation { email, name, groups, invited });
            }
        }
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    fn check_groups(&self, groups: &BTreeSet<GroupId>) -> Result<(), AdminError> {
        unknown_group(groups, &self.rows.groups).map_or(Ok(()), |group| Err(unknown("group", group)))
    }

    pub(super) fn invitation_remove(&mut self, email: &str, by: &By) -> Planned {
        let row = Email::new(email).and_then(|email| self.rows.invitations.get(&email));
        let email = row.ok_or_else(|| unknown("invitation", email))?.email.clone();
        let event = |_| Event::Administered { op: "invitation-remove".to_owned(), about: None };
        let mut change = Change::default();
        change.audit.push(self.personal_entry(by, &email.to_string(), event));
        change.delete(Key::Invitation(email));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn person(&self, id: &PersonId) -> Result<Person, AdminError> {
        self.rows.people.get(id).cloned().ok_or_else(|| unknown("person", &id.subject))
    }

    pub(super) fn person_groups(&mut self, id: &PersonId, groups: BTreeSet<GroupId>, by: &By) -> Planned {
        self.check_groups(&groups)?;
        let person = Person { groups, ..self.person(id)? };
        Ok(self.changed(person, by))
    }

    pub(super) fn person_roles(&mut self, id: &PersonId, roles: BTreeSet<Role>, by: &By) -> Planned {
        let person = self.person(id)?;
        if !roles.contains(&Role::Owner) {
            self.check_last_owner(&person)?;
        }
        Ok(self.changed(Person { roles, ..person }, by))
    }

    fn changed(&mut self, person: Person, by: &By) -> Plan {
        let event = Event::PersonChanged {
            person: person.pseudonym,
            groups: person.groups.clone(),
            owner: person.roles.contains(&Role::Owner),
        };
        let mut change = Change { audit: vec![self.entry(by.clone(), event)], ..Change::default() };
        change.put(person);
        Plan::Propose(change, Answer::Done {})
    }

    /// Another owner has to stay: one whose own change is not on its way.
    fn check_last_owner(&self, person: &Person) -> Result<(), AdminError> {
        let stays = |owner: &Person| owner.id != person.id && !self.is_busy(&Lock::Person(owner.id.clone()));
        let is_last = person.roles.contains(&Role::Owner) && !self.owners().any(stays);
        if is_last { Err(AdminError::LastOwner) } else { Ok(()) }
    }

    pub(super) fn person_remove(&mut self, id: &PersonId, by: &By) -> Planned {
        let person = self.person(id)?;
        self.check_last_owner(&person)?;
        let sids = self.index.sessions_of(id).into_iter().collect();
        let mut change = Change::default();
        let event = Event::PersonRemoved { person: person.pseudonym };
        change.audit.push(self.entry(by.clone(), event));
        for device in self.devices_of(id) {
            self.end_device(&device, EndReason::Removed, by.clone(), &mut change);
        }
        change.delete(Key::Person(id.clone()));
        Ok(Plan::Enforce(change, Revocation { hold: None, sids }))
    }

    fn devices_of(&self, person: &PersonId) -> Vec<Device> {
        let ids = self.index.devices_of(person);
        let devices = ids.iter().filter_map(|id| self.rows.devices.get(id));
        devices.filter(|device| device.is_theirs()).cloned().collect()
    }

    pub(super) fn device_admit(&mut self, id: &DeviceId) -> Planned {
        let device = self.rows.devices.get(id).cloned().ok_or_else(|| unknown("device", id))?;
        match device.state {
            DeviceState::Waiting { .. } => {}
            DeviceState::Admitted { .. } => return Err(exists("admitted device", id)),
            DeviceState::Ended { .. } => return Err(invalid("an ended device needs a new key")),
        }
        let mut change = Change::default();
        self.admit(&device, AdmittedBy::Administrator, &mut change);
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn device_end(&mut self, id: &DeviceId, by: &By) -> Planned {
        let device = self.rows.devices.get(id).filter(|device| device.is_theirs()).cloned();
        let device = device.ok_or_else(|| unknown("device", id))?;
        let sids = self.index.sessions_on(id).into_iter().collect();
        let mut change = Change::default();
        self.end_device(&device, EndReason::Administrator, by.clone(), &mut change);
        self.move_not_before(&device.owner, &mut change);
        Ok(Plan::Enforce(change, Revocation { hold: None, sids }))
    }

    pub(super) fn device_token(&mut self, person: Option<PersonId>, life_s: u64, by: &By) -> Planned {
        if !(60..=LONGEST_TOKEN_S).contains(&life_s) {
            return Err(invalid("a token lives from a minute to 30 days"));
        }
        if let Some(person) = &person {
            self.person(person)?;
        }
        let mut change = self.administered("device-token", life_s, by);
        let until = self.clock.wall() + secs(life_s);
        let token = self.single_use(EnrolmentKind::Device { person }, until, &mut change);
        Ok(Plan::Propose(change, token))
    }
}

const LONGEST_TOKEN_S: u64 = 30 * 24 * 3_600;
