use ztna_api::gateway::FromGateway;
use ztna_api::keyset::KeySetError;
use ztna_model::{DenyReason, Flow, LeaseId};
use ztna_tunnel::PeerId;

/// What the driver is to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Tell the broker.
    Tell(Box<FromGateway>),
    /// A lease is over: cut whatever lives under it both ways, at once.
    Cut {
        /// Whose it was.
        peer: PeerId,
        /// The lease.
        lease: LeaseId,
        /// Its flows, as the device's packets show them. A flow that has been silent for long may be missing.
        flows: Vec<Flow>,
        /// Why.
        reason: DenyReason,
    },
    /// The broker showed keys that are not the organisation's. Those known before stay; somebody should be told.
    KeysRefused(KeySetError),
}
