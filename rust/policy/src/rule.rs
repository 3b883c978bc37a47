use ztna_model::{DenyReason, LeaseId, Rule as Terms, Time};

/// Whose rules: who stands on the device's side. At the gateway the number of the WireGuard peer, so that each peer
/// sees its own leases alone; at the client always [`Scope::DEVICE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub u32);

impl Scope {
    /// The one scope of a client's table.
    pub const DEVICE: Self = Self(0);
}

/// Through whom: who stands on the resource's side. At the client the number of the gateway's WireGuard peer, so that
/// no gateway can answer in another's name; at the gateway always [`Via::SITE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Via(pub u32);

impl Via {
    /// The one way on of a gateway's table.
    pub const SITE: Self = Self(0);
}

/// What a lease, or a client's wish for one, means to the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The lease. A rule that only asks or explains has none yet: its caller draws an id of its own.
    pub lease: LeaseId,
    /// Whose packets it is about.
    pub scope: Scope,
    /// Through whom they go, and from whom the answers must come.
    pub via: Via,
    /// The resource: what it speaks, and where.
    pub terms: Terms,
    /// When it is over. A table that has reached this time lets nothing more pass.
    pub deadline: Time,
    /// How many flows may live under it at once.
    pub flows: u32,
    /// What it does.
    pub effect: Effect,
}

/// What a rule does to a packet that opens a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Lets it pass, and its answers.
    Allow,
    /// Holds it until a lease has been asked for.
    Ask,
    /// Refuses it and says why. An explanation, never a prohibition: without the rule the answer is no as well.
    Deny(DenyReason),
}
