use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ztna_model::{
    DeviceId, DomainName, Fact, FactKind, GatewayId, GroupId, HoldId, PersonId, PolicyId, Pseudonym,
    ResourceId, SessionId, SiteId, WallTime,
};

use super::answer::Reach;

/// What a person may administer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything, roles included.
    Owner,
    /// Resources, policies and settings.
    Policy,
    /// People, devices, sessions and holds.
    Helpdesk,
    /// Reads everything, the audit log included.
    Auditor,
}

/// What a hold denies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldTarget {
    /// Everything to one person; sign-ins begun before are void, too.
    Person(PersonId),
    /// Everything to one device.
    Device(DeviceId),
    /// Everything to one session.
    Session(SessionId),
    /// One resource, to everybody.
    Resource(ResourceId),
}

/// A group of people, given by hand or by what an issuer says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its id, as policies write it: `Group::"staff"`.
    pub id: GroupId,
    /// What people call it.
    pub title: String,
    /// Issuers' groups whose members belong to it.
    #[serde(default)]
    pub claims: BTreeSet<GroupClaim>,
}

/// A group as one issuer names it: the same name from another issuer means nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupClaim {
    /// The issuer.
    pub issuer: String,
    /// Its name for the group.
    pub name: String,
}

/// A place where resources live, and gateways with them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// What people call it.
    pub title: String,
}

/// A policy as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// One Cedar policy.
    pub text: String,
    /// Grows with each change.
    pub version: u64,
    /// When it was last changed.
    pub changed: WallTime,
}

/// What an organisation has decided for itself. Spans are seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What people call the organisation.
    pub title: String,
    /// Whether a person's first device admits itself.
    pub first_device: bool,
    /// The most devices a person may have, admitted or waiting.
    pub devices_per_person: u32,
    /// How long a lease lives, unless a policy says less; at most 300.
    pub lease_ttl_s: u64,
    /// How many flows a lease allows at once.
    pub lease_flows: u32,
    /// How long a device may send nothing before its lease is no longer renewed.
    pub silence_s: u64,
    /// How old the identity provider's last word on a person may be.
    pub idp_seen_max_s: u64,
    /// How long a session may lie idle.
    pub idle_s: u64,
    /// How long a session lives at most.
    pub session_s: u64,
    /// How many leases a device may ask for in a second, on average; ten times as many at once.
    pub asks_per_second: u32,
    /// Domain names under which everything is the organisation's: what is not granted there does not exist, and is asked
    /// of no other resolver. At most 32.
    pub suffixes: Vec<DomainName>,
    /// Minutes that the organisation's clock is ahead of UTC: what policies read as the time of day.
    pub utc_offset_minutes: i32,
    /// Which facts devices are asked for.
    pub posture: Vec<FactKind>,
    /// What the facts are measured by: the broker's `Requirements`, as JSON.
    pub requirements: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            title: String::new(),
            first_device: true,
            devices_per_person: 5,
            lease_ttl_s: 120,
            lease_flows: 4_096,
            silence_s: 600,
            idp_seen_max_s: 24 * 3_600,
            idle_s: 12 * 3_600,
            session_s: 7 * 24 * 3_600,
            asks_per_second: 50,
            suffixes: Vec::new(),
            utc_offset_minutes: 0,
            posture: FactKind::ALL.to_vec(),
            requirements: Map::new(),
        }
    }
}

/// A person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: PersonId,
    /// What people call them.
    pub name: String,
    /// The address they were invited by, if that is how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As leases and the audit log know them.
    pub pseudonym: Pseudonym,
    /// All their groups, given and claimed.
    pub groups: BTreeSet<GroupId>,
    /// What they may administer.
    pub roles: BTreeSet<Role>,
    /// When they first signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<WallTime>,
}

/// An invitation by e-mail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The address, in lower case.
    pub email: String,
    /// What people call the person.
    pub name: String,
    /// The groups they will have.
    pub groups: BTreeSet<GroupId>,
    /// When.
    pub invited: WallTime,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub owner: PersonId,
    /// Whether it may be used.
    pub state: DeviceState,
    /// The operating system's family, as it says itself.
    pub platform: String,
    /// When it was last heard of.
    pub seen: WallTime,
    /// Its facts as they count today.
    pub facts: Vec<Fact>,
}

/// Whether a device may be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DeviceState {
    /// It waits to be admitted.
    Waiting {
        /// The six characters it shows.
        code: String,
    },
    /// It may be used.
    Admitted {
        /// Since when.
        since: WallTime,
        /// How it came in.
        by: AdmittedBy,
    },
    /// It may not be used again.
    Ended {
        /// Since when.
        since: WallTime,
    },
}

/// How a device came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdmittedBy {
    /// It was its owner's first.
    First,
    /// An administrator admitted it.
    Administrator,
    /// Its owner confirmed it from another device.
    Owner,
    /// It came with a single-use token.
    Token,
}

/// A gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Where it stands.
    pub site: SiteId,
    /// Where it is in its life.
    pub state: GatewayState,
    /// How many leases it holds.
    pub leases: u32,
}

/// Where a gateway is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayState {
    /// It has not enrolled.
    Expected,
    /// It is connected.
    Up,
    /// It is enrolled and not connected.
    Away,
    /// It may not be one any more.
    Revoked,
}

/// A session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub sid: SessionId,
    /// Whose.
    pub person: PersonId,
    /// What people call them.
    pub name: String,
    /// On which device.
    pub device: DeviceId,
    /// Whether its device waits to be admitted.
    pub pending: bool,
    /// Whether the device is connected.
    pub connected: bool,
    /// How many leases it has.
    pub leases: u32,
    /// When it began.
    pub opened: WallTime,
    /// When it ends at the latest.
    pub expires: WallTime,
}

/// A hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// What it denies.
    pub target: HoldTarget,
    /// Why.
    pub reason: String,
    /// Since when.
    pub placed: WallTime,
    /// Until when, if it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<WallTime>,
    /// How far it has reached, for as long as that matters.
    pub reach: Vec<Reach>,
}
