use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::fact::FactKind;
use crate::flow::{Ports, Protocol};
use crate::id::{GatewayId, LeaseId, OrgId, ResourceId, SiteId};
use crate::key::WgPublic;
use crate::resource::{Address, Match};
use crate::time::WallTime;

/// What the client is asked to bring about, whoever asks: our broker's stream, a file, or another control plane.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Desired {
    /// The organisation.
    pub org: OrgId,
    /// What this device may know of, with today's answer for each.
    pub visible: Vec<Visible>,
    /// What it may reach at this moment.
    pub grants: Vec<Grant>,
    /// Which facts are asked for.
    pub posture: Vec<FactKind>,
    /// When a new sign-in will be needed, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_by: Option<WallTime>,
}

/// A resource that the device may know of: granted, or refused with a reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Visible {
    /// Its id.
    pub resource: ResourceId,
    /// What people call it.
    pub title: String,
    /// How they address it.
    pub address: Address,
    /// What it speaks.
    pub protocol: Protocol,
    /// On which ports.
    pub ports: Ports,
    /// Where it lives, where names of addresses are to tell sites apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
    /// Whether its addresses are reached by the names alone that they have at their site: none of them is routed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
    /// Today's answer.
    pub decision: Decision,
}

/// A live right, as the client is told of it once the gateway holds the lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The lease.
    pub lease: LeaseId,
    /// The resource.
    pub resource: ResourceId,
    /// The gateway.
    pub gateway: GatewayId,
    /// The gateway's WireGuard key.
    pub gateway_key: WgPublic,
    /// The gateway's statement about that key, a JWS under its certificate. Empty in a file, which is trusted whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub statement: String,
    /// How the gateway can be reached, best first.
    pub carriers: Vec<Carrier>,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: Ports,
    /// The destinations.
    #[serde(rename = "match")]
    pub covers: Match,
}

/// What carries WireGuard datagrams to the other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// UDP, straight to this address.
    Udp(SocketAddr),
}

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The person signed out.
    SignedOut,
    /// An administrator ended it.
    Administrator,
    /// The person ended the device from another one.
    EndedByOwner,
    /// Two devices used one key.
    Cloned,
    /// A token was used twice.
    TokenReused,
    /// It lay idle for too long.
    Idle,
    /// It reached its hard end.
    Expired,
    /// The person or the device is gone.
    Removed,
    /// The broker's store was restored.
    Restored,
}

impl EndReason {
    /// The reason in a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::SignedOut => "you signed out",
            Self::Administrator => "an administrator ended the session",
            Self::EndedByOwner => "you ended this device from another one",
            Self::Cloned => "two devices used the same key",
            Self::TokenReused => "a token was used twice",
            Self::Idle => "the session lay idle for too long",
            Self::Expired => "the session reached its end",
            Self::Removed => "the person or the device was removed",
            Self::Restored => "the organisation's records were restored",
        }
    }
}
