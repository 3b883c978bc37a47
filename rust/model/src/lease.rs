use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::{Ports, Protocol};
use crate::id::{
    DecisionId, DeviceId, GatewayId, Incarnation, LeaseId, OrgId, Pseudonym, ResourceId, RunId, SessionId,
};
use crate::key::{Jkt, WgPublic};
use crate::resource::{Match, Target};
use crate::time::{Time, millis};

/// Counts a session's re-decisions; only grows. Leases below a session's floor are void.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The short right of one device session to one resource through one gateway, as the broker signs it.
///
/// Names and units are the wire's: times are milliseconds of the gateway's own boot clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The organisation.
    pub org: OrgId,
    /// The life of the broker's store that signed it.
    pub incarnation: Incarnation,
    /// Its own id; a renewal keeps it.
    pub id: LeaseId,
    /// The session.
    pub sid: SessionId,
    /// The session's epoch when it was signed.
    pub epoch: Epoch,
    /// The device key the session is bound to.
    pub jkt: Jkt,
    /// The person, by pseudonym.
    pub person: Pseudonym,
    /// The device.
    pub device: DeviceId,
    /// The decision it rests on.
    pub decision: DecisionId,
    /// The gateway it is for.
    pub gw: GatewayId,
    /// The run of that gateway's process.
    pub run: RunId,
    /// The gateway's boot clock at its latest beat, in milliseconds.
    pub at: u64,
    /// How long it lives from `at`, in milliseconds.
    pub ttl: u64,
    /// Who may use it.
    pub holder: Holder,
    /// What it allows.
    pub rule: Rule,
    /// What the gateway resolves or dials.
    pub target: Target,
    /// How much.
    pub limits: Limits,
}

impl Lease {
    /// The longest life of any lease.
    pub const LONGEST: Duration = Duration::from_secs(300);
    /// The life of a lease unless the organisation sets another.
    pub const DEFAULT: Duration = Duration::from_secs(120);

    /// When it begins, by the gateway's boot clock.
    pub const fn begins(&self) -> Time {
        Time::from_millis(self.at)
    }

    /// When it is over, by the gateway's boot clock: fixed when it was signed.
    pub fn deadline(&self) -> Time {
        self.begins() + millis(self.ttl)
    }
}

/// Who may use a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// Whoever holds this WireGuard key, which the device key has vouched for.
    Tunnel {
        /// The key.
        wg_pub: WgPublic,
        /// The device's statement about it, a JWS.
        statement: String,
    },
}

/// What a lease allows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The resource.
    pub resource: ResourceId,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: Ports,
    /// The destinations.
    #[serde(rename = "match")]
    pub covers: Match,
}

/// How much a lease allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// How long the device may send nothing before the lease is no longer renewed, in milliseconds.
    pub silence: u64,
    /// How many flows may live at once.
    pub flows: u32,
}

impl Default for Limits {
    /// Ten minutes of silence, 4,096 flows.
    fn default() -> Self {
        Self { silence: 600_000, flows: 4_096 }
    }
}
