//! One UDP socket of a data thread: many datagrams a system call, where the machine can.
//!
//! ```text
//! out: tunnel seals into → GsoBuffer ─ flush ─→ UdpPort ──→ kernel cuts segments
//! in:  kernel joins segments ──→ UdpPort ─ recv ─→ Batch → datagrams, one after another
//! ```

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use quinn_udp::{UdpSockRef, UdpSocketState};

mod bind;
pub use bind::{Bind, BindError};

mod batch;
pub use batch::{Batch, Datagram};

mod gso;
pub use gso::GsoBuffer;

mod send;
pub use send::{SendError, Sent, Transmit};

mod offload;
pub use offload::{Offloads, Segmentation};

#[cfg(test)]
mod tests;

/// An unconnected UDP socket on an ephemeral port, for use on one thread together with a [`crate::poll::Poller`].
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    kernel: UdpSocketState,
    bound: Bind,
    address: SocketAddr,
    segmentation: Segmentation,
    max_segments: usize,
    /// Whether there may be something to receive: true from the poller's word until the kernel has no more.
    readable: bool,
    /// Whether the kernel's send buffer was full at the last attempt.
    blocked: bool,
}

impl UdpPort {
    /// Opens a port. [`Bind::Dual`] becomes [`Bind::V4`] on a machine without IPv6.
    pub fn bind(wanted: Bind) -> Result<Self, BindError> {
        let refused = |cause| BindError { wanted, cause };
        let (socket, bound) = bind::open(wanted).map_err(refused)?;
        let kernel = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        let supported = kernel.max_gso_segments() > 1;
        let segmentation = if supported { Segmentation::On } else { Segmentation::Unsupported };
        let socket = UdpSocket::from_std(socket);
        let max_segments = gso::MAX_SEGMENTS;
        Ok(Self {
            socket,
            kernel,
            bound,
            address,
            segmentation,
            max_segments,
            readable: true,
            blocked: false,
        })
    }

    /// Where it receives: the port is the kernel's choice, the address unspecified unless it is loopback.
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What it is open to.
    pub const fn bound(&self) -> Bind {
        self.bound
    }

    /// Fills `batch` with what waits, without waiting; false when nothing did. To be called until it says so, or
    /// until enough has been done for this turn: the poller does not wait while a port is readable.
    pub fn recv(&mut self, batch: &mut Batch) -> io::Result<bool> {
        match batch.fill(|buffers, meta| self.kernel.recv(UdpSockRef::from(&self.socket), buffers, meta)) {
            Ok(()) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Whether there may be something to receive.
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether the kernel's send buffer was full, and the poller has not yet said that there is room again.
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// What the kernel does for this port, for `status`.
    pub fn offloads(&self) -> Offloads {
        let socket = UdpSockRef::from(&self.socket);
        Offloads {
            segmentation: self.segmentation,
            receive: self.kernel.gro_segments() > 1,
            receive_buffer: self.kernel.recv_buffer_size(UdpSockRef::from(&self.socket)).unwrap_or(0),
            send_buffer: self.kernel.send_buffer_size(socket).unwrap_or(0),
        }
    }

    /// Hands every datagram to the kernel by itself from here on.
    pub fn turn_off_segmentation(&mut self) {
        self.segmentation = Segmentation::TurnedOff;
    }

    pub(crate) const fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    pub(crate) const fn is_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.blocked &= !writable;
    }
}
