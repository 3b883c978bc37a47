use ztna_api::gateway::FromGateway;
use ztna_model::{DenyReason, Flow};
use ztna_tunnel::PeerId;

/// What the driver is to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Tell the broker.
    Tell(Box<FromGateway>),
    /// Cut this flow both ways, at once: it lived under a lease that is over.
    Reset {
        /// Whose it was.
        peer: PeerId,
        /// The flow, as the device's packets show it.
        flow: Flow,
        /// Why.
        reason: DenyReason,
    },
}
