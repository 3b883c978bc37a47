use ztna_model::{Carrier, DenyReason, GatewayId, LeaseId};
use ztna_session::{QueryId, Transport};

use crate::plane::wishes::Wish;

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
    /// An application wants to reach what nothing allows yet: [`crate::plane::PlaneHandle::settle`] is awaited.
    Wanted(Wish),
    /// An application asks for names: [`crate::plane::PlaneHandle::answer`] is awaited.
    Question {
        /// Its number.
        query: QueryId,
        /// The message, unread.
        message: Vec<u8>,
        /// How it came.
        transport: Transport,
    },
    /// Nobody waits for the answer to this question any more.
    Withdrawn(QueryId),
    /// What a gateway's resolver answers, unread.
    SiteAnswer {
        /// The gateway.
        gateway: GatewayId,
        /// The message.
        message: Vec<u8>,
    },
    /// Where gateways can send datagrams to this device, best first.
    Carriers(Vec<Carrier>),
}
