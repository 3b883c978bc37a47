//! One UDP socket of a data thread: many datagrams a system call, where the machine can.
//!
//! ```text
//! out: a tunnel seals into room() … commit(), room() … commit() ─ flush ─→ the kernel cuts segments
//! in:  the kernel joins segments ─ recv ─→ Batch → datagrams, one after another
//! ```
//!
//! What is sealed is not copied again on its way to the kernel, and nothing is allocated for a datagram.

use std::io;
use std::net::SocketAddr;

mod bind; // what a port is open to
pub use bind::{Bind, BindError};

mod batch; // what one system call received
pub use batch::{Batch, Datagram};

mod segments; // what one system call is to send

mod wire; // the socket, and what the kernel says to what is sent
pub use wire::{SendError, Sent, Transmit};

mod reachable; // where others can reach a port

mod offload; // what the kernel does for us, in words
pub use offload::{Offloads, Segmentation};

#[cfg(test)]
mod tests;

use segments::Segments;
use wire::Wire;

/// An unconnected UDP socket, for use on one thread together with a [`crate::poll::Poller`].
#[derive(Debug)]
pub struct UdpPort {
    wire: Wire,
    outgoing: Segments,
    lost: u64,
    /// Whether there may be something to receive: true from the poller's word until the kernel has no more.
    readable: bool,
}

impl UdpPort {
    /// Opens a port of the kernel's choice. [`Bind::Dual`] becomes [`Bind::V4`] on a machine without IPv6.
    pub fn bind(wanted: Bind) -> Result<Self, BindError> {
        Self::bind_to(wanted, 0)
    }

    /// Opens port `number`; 0 leaves the choice to the kernel.
    pub fn bind_to(wanted: Bind, number: u16) -> Result<Self, BindError> {
        let wire = Wire::open(wanted, number).map_err(|cause| BindError { wanted, number, cause })?;
        Ok(Self { wire, outgoing: Segments::new(), lost: 0, readable: true })
    }

    /// Where it receives: the address unspecified unless it is loopback.
    pub const fn local_address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// Where others may reach it, best first: this machine's own addresses, as far as the routes to the internet tell.
    /// What a network in between makes of them is not known here.
    pub fn reachable_at(&self) -> Vec<SocketAddr> {
        reachable::addresses(self.wire.bound(), self.local_address().port())
    }

    /// What it is open to.
    pub const fn bound(&self) -> Bind {
        self.wire.bound()
    }

    /// Fills `batch` with what waits, without waiting; false when nothing did. To be called until it says so, or
    /// until enough has been done for this turn: the poller does not wait while a port is readable.
    pub fn recv(&mut self, batch: &mut Batch) -> io::Result<bool> {
        self.readable = self.wire.recv(batch)?;
        Ok(self.readable)
    }

    /// Where to write the next datagram to `destination`, of at most `length` bytes (65,000 at most, or there is no
    /// room): all the room there is, and never less than 512 bytes. Datagrams that it cannot leave together with are
    /// sent first. If the kernel has no room for those they are lost, so look at [`UdpPort::is_blocked`] before
    /// sealing what can wait.
    pub fn room(&mut self, destination: SocketAddr, length: usize) -> &mut [u8] {
        if !self.outgoing.fits(destination, length) {
            self.flush_or_lose();
        }
        self.outgoing.room(destination, length).unwrap_or_default()
    }

    /// The first `length` bytes of the room given last are a datagram; of 0 bytes, an empty one, which only opens a
    /// path. Without this the room was not used.
    pub fn commit(&mut self, length: usize) {
        if length > 0 {
            self.outgoing.commit(length);
        } else if let Some(destination) = self.outgoing.destination() {
            let empty = Transmit { destination, contents: &[], segment_size: 0 };
            if !matches!(self.wire.send(&empty), Ok(Sent::All)) {
                self.lost += 1;
            }
        }
    }

    /// Sends what was sealed; to be called at the end of each turn. True when all of it is gone, false when the
    /// kernel has no room for the rest: that stays for the next flush, when the poller says that there is room. After
    /// an error it is lost, as datagrams may be at any time; only those to one destination are concerned.
    pub fn flush(&mut self) -> Result<bool, SendError> {
        let Some(transmit) = self.outgoing.transmit() else { return Ok(true) };
        match self.wire.send(&transmit) {
            Ok(Sent::All) => {
                self.outgoing.clear();
                Ok(true)
            }
            Ok(Sent::Part(bytes)) => {
                self.outgoing.take(bytes);
                Ok(false)
            }
            Err(cause) => {
                self.lose();
                Err(cause)
            }
        }
    }

    /// Sends datagrams that are elsewhere, without waiting and apart from those that were sealed here.
    pub fn send(&mut self, transmit: &Transmit<'_>) -> Result<Sent, SendError> {
        self.wire.send(transmit)
    }

    /// Whether there may be something to receive.
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether the kernel's send buffer was full, and the poller has not yet said that there is room again.
    pub const fn is_blocked(&self) -> bool {
        self.wire.is_blocked()
    }

    /// How many sealed datagrams never left this machine.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// What the kernel does for this port, for `status`.
    pub fn offloads(&self) -> Offloads {
        self.wire.offloads()
    }

    /// Marks what it sends (SO_MARK, socket(7)), so that rules can keep it out of the tunnel that it carries. Needs
    /// CAP_NET_ADMIN.
    #[cfg(target_os = "linux")]
    pub fn mark(&mut self, mark: u32) -> io::Result<()> {
        crate::link::mark(self.wire.socket(), mark)
    }

    /// Hands every datagram to the kernel by itself from here on.
    pub const fn turn_off_segmentation(&mut self) {
        self.wire.turn_off_segmentation();
    }

    pub(crate) const fn socket(&mut self) -> &mut mio::net::UdpSocket {
        self.wire.socket()
    }

    pub(crate) const fn is_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        if writable {
            self.wire.unblock();
        }
    }

    fn flush_or_lose(&mut self) {
        match self.flush() {
            Ok(true) => {}
            Ok(false) => self.lose(),
            Err(cause) => tracing::trace!(%cause, "datagrams were lost"),
        }
    }

    fn lose(&mut self) {
        self.lost += self.outgoing.clear();
    }
}
