use std::io;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use ztna_api::gateway::ToGateway;
use ztna_gate::Destination;
use ztna_model::{Endpoint, LeaseId, Protocol};
use ztna_net::poll::{Poller, Readiness};
use ztna_net::socket::{Connection, Datagrams};
use ztna_netstack::StreamId;
use ztna_tunnel::PeerId;

use crate::dial::DialRefusal;
use crate::status::Plane;

/// What tasks tell the data thread.
pub(crate) enum Order {
    /// The broker said something.
    Frame(Box<ToGateway>),
    /// What came of connecting a flow.
    Dialled(StreamId, Result<SiteSocket, DialRefusal>),
    /// What a device that asked is to be told.
    Answered {
        /// Whose it is.
        peer: PeerId,
        /// Where it asked from.
        from: Endpoint,
        /// The lease under which it asked.
        lease: LeaseId,
        /// The answer.
        message: Vec<u8>,
    },
    /// Somebody wants to know how it stands.
    Report(oneshot::Sender<Plane>),
}

/// What the data thread asks tasks for: connect a flow to this.
pub(crate) struct Dial {
    /// The flow.
    pub(crate) stream: StreamId,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// Where it goes.
    pub(crate) destination: Destination,
}

/// A flow's socket on the site's side.
pub(crate) enum SiteSocket {
    /// A connection.
    Tcp(Connection),
    /// Datagrams.
    Udp(Datagrams),
}

impl SiteSocket {
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        Connection::take_over(stream).map(Self::Tcp)
    }

    pub(crate) fn udp(socket: UdpSocket) -> io::Result<Self> {
        Datagrams::take_over(socket).map(Self::Udp)
    }

    /// Lets `poller` tell under `key` when there is more to do.
    pub(crate) fn watch(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        match self {
            Self::Tcp(connection) => connection.watch(poller, key),
            Self::Udp(socket) => socket.watch(poller, key),
        }
    }

    /// Notes what a poller told.
    pub(crate) const fn is_ready(&mut self, readiness: Readiness) {
        match self {
            Self::Tcp(connection) => connection.is_ready(readiness),
            Self::Udp(socket) => socket.is_ready(readiness),
        }
    }

    /// Ends it at once. Nothing that was written and not sent yet is sent any more.
    pub(crate) fn reset(self) {
        match self {
            Self::Tcp(connection) => connection.reset(),
            Self::Udp(_) => {}
        }
    }
}
