//! What administrators ask of a broker and what it answers: JSON lines over a Unix socket.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;
use ztna_model::{
    DeviceId, GatewayId, GroupId, HoldId, PersonId, PolicyId, Resource, ResourceId, Secret, SessionId,
    SiteId, WallTime,
};

mod answer; // what was done, or what was asked for
pub use answer::{Answer, Outstanding, Preview, Reach, ReachState, Revoked, Right, Shift, Status, Verdict};

mod thing; // what there is to administer
pub use thing::{
    AdmittedBy, Device, DeviceState, Gateway, GatewayState, Group, GroupClaim, Hold, HoldTarget, Invitation,
    Person, Policy, Role, Session, Settings, Site,
};

/// The longest request or answer, in bytes.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// One line to the broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The caller's own number; the reply repeats it.
    pub id: u64,
    /// What is asked for.
    #[serde(flatten)]
    pub op: Op,
}

/// One line back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The request's number.
    pub id: u64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was not.
    Error(AdminError),
}

/// What an administrator asks for. Every one of these is a row in the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Makes the token by which the first owner sets the organisation up; refused once there is one.
    SetUpToken {},
    /// Makes the first owner.
    SetUp {
        /// The single-use token.
        #[serde(serialize_with = "expose")]
        token: Secret<String>,
        /// Who becomes owner.
        person: PersonId,
        /// What people call them.
        name: String,
    },

    /// Lets a person come in.
    PersonInvite {
        /// Who.
        who: Invited,
        /// What people call them.
        name: String,
        /// Their groups.
        #[serde(default)]
        groups: BTreeSet<GroupId>,
    },
    /// Lists people and invitations.
    People {},
    /// Sets a person's groups.
    PersonGroups {
        /// Who.
        person: PersonId,
        /// All of them: others go.
        groups: BTreeSet<GroupId>,
    },
    /// Sets what a person may administer.
    PersonRoles {
        /// Who.
        person: PersonId,
        /// All of them: others go. The last owner stays owner.
        roles: BTreeSet<Role>,
    },
    /// Removes a person: their sessions end, and so do their devices.
    PersonRemove {
        /// Who.
        person: PersonId,
    },
    /// Withdraws an invitation by e-mail.
    InvitationRemove {
        /// The address.
        email: String,
    },

    /// Lists groups.
    Groups {},
    /// Makes or changes a group.
    GroupPut {
        /// The group.
        group: Group,
    },
    /// Removes a group.
    GroupRemove {
        /// The group.
        group: GroupId,
    },

    /// Lists devices.
    Devices {
        /// Those of one person alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<PersonId>,
    },
    /// Admits a device that waits.
    DeviceAdmit {
        /// The device.
        device: DeviceId,
    },
    /// Ends a device for good.
    DeviceEnd {
        /// The device.
        device: DeviceId,
    },
    /// Makes a single-use token that admits one device.
    DeviceToken {
        /// The only person who may use it; without one, anybody who may come in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<PersonId>,
        /// For how many seconds.
        life_s: u64,
    },

    /// Lists resources.
    Resources {},
    /// Makes or changes a resource.
    ResourcePut {
        /// The resource.
        resource: Resource,
    },
    /// Removes a resource.
    ResourceRemove {
        /// The resource.
        resource: ResourceId,
    },

    /// Lists sites.
    Sites {},
    /// Makes or renames a site.
    SitePut {
        /// The site.
        site: Site,
    },
    /// Removes a site that nothing uses.
    SiteRemove {
        /// The site.
        site: SiteId,
    },

    /// Lists gateways.
    Gateways {},
    /// Makes a gateway, and the single-use token by which it enrols.
    GatewayCreate {
        /// Its id.
        gateway: GatewayId,
        /// Where it stands.
        site: SiteId,
    },
    /// Takes a gateway's right to be one, for good.
    GatewayRevoke {
        /// The gateway.
        gateway: GatewayId,
    },

    /// Lists policies.
    Policies {},
    /// Makes or changes a policy.
    PolicyPut {
        /// Its id.
        policy: PolicyId,
        /// One Cedar policy.
        text: String,
    },
    /// Removes a policy.
    PolicyRemove {
        /// The policy.
        policy: PolicyId,
    },
    /// May this person reach this resource now, and why?
    PolicyTest {
        /// Who.
        person: PersonId,
        /// From which device; without one, from every device of theirs that has a session, or from a fit one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
        /// To which resource.
        resource: ResourceId,
    },
    /// Who would gain and who would lose by a change?
    PolicyPreview {
        /// The change.
        change: PolicyChange,
    },

    /// Lists sessions.
    Sessions {},
    /// Ends a session, now.
    SessionEnd {
        /// The session.
        sid: SessionId,
    },

    /// Lists holds, and how far each has reached.
    Holds {},
    /// Denies something until further notice.
    HoldPlace {
        /// What is denied.
        target: HoldTarget,
        /// Why, for people.
        reason: String,
        /// When it ends by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<WallTime>,
    },
    /// Ends a hold.
    HoldLift {
        /// The hold.
        hold: HoldId,
    },

    /// Shows the organisation's settings.
    Settings {},
    /// Sets the organisation's settings.
    SettingsPut {
        /// All of them.
        settings: Settings,
    },
    /// Shows how things stand.
    Status {},
}

