use std::io;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use ztna_api::gateway::ToGateway;
use ztna_gate::Destination;
use ztna_model::{Endpoint, Flow, Host, LeaseId, Port, Protocol};
use ztna_net::poll::{Poller, Readiness};
use ztna_net::socket::{Connection, Datagrams};
use ztna_netstack::StreamId;
use ztna_tunnel::PeerId;

use crate::dial::DialRefusal;
use crate::echo::EchoSocket;
use crate::status::Plane;

/// What tasks tell the data thread.
pub(crate) enum Order {
    /// The broker said something.
    Frame(Box<ToGateway>),
    /// What came of connecting a flow.
    Dialled(StreamId, Result<SiteSocket, DialRefusal>),
    /// Where the kernel is to forward a flow.
    Pinned(u64, Result<Pinned, DialRefusal>),
    /// What came of opening a socket for echoes.
    EchoOpened(u64, Result<EchoSocket, DialRefusal>),
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

/// What the data thread asks tasks for.
#[derive(Clone, Debug)]
pub(crate) enum Dial {
    /// Connect a flow.
    Connect {
        /// The flow.
        stream: StreamId,
        /// What it speaks.
        protocol: Protocol,
        /// Where it goes.
        destination: Destination,
    },
    /// Say where the kernel is to forward a flow.
    Pin {
        /// Which.
        number: u64,
        /// The flow, as the device's packets show it.
        flow: Flow,
        /// Where it goes; an echo has no port.
        host: Host,
        /// The port.
        port: Option<Port>,
    },
    /// Open a socket for echoes.
    Echo {
        /// For which.
        number: u64,
        /// Where they go.
        host: Host,
    },
}

/// Where a flow goes whose target was looked up and checked, once and for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pinned {
    /// Through the kernel, to this address.
    Kernel(Endpoint),
    /// By a socket: the kernel cannot bring it there.
    Userspace,
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
