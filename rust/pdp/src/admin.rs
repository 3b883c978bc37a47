//! Administrators' operations: each is planned on the rows as they are, written down, and then answered.

use ztna_api::admin::{AdminError, Answer, Invited, Op, Revoked};
use ztna_model::{HoldId, SessionId};

use crate::audit::{By, Draft, Event};
use crate::batch::ClaimKind;
use crate::input::{Admin, RequestId};
use crate::ledger::{Change, Lock, Outcome};
use crate::output::Output;
use crate::pdp::Pdp;

mod config; // groups, resources, sites, gateways, settings
mod people; // owners, people, invitations, devices
mod policies; // put, removed, tested
mod preview; // who gains and who loses
mod revoke; // holds, and what is ended
mod show; // what there is

/// What an operation comes to.
enum Plan {
    /// An answer, and nothing else.
    Show(Answer),
    /// A change that waits for the store, and so does its answer.
    Propose(Change, Answer),
    /// A change that is in force before the store has it.
    Enforce(Change, Revocation),
}

/// What a revocation is about.
struct Revocation {
    hold: Option<HoldId>,
    sids: Vec<SessionId>,
}

type Planned = Result<Plan, AdminError>;

impl Pdp {
    pub(crate) fn admin(&mut self, admin: Admin) {
        let Admin { request, uid, op } = admin;
        let by = By::Local { uid };
        match self.plan(op.clone(), &by) {
            Ok(Plan::Show(answer)) => {
                self.note(by, Event::Administered { op: name(&op), about: None });
                self.out.push_back(Output::Admin(request, Ok(answer)));
            }
            Ok(Plan::Propose(change, answer)) => {
                self.propose(self.turn.clone(), change, move |pdp, outcome| {
                    if let (Op::DeviceAdmit { device }, Outcome::Written) = (&op, outcome) {
                        pdp.admitted(*device);
                    }
                    let answer = written(outcome).map(|()| answer);
                    pdp.out.push_back(Output::Admin(request, answer));
                });
            }
            Ok(Plan::Enforce(change, revocation)) => {
                self.revoke(request, change, revocation);
                if let Op::GatewayRevoke { gateway } = &op {
                    self.cut_gateway(gateway);
                }
            }
            Err(error) => {
                let code = tag(&error, "code");
                self.note(by, Event::AdminRefused { op: name(&op), code });
                self.out.push_back(Output::Admin(request, Err(error)));
            }
        }
    }

    /// Floors first, the store second, the answer last.
    fn revoke(&mut self, request: RequestId, change: Change, revocation: Revocation) {
        self.enforce(change, move |pdp, outcome| {
            let Revocation { hold, sids } = revocation;
            let sids = hold.map_or(sids, |hold| pdp.cut_by(&hold));
            let answer =
                Answer::Revoked(Revoked { hold, durable: outcome.is_written(), reach: pdp.reach(&sids) });
            pdp.out.push_back(Output::Admin(request, Ok(answer)));
        });
    }

    fn plan(&mut self, op: Op, by: &By) -> Planned {
        match op {
            Op::SetUpToken {} => self.set_up_token(by),
            Op::SetUp { token, person, name } => self.set_up(&token, person, &name, by),
            Op::PersonInvite { who, name, groups } => self.person_invite(who, &name, groups, by),
            Op::People {} => Ok(Plan::Show(self.people())),
            Op::PersonGroups { person, groups } => self.person_groups(&person, groups, by),
            Op::PersonRoles { person, roles } => self.person_roles(&person, roles, by),
            Op::PersonRemove { person } => self.person_remove(&person, by),
            Op::InvitationRemove { email } => self.invitation_remove(&email, by),
            Op::Groups {} => Ok(Plan::Show(self.groups())),
            Op::GroupPut { group } => self.group_put(group, by),
            Op::GroupRemove { group } => self.group_remove(&group, by),
            Op::Devices { person } => Ok(Plan::Show(self.device_list(person.as_ref()))),
            Op::DeviceAdmit { device } => self.device_admit(&device),
            Op::DeviceEnd { device } => self.device_end(&device, by),
            Op::DeviceToken { person, life_s } => self.device_token(person, life_s, by),
            Op::Resources {} => Ok(Plan::Show(self.resources())),
            Op::ResourcePut { resource } => self.resource_put(resource, by),
            Op::ResourceRemove { resource } => self.resource_remove(&resource, by),
            Op::Sites {} => Ok(Plan::Show(self.sites())),
            Op::SitePut { site } => self.site_put(site, by),
            Op::SiteRemove { site } => self.site_remove(&site, by),
            Op::Gateways {} => Ok(Plan::Show(self.gateway_list())),
            Op::GatewayCreate { gateway, site } => self.gateway_create(gateway, site, by),
            Op::GatewayRevoke { gateway } => self.gateway_revoke(&gateway, by),
            Op::Policies {} => Ok(Plan::Show(self.policies())),
            Op::PolicyPut { policy, text } => self.policy_put(policy, text, by),
            Op::PolicyRemove { policy } => self.policy_remove(&policy, by),
            Op::PolicyTest { person, device, resource } => self.policy_test(&person, device, &resource),
            Op::PolicyPreview { change } => self.policy_preview(&change),
            Op::Sessions {} => Ok(Plan::Show(self.sessions())),
            Op::SessionEnd { sid } => self.session_end(&sid),
            Op::Holds {} => Ok(Plan::Show(self.holds())),
            Op::HoldPlace { target, reason, until } => self.hold_place(target, &reason, until, by),
            Op::HoldLift { hold } => self.hold_lift(&hold, by),
            Op::Settings {} => Ok(Plan::Show(Answer::Settings { settings: self.settings() })),
            Op::SettingsPut { settings } => self.settings_put(settings, by),
            Op::Status {} => Ok(Plan::Show(self.status())),
        }
    }

