use ztna_model::{Carrier, DenyReason, GatewayId, LeaseId};

/// What the data thread tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlaneEvent {
    /// A gateway ended a lease, and said so inside its tunnel.
    Notice {
        /// The gateway.
        gateway: GatewayId,
        /// The lease.
        lease: LeaseId,
        /// Why.
        reason: DenyReason,
    },
    /// A gateway does not answer while flows need it.
    Silent {
        /// The gateway.
        gateway: GatewayId,
    },
    /// Where gateways can send datagrams to this device, best first.
    Carriers(Vec<Carrier>),
}
