use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ztna_api::admin::AdmittedBy;
use ztna_api::gateway::LeaseError;
use ztna_model::{
    DecisionId, DenyReason, DeviceId, EndReason, Epoch, FactKind, FactState, GatewayId, GroupId, HoldId,
    Incarnation, LeaseId, PolicyId, Pseudonym, ResourceId, RunId, SessionId, SiteId, Tier,
};

use super::personal::Commitment;

/// What can happen. In the order of a life: people and devices come in, sessions open, leases are given and end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The store was restored: everything before is another life.
    Restored {
        /// The life that begins.
        incarnation: Incarnation,
    },
    /// The first owner was made.
    OwnerMade {
        /// Who.
        person: Pseudonym,
        /// What people call them.
        name: Commitment,
    },
    /// A person may come in.
    PersonInvited {
        /// Who, unless they are known by address alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Pseudonym>,
        /// Their address or name.
        name: Commitment,
        /// Their groups.
        groups: BTreeSet<GroupId>,
    },
    /// An invitation by e-mail was followed.
    InvitationFollowed {
        /// By whom.
        person: Pseudonym,
        /// The address.
        email: Commitment,
    },
    /// A person was changed.
    PersonChanged {
        /// Who.
        person: Pseudonym,
        /// Their groups.
        groups: BTreeSet<GroupId>,
        /// Whether they are an owner.
        owner: bool,
    },
    /// A person was removed.
    PersonRemoved {
        /// Who.
        person: Pseudonym,
    },

    /// A sign-in was refused.
    SignInRefused {
        /// Why, in a sentence.
        why: String,
        /// Who it claimed to be, where an issuer has vouched for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Commitment>,
    },
    /// A device waits to be admitted.
    DeviceWaiting {
        /// The device.
        device: DeviceId,
        /// Whose.
        person: Pseudonym,
        /// What people call it.
        name: Commitment,
    },
    /// A device was admitted.
    DeviceAdmitted {
        /// The device.
        device: DeviceId,
        /// Whose.
        person: Pseudonym,
        /// How.
        how: AdmittedBy,
    },
    /// A device was ended.
    DeviceEnded {
        /// The device.
        device: DeviceId,
        /// Whose.
        person: Pseudonym,
    },
    /// A session was opened, or opened again into itself.
    SessionOpened {
        /// The session.
        sid: SessionId,
        /// Whose.
        person: Pseudonym,
        /// On which device.
        device: DeviceId,
        /// Whether its device waits to be admitted.
        pending: bool,
        /// Whether it was there before.
        again: bool,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        sid: SessionId,
        /// Whose.
        person: Pseudonym,
        /// Why.
        reason: EndReason,
    },
    /// Tokens were not renewed.
    RefreshRefused {
        /// The session.
        sid: SessionId,
        /// Why, in a sentence.
        why: String,
    },
    /// A session has a tunnel key.
    TunnelKeyStated {
        /// The session.
        sid: SessionId,
    },
    /// A device's facts came in.
    FactsReceived {
        /// The device.
        device: DeviceId,
        /// What they come to.
        facts: Vec<(FactKind, FactState, Tier)>,
    },

    /// A lease was granted.
    LeaseGranted {
        /// The decision.
        decision: DecisionId,
        /// The lease.
        lease: LeaseId,
        /// The session.
        sid: SessionId,
        /// Whose.
        person: Pseudonym,
        /// On which device.
        device: DeviceId,
        /// To what.
        resource: ResourceId,
        /// Through which gateway.
        gateway: GatewayId,
        /// The policies that decided.
        policies: BTreeSet<PolicyId>,
    },
    /// A lease was refused. What is hidden and what does not exist make the same row.
    LeaseRefused {
        /// The decision.
        decision: DecisionId,
        /// The session.
        sid: SessionId,
        /// Whose.
        person: Pseudonym,
        /// To what, if it may be known of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceId>,
        /// What was asked for.
        wanted: Commitment,
        /// Why.
        reason: DenyReason,
        /// The policies that decided.
        policies: BTreeSet<PolicyId>,
    },
    /// A gateway did not take a lease.
    LeaseDeclined {
        /// The lease.
        lease: LeaseId,
        /// The gateway.
        gateway: GatewayId,
        /// Why.
        code: LeaseError,
    },
    /// A lease is over.
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
        /// The session.
        sid: SessionId,
        /// Why.
        reason: DenyReason,
    },
    /// Renewals without change since the row before: counted, not written one by one.
    Renewals {
        /// How many.
        count: u64,
    },
    /// A session was decided anew and its earlier leases are void.
    Floor {
        /// The session.
        sid: SessionId,
        /// Its epoch.
        epoch: Epoch,
        /// Why.
        reason: DenyReason,
        /// How many leases stayed.
        kept: u32,
    },
    /// A gateway has put a floor in force.
    FloorHeld {
        /// The session.
        sid: SessionId,
        /// Its epoch.
        epoch: Epoch,
        /// The gateway.
        gateway: GatewayId,
        /// How long that took, in milliseconds.
        after_ms: u64,
    },
    /// A hold was placed.
    HoldPlaced {
        /// The hold.
        hold: HoldId,
        /// What it denies.
        target: Target,
        /// Why.
        reason: Commitment,
    },
    /// A hold is over.
    HoldLifted {
        /// The hold.
        hold: HoldId,
        /// Whether it ended by itself.
        expired: bool,
    },

    /// A gateway enrolled.
    GatewayEnrolled {
        /// The gateway.
        gateway: GatewayId,
        /// Where.
        site: SiteId,
    },
    /// A gateway may not be one any more.
    GatewayRevoked {
        /// The gateway.
        gateway: GatewayId,
    },
    /// A gateway connected.
    GatewayUp {
        /// The gateway.
        gateway: GatewayId,
        /// The run of its process.
        run: RunId,
    },
    /// A gateway's stream is gone.
    GatewayGone {
        /// The gateway.
        gateway: GatewayId,
    },

    /// A policy was made or changed.
    PolicyPut {
        /// The policy.
        policy: PolicyId,
        /// Its version.
        version: u64,
        /// Its text.
        text: String,
    },
    /// Something else was administered.
    Administered {
        /// The operation's name.
        op: String,
        /// What it was about: an id that names nobody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<String>,
    },
    /// An operation was refused.
    AdminRefused {
        /// The operation's name.
        op: String,
        /// The error's code.
        code: String,
    },
}

/// What a hold denies, with people by pseudonym.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everything to one person.
    Person(Pseudonym),
    /// Everything to one device.
    Device(DeviceId),
    /// Everything to one session.
    Session(SessionId),
    /// One resource, to everybody.
    Resource(ResourceId),
}