    /// Under which lock an operation is planned. What takes something away, and what only looks, has none.
    pub(crate) fn admin_lock(&self, op: &Op) -> Option<Lock> {
        match op {
            Op::PersonInvite { who: Invited::Person(person), .. }
            | Op::PersonGroups { person, .. }
            | Op::PersonRoles { person, .. }
            | Op::SetUp { person, .. } => Some(Lock::Person(person.clone())),
            Op::DeviceAdmit { device } => {
                self.rows.devices.get(device).map(|device| Lock::Person(device.owner.clone()))
            }
            Op::SetUpToken {}
            | Op::PersonInvite { who: Invited::Email(_), .. }
            | Op::InvitationRemove { .. }
            | Op::GroupPut { .. }
            | Op::GroupRemove { .. }
            | Op::DeviceToken { .. }
            | Op::ResourcePut { .. }
            | Op::ResourceRemove { .. }
            | Op::SitePut { .. }
            | Op::SiteRemove { .. }
            | Op::GatewayCreate { .. }
            | Op::PolicyPut { .. }
            | Op::PolicyRemove { .. }
            | Op::HoldLift { .. }
            | Op::SettingsPut { .. } => Some(Lock::Configuration),
            Op::PersonRemove { .. }
            | Op::DeviceEnd { .. }
            | Op::GatewayRevoke { .. }
            | Op::SessionEnd { .. }
            | Op::HoldPlace { .. }
            | Op::People {}
            | Op::Groups {}
            | Op::Devices { .. }
            | Op::Resources {}
            | Op::Sites {}
            | Op::Gateways {}
            | Op::Policies {}
            | Op::PolicyTest { .. }
            | Op::PolicyPreview { .. }
            | Op::Sessions {}
            | Op::Holds {}
            | Op::Settings {}
            | Op::Status {} => None,
        }
    }

    /// A change of configuration with its row in the log.
    fn administered(&mut self, op: &str, about: impl ToString, by: &By) -> Change {
        let event = Event::Administered { op: op.to_owned(), about: Some(about.to_string()) };
        Change { audit: vec![self.entry(by.clone(), event)], ..Change::default() }
    }

    /// An entry about a person or a text of theirs.
    fn personal_entry(
        &mut self,
        by: &By,
        text: &str,
        event: impl FnOnce(crate::audit::Commitment) -> Event,
    ) -> crate::audit::Entry {
        let mut draft = Draft::new(&mut *self.random);
        let commitment = draft.commit(text);
        draft.entry(self.clock.wall(), by.clone(), event(commitment))
    }
}

fn written(outcome: Outcome) -> Result<(), AdminError> {
    match outcome {
        Outcome::Written => Ok(()),
        Outcome::Overtaken => Err(AdminError::Overtaken),
        Outcome::Claimed(ClaimKind::Enrolment) => Err(AdminError::BadToken),
        Outcome::Claimed(_) => Err(AdminError::Overtaken),
        Outcome::StoreDown => Err(AdminError::StoreDown),
    }
}

fn unknown(kind: &str, id: impl ToString) -> AdminError {
    AdminError::Unknown { kind: kind.to_owned(), id: id.to_string() }
}

fn exists(kind: &str, id: impl ToString) -> AdminError {
    AdminError::Exists { kind: kind.to_owned(), id: id.to_string() }
}

fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::Invalid { message: message.into() }
}

fn in_use(message: impl Into<String>) -> AdminError {
    AdminError::InUse { message: message.into() }
}

/// The operation's name on the wire.
fn name(op: &Op) -> String {
    tag(op, "op")
}

/// What a tagged enum is called on the wire.
fn tag(value: &impl serde::Serialize, field: &str) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.get(field).and_then(|tag| tag.as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
