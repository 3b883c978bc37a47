use ztna_api::device::FromDevice;
use ztna_auth::Request;
use ztna_model::{Carrier, DenyReason, Endpoint, GatewayId, Grant, LeaseId, Secret, WallTime, WgPublic};
use ztna_proxy::Verdict;

use crate::network::Network;
use crate::saved::Saved;

/// What the driver is to do. It does these in order: what is saved is on disk before the next is done.
#[derive(Debug)]
pub enum Output {
    /// Make this HTTP call and hand the answer back with the same id.
    Call {
        /// Its id.
        call: CallId,
        /// The request.
        request: Box<Request>,
    },
    /// Open this address in the person's browser.
    OpenBrowser(String),
    /// Open the control stream with this request; it replaces one that is open.
    OpenStream(Box<Request>),
    /// Send this on the control stream.
    Send(Box<FromDevice>),
    /// Close the control stream.
    CloseStream,
    /// Read the device's signals.
    ReadSignals {
        /// The broker's clock at this moment, if it is known: this device's own is one of the signals.
        broker_time: Option<WallTime>,
    },
    /// Tell the data thread.
    Plane(Plane),
    /// Answer a local application.
    Dialled {
        /// Which.
        dial: DialId,
        /// Where to go through the tunnel, or why not.
        answer: Result<Endpoint, Verdict>,
    },
    /// Answer a question about a name.
    Answer {
        /// Which.
        query: QueryId,
        /// The whole DNS message.
        message: Vec<u8>,
    },
    /// Hand a question on to the system's resolvers as it came: it is about nothing of the organisation's.
    Forward {
        /// Which.
        query: QueryId,
    },
    /// Answer nobody: what came was no question.
    Silence {
        /// What.
        query: QueryId,
    },
    /// Let the machine's network be like this: all of it, whenever it changes.
    Network(Box<Network>),
    /// Keep this on disk.
    Save(Box<Saved>),
    /// Remove what was kept.
    Erase,
    /// What can be shown is different.
    Changed,
}

/// What the data thread is to do.
#[derive(Clone, Debug)]
pub enum Plane {
    /// Take this X25519 key; all peers and rules go.
    Key(Secret<[u8; 32]>),
    /// Know this gateway, or that it is reached otherwise or has a new key.
    Peer {
        /// The gateway.
        gateway: GatewayId,
        /// Its WireGuard key.
        key: WgPublic,
        /// How to reach it, best first.
        carriers: Vec<Carrier>,
    },
    /// Let flows under this grant through.
    Allow(Box<Grant>),
    /// No longer; live flows are reset.
    End {
        /// The lease.
        lease: LeaseId,
        /// Why.
        reason: DenyReason,
    },
    /// Ask a gateway's resolver, inside its tunnel, by UDP. It answers about names alone that this device holds a lease
    /// for at it, and about services said to run at them.
    Query {
        /// The gateway.
        gateway: GatewayId,
        /// The whole DNS message.
        message: Vec<u8>,
    },
    /// Nothing any more: all peers and rules go.
    Clear(DenyReason),
}

/// An HTTP call of the session's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallId {
    pub(crate) task: u32,
    pub(crate) number: u32,
}

/// A local application's wish to reach something, as the driver numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialId(pub u64);

/// A question about a name, as the driver numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryId(pub u64);
