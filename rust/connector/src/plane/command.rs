use std::fmt;

use tokio::sync::oneshot;
use ztna_model::{DenyReason, Endpoint};
use ztna_net::socket::Connection;
use ztna_netstack::StreamId;
use ztna_proxy::Upstream;
use ztna_session::{Plane, QueryId};

use crate::plane::carriage::Carried;
use crate::plane::handle::OpenError;
use crate::plane::status::PlaneStatus;
use crate::plane::wishes::Wish;

/// What tasks ask of the data thread.
pub(super) enum Command {
    /// What the session decided.
    CarryOut(Box<Plane>),
    /// Begin a flow, and answer when it stands.
    Open { ticket: Ticket, destination: Endpoint, answer: oneshot::Sender<Result<StreamId, OpenError>> },
    /// Nobody waits for that flow any more.
    Forget(Ticket),
    /// Carry bytes between a flow and an application's socket.
    Carry(Box<Load>),
    /// Nobody wants that flow any more.
    Drop(StreamId),
    /// What the session has decided on a wish.
    Settle(Wish, Result<(), DenyReason>),
    /// The answer to an application's question of names.
    Answer(QueryId, Vec<u8>),
    /// The network changed: find out where this device is, and tell.
    NetworkChanged,
    /// Say how it stands.
    Status(oneshot::Sender<PlaneStatus>),
}

/// Names one wish for a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(pub(super) u64);

/// An application's socket, and what goes with it.
pub(super) struct Load {
    pub(super) stream: StreamId,
    pub(super) connection: Connection,
    /// What goes to the target before anything else.
    pub(super) first: Vec<u8>,
    /// How much of what the application sends may follow; without it, everything.
    pub(super) upstream: Option<Upstream>,
    pub(super) done: oneshot::Sender<Carried>,
}

// Keys and what applications send do not print.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CarryOut(_) => "CarryOut",
            Self::Open { .. } => "Open",
            Self::Forget(_) => "Forget",
            Self::Carry(_) => "Carry",
            Self::Drop(_) => "Drop",
            Self::Settle(..) => "Settle",
            Self::Answer(..) => "Answer",
            Self::NetworkChanged => "NetworkChanged",
            Self::Status(_) => "Status",
        })
    }
}
