//! The TUN device of a data thread: packets from and to this machine's applications, many a system call where it can.
//!
//! ```text
//! out: an application's long packet ─ recv ─→ Burst, cut where it lies
//! in:  packets ─ writer ─→ joined to a long packet ─→ one vectored write, payload not copied
//! ```
//!
//! A Linux device of our own takes and gives packets of up to 64 KiB (`IFF_VNET_HDR`). One that came as an open
//! descriptor, as on phones, gives packet by packet; it takes long ones as well, since nothing on the way to the
//! application asks how long they are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ztna_packet::{Burst, ChecksumDepth, Run};

mod config; // what a device should be like
pub use config::{TunConfig, TunError};

mod path; // how packets go through it, in words
pub use path::TunPath;

mod buffer; // what one system call read
pub use buffer::TunBuffer;

mod wire; // the descriptor, and what stands ahead of packets

mod writer; // joins what follows one another
pub use writer::TunWriter;

#[cfg(target_os = "linux")]
mod inherited; // takes one that is open
#[cfg(target_os = "linux")]
pub use inherited::inherited;
#[cfg(target_os = "linux")]
mod device; // makes one
#[cfg(target_os = "linux")]
mod netlink; // gives it addresses

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use wire::{Framing, Wire};

/// A TUN device, for use on one thread together with a [`crate::poll::Poller`]. It ends with its descriptor.
#[derive(Debug)]
pub struct TunPort {
    wire: Wire,
    name: Option<String>,
    mtu: u16,
    path: TunPath,
    /// Whether there may be something to read: true from the poller's word until the kernel has no more.
    readable: bool,
    blocked: bool,
    lost: u64,
    unreadable: u64,
}

impl TunPort {
    /// Makes a device, gives it its addresses and brings it up. Only the addresses themselves become routes.
    ///
    /// It needs CAP_NET_ADMIN, and ends with the port, whatever becomes of this process.
    #[cfg(target_os = "linux")]
    pub fn create(config: &TunConfig) -> Result<Self, TunError> {
        config.check()?;
        let device = device::open(config)?;
        netlink::set_up(&device.name, config)?;
        let framing = if device.path.is_offload() { Framing::Virtio } else { Framing::Bare };
        Ok(Self::new(Wire::new(device.descriptor, framing), Some(device.name), config.mtu, device.path))
    }

    /// Takes an open device over, as `VpnService` and `NEPacketTunnelProvider` give one; from here on it is closed by this
    /// port alone. Its MTU is believed, and no offload is assumed.
    pub fn from_fd(descriptor: OwnedFd, mtu: u16) -> io::Result<Self> {
        let wire = Wire::adopted(descriptor)?;
        Ok(Self::new(wire, None, mtu, TunPath::Merged))
    }

    const fn new(wire: Wire, name: Option<String>, mtu: u16, path: TunPath) -> Self {
        Self { wire, name, mtu, path, readable: true, blocked: false, lost: 0, unreadable: 0 }
    }

    /// The device's name, if this port has made it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The longest packet that applications may send, in bytes.
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// How packets go through it, for `status`.
    pub const fn path(&self) -> TunPath {
        self.path
    }

    /// Reads into `buffer` what waits, without waiting: one packet, or one that stands for many. Nothing when nothing
    /// waits, or what did cannot be used. To be called until there is nothing, or until enough has been done for this
    /// turn: the poller does not wait while a device is readable.
    ///
    /// An error means that the device is gone.
    pub fn recv<'b>(&mut self, buffer: &'b mut TunBuffer) -> io::Result<Option<Burst<'b>>> {
        let prefix = self.wire.framing().prefix();
        let length = match self.wire.read(buffer.room(prefix)) {
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(None);
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let burst = match self.wire.framing() {
            Framing::Virtio => Burst::behind_virtio_header(buffer.room(prefix), length).ok(),
            Framing::Bare | Framing::Family => {
                let length = length.saturating_sub(prefix);
                Some(Burst::new(buffer.room(0), length, None, ChecksumDepth::Whole))
            }
        };
        self.unreadable += u64::from(burst.is_none());
        Ok(burst)
    }

    /// Hands a packet to the applications, without waiting. False when it is lost, as packets may be at any time.
    pub fn send(&mut self, packet: &[u8]) -> bool {
        let outcome = self.wire.write(packet);
        self.took(outcome)
    }

    /// Hands a run over as one packet.
    pub fn send_run(&mut self, run: &Run<'_>) -> bool {
        if let Some(packet) = run.alone() {
            return self.send(packet.bytes());
        }
        let outcome = self.wire.write_run(run);
        self.took(outcome)
    }

    /// Writes the packets of one turn, those that follow one another joined.
    pub const fn writer<'a>(&mut self) -> TunWriter<'_, 'a> {
        TunWriter::new(self)
    }

    /// Hands every packet over by itself from here on: for devices whose packets are forwarded to other machines.
    pub const fn turn_off_joining(&mut self) {
        self.path = self.path.without_joining();
    }

    /// Whether there may be something to read.
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether the device had no room, and the poller has not yet said that there is room again. What is sent meanwhile
    /// may be lost.
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// How many packets and runs the device did not take.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many packets it handed over in a way that nobody understands.
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    pub(crate) const fn is_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.blocked &= !writable;
    }

    fn took(&mut self, outcome: io::Result<()>) -> bool {
        let Err(cause) = outcome else { return true };
        self.blocked |= cause.kind() == io::ErrorKind::WouldBlock;
        self.lost += 1;
        tracing::trace!(%cause, "the TUN device did not take a packet");
        false
    }
}

impl AsFd for TunPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
