use serde::{Deserialize, Serialize};
use ztna_model::{
    DenyReason, DeviceId, EndReason, Epoch, Incarnation, Jkt, LinkId, PersonId, SessionId, WallTime, WgPublic,
};

/// One device's signed-in session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub sid: SessionId,
    /// The life of the store in which it was opened.
    pub incarnation: Incarnation,
    /// Whose.
    pub person: PersonId,
    /// The session at the identity provider, where it says one (OIDC Back-Channel Logout, `sid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_sid: Option<String>,
    /// On which device.
    pub device: DeviceId,
    /// That device's key.
    pub jkt: Jkt,
    /// What the identity provider has said, and when.
    pub auth: Auth,
    /// How often it was decided anew.
    pub epoch: Epoch,
    /// Where it is in its life.
    pub state: SessionState,
    /// When it began.
    pub opened: WallTime,
    /// The broker time that its latest sign-in committed to.
    pub salted: WallTime,
    /// When it ends at the latest.
    pub expires: WallTime,
    /// The last proof by the key or packet from the device; kept coarsely.
    pub active: WallTime,
    /// The chain of its streams; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// Its one tunnel key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Its latest floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floored: Option<Floored>,
}

impl Session {
    /// Whether it may ask for leases, as far as it is concerned.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, SessionState::Open)
    }

    /// Whether it is not over.
    pub const fn is_live(&self) -> bool {
        !matches!(self.state, SessionState::Ended { .. })
    }

    /// Whether every decision on this session would be the same on `other`.
    pub fn decides_like(&self, other: &Self) -> bool {
        self.person == other.person
            && self.device == other.device
            && self.auth == other.auth
            && self.state == other.state
            && self.expires == other.expires
            && self.tunnel == other.tunnel
    }
}

/// What the identity provider has said of a sign-in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Auth {
    /// The authentication context class (OIDC Core 2, `acr`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The methods used (RFC 8176).
    pub amr: Vec<String>,
    /// When the person last showed who they are.
    pub auth_time: WallTime,
    /// When the provider last vouched for them.
    pub idp_seen: WallTime,
}

/// Where a session is in its life. A state between open and ended, woken by fresh evidence, has its place here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Its device waits to be admitted.
    Pending,
    /// It may ask for leases.
    Open,
    /// It is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// Since when.
        at: WallTime,
    },
}

/// The last two links of the chain of a session's streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Links {
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<LinkId>,
    /// The one that the next stream must name.
    pub current: LinkId,
}

/// A tunnel key and the device's word for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    /// The key.
    pub wg_pub: WgPublic,
    /// The statement, a JWS.
    pub statement: String,
}

/// When a session was last decided anew, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Floored {
    /// When.
    pub at: WallTime,
    /// Why.
    pub reason: DenyReason,
}