/// Who is invited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invited {
    /// The person an issuer knows by this subject.
    Person(PersonId),
    /// Whoever first signs in with this address, verified by an issuer that is authoritative for its domain.
    Email(String),
}

/// A change of policies to look at before it is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum PolicyChange {
    /// A policy is made or changed.
    Put {
        /// Its id.
        policy: PolicyId,
        /// One Cedar policy.
        text: String,
    },
    /// A policy is removed.
    Remove {
        /// The policy.
        policy: PolicyId,
    },
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum AdminError {
    /// There is no such thing.
    #[error("there is no {kind} `{id}`")]
    Unknown {
        /// What kind of thing.
        kind: String,
        /// Its id.
        id: String,
    },
    /// There is one already.
    #[error("{kind} `{id}` is there already")]
    Exists {
        /// What kind of thing.
        kind: String,
        /// Its id.
        id: String,
    },
    /// It cannot be as it is written.
    #[error("{message}")]
    Invalid {
        /// What is wrong, in a sentence.
        message: String,
    },
    /// Something else needs it.
    #[error("{message}")]
    InUse {
        /// What needs it, in a sentence.
        message: String,
    },
    /// The token is not good, or was used.
    #[error("the token is not good, or was used before")]
    BadToken,
    /// The organisation would be left without an owner.
    #[error("the last owner stays")]
    LastOwner,
    /// Something happened in between that changes the answer.
    #[error("something else happened at the same time; look again, and try again")]
    Overtaken,
    /// The store does not take writes: nothing was changed.
    #[error("the store takes no writes: nothing was changed")]
    StoreDown,
    /// The request could not be read.
    #[error("not understood: {message}")]
    NotUnderstood {
        /// What is wrong with it.
        message: String,
    },
}

// A token that is shown once, to whoever asked for it, over their own socket.
fn expose<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use ztna_model::WallTime;

    use super::*;
    use crate::wire;

    #[test]
    fn requests_and_replies_on_the_wire() {
        let hold = json!({"id": 7, "op": "hold-place", "target": {"resource": "wiki"}, "reason": "lost"});
        let request: Request = wire::read(hold.to_string().as_bytes(), LONGEST).unwrap();
        let target = HoldTarget::Resource("wiki".parse().unwrap());
        let op = Op::HoldPlace { target, reason: "lost".into(), until: None };
        assert_eq!(request, Request { id: 7, op });
        assert_eq!(serde_json::to_value(&request).unwrap(), hold);
        let reply = Reply { id: 7, outcome: Outcome::Error(AdminError::LastOwner) };
        assert_eq!(serde_json::to_value(&reply).unwrap(), json!({"id": 7, "error": {"code": "last-owner"}}));
        let reply = Reply { id: 7, outcome: Outcome::Ok(Answer::Done {}) };
        assert_eq!(serde_json::to_value(&reply).unwrap(), json!({"id": 7, "ok": {"answer": "done"}}));
    }

    #[test]
    fn settings_may_be_partial_and_a_wrong_key_is_an_error() {
        let settings: Settings = serde_json::from_value(json!({"lease_ttl_s": 10})).unwrap();
        assert_eq!(settings, Settings { lease_ttl_s: 10, ..Settings::default() });
        assert!(serde_json::from_value::<Settings>(json!({"lease_ttl": 10})).is_err());
    }

    #[test]
    fn g03_a_token_does_not_print() {
        let answer = Answer::Token { token: "hunter2".to_owned().into(), expires: WallTime::EPOCH };
        assert!(!format!("{answer:?}").contains("hunter2"));
        assert!(wire::write(&answer).contains("hunter2"));
    }
}
