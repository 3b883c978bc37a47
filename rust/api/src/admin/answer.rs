use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ztna_model::{
    Decision, DenyReason, DeviceId, FactKind, FactState, GatewayId, HoldId, Incarnation, OrgId, PersonId,
    PolicyId, Resource, ResourceId, Secret, SessionId, WallTime,
};

use super::expose;
use super::thing::{Device, Gateway, Group, Hold, Invitation, Person, Policy, Session, Settings, Site};

/// What was done, or what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Done, and written down.
    Done {},
    /// Done, and in force; where it was not written down, the broker keeps trying.
    Revoked(Revoked),
    /// A single-use token, shown this once.
    Token {
        /// The token.
        #[serde(serialize_with = "expose")]
        token: Secret<String>,
        /// When it is no longer good.
        expires: WallTime,
    },
    /// People and invitations.
    People {
        /// People.
        people: Vec<Person>,
        /// Invitations by e-mail that nobody has followed.
        invitations: Vec<Invitation>,
    },
    /// Groups.
    Groups {
        /// All of them.
        groups: Vec<Group>,
    },
    /// Devices.
    Devices {
        /// Those asked for.
        devices: Vec<Device>,
    },
    /// Resources.
    Resources {
        /// All of them.
        resources: Vec<Resource>,
    },
    /// Sites.
    Sites {
        /// All of them.
        sites: Vec<Site>,
    },
    /// Gateways.
    Gateways {
        /// All of them.
        gateways: Vec<Gateway>,
    },
    /// Policies.
    Policies {
        /// All of them.
        policies: Vec<Policy>,
    },
    /// The answer to a test of policies.
    Tested {
        /// One for each device, or one for a fit device that nobody has.
        verdicts: Vec<Verdict>,
    },
    /// Who gains and who loses.
    Preview(Preview),
    /// Sessions.
    Sessions {
        /// All that are not over.
        sessions: Vec<Session>,
    },
    /// Holds.
    Holds {
        /// All in force.
        holds: Vec<Hold>,
    },
    /// Settings.
    Settings {
        /// All of them.
        settings: Settings,
    },
    /// How things stand.
    Status(Status),
}

/// What a revocation has brought about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// The hold, where one was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    /// Whether it is written down. If not it is in force all the same, until the broker restarts.
    pub durable: bool,
    /// How far it has reached, gateway by gateway.
    pub reach: Vec<Reach>,
}

/// How far a revocation has reached one gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reach {
    /// The gateway.
    pub gateway: GatewayId,
    /// Whether it has acknowledged.
    pub state: ReachState,
}

/// Whether a gateway has acknowledged a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ReachState {
    /// It is in force there.
    InForce {
        /// How long that took, in milliseconds.
        after_ms: u64,
    },
    /// The gateway is silent: what it holds ends by itself.
    Silent {
        /// By then at the latest.
        ends_by: WallTime,
    },
}

/// The answer for one device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The device; none means a fit device that nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// May it, and if not, why and what would help.
    pub decision: Decision,
    /// Whether the person may know of the resource.
    pub visible: bool,
    /// The policies that decided.
    pub policies: BTreeSet<PolicyId>,
    /// Facts that policies read and that do not pass.
    pub facts: Vec<(FactKind, FactState)>,
}

/// Who gains and who loses by a change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Preview {
    /// Who could reach or see what they cannot today.
    pub gains: Vec<Shift>,
    /// Who could no longer reach or see what they can today.
    pub losses: Vec<Shift>,
}

/// One right that comes or goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// Whose.
    pub person: PersonId,
    /// To what.
    pub resource: ResourceId,
    /// To do what.
    pub right: Right,
    /// In which of their sessions, as they are at this moment; empty: with a fit device.
    pub sessions: BTreeSet<SessionId>,
}

/// What a person may do with a resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Reach it.
    Connect,
    /// Know that it exists.
    See,
}

/// How things stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The organisation.
    pub org: OrgId,
    /// The life of the broker's store.
    pub incarnation: Incarnation,
    /// Whether the store takes writes.
    pub store: bool,
    /// Sessions that are not over.
    pub sessions: u32,
    /// Devices that are connected.
    pub connected: u32,
    /// Live leases.
    pub leases: u32,
    /// Renewals since the broker started: counted, not written one by one.
    pub renewals: u64,
    /// Gateways, and which of them are up.
    pub gateways: Vec<Gateway>,
    /// Revocations that some gateway has not acknowledged.
    pub outstanding: Vec<Outstanding>,
    /// What a deployment should change: defaults that weaken it.
    pub warnings: Vec<String>,
}

/// A revocation on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outstanding {
    /// The session it cuts.
    pub sid: SessionId,
    /// Why.
    pub reason: DenyReason,
    /// Gateway by gateway.
    pub reach: Vec<Reach>,
}
