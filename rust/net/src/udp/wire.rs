use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use thiserror::Error;

use super::batch::Batch;
use super::bind::{self, Bind};
use super::offload::{Offloads, Segmentation};
use super::segments::{MAX_BYTES, MAX_SEGMENTS};

/// Datagrams to one destination: all of `segment_size` bytes, but that the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where to.
    pub destination: SocketAddr,
    /// The datagrams, one behind the other. No bytes at all are one empty datagram.
    pub contents: &'a [u8],
    /// The size of each but the last; 0 if `contents` is one datagram, whatever its size.
    pub segment_size: usize,
}

/// How much of a transmission the kernel took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// All.
    All,
    /// The first so many bytes, whole datagrams; then its buffer was full, and the port is blocked.
    Part(usize),
}

/// Why datagrams were lost on this machine already. None of it concerns datagrams to other destinations.
#[derive(Debug, Error)]
pub enum SendError {
    /// The port cannot send there: another family, port 0, or an address beyond loopback.
    #[error("a port open to {bound:?} does not reach `{destination}`")]
    OutOfReach {
        /// Where to.
        destination: SocketAddr,
        /// What the port is open to.
        bound: Bind,
    },
    /// A datagram is larger than the path's MTU; it is never cut into fragments.
    #[error("datagrams of {size} bytes are too large for the path to `{destination}`")]
    TooLarge {
        /// Where to.
        destination: SocketAddr,
        /// The size of a datagram.
        size: usize,
    },
    /// There is no way there at present.
    #[error("no route to `{destination}`: {cause}")]
    NoRoute {
        /// Where to.
        destination: SocketAddr,
        /// The operating system's words.
        cause: io::Error,
    },
    /// A firewall on this machine forbids it.
    #[error("a firewall on this machine forbids datagrams to `{destination}`")]
    Forbidden {
        /// Where to.
        destination: SocketAddr,
    },
    /// Anything else, such as a full queue of the network card.
    #[error("cannot send to `{destination}`: {cause}")]
    Refused {
        /// Where to.
        destination: SocketAddr,
        /// The operating system's words.
        cause: io::Error,
    },
}

/// The socket, and what is known of it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UdpSocket,
    kernel: UdpSocketState,
    bound: Bind,
    address: SocketAddr,
    segmentation: Segmentation,
    pub(super) max_segments: usize,
    /// Whether the kernel's send buffer was full at the last attempt.
    pub(super) blocked: bool,
}

impl Wire {
    pub(super) fn open(wanted: Bind, number: u16) -> io::Result<Self> {
        let (socket, bound) = bind::open(wanted, number)?;
        let kernel = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let address = socket.local_addr()?;
        let supported = kernel.max_gso_segments() > 1;
        let segmentation = if supported { Segmentation::On } else { Segmentation::Unsupported };
        let socket = UdpSocket::from_std(socket);
        Ok(Self { socket, kernel, bound, address, segmentation, max_segments: MAX_SEGMENTS, blocked: false })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn bound(&self) -> Bind {
        self.bound
    }

    pub(super) const fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) const fn unblock(&mut self) {
        self.blocked = false;
    }

    pub(super) const fn turn_off_segmentation(&mut self) {
        self.segmentation = Segmentation::TurnedOff;
    }

    pub(super) fn offloads(&self) -> Offloads {
        Offloads {
            segmentation: self.segmentation,
            receive: self.kernel.gro_segments() > 1,
            receive_buffer: self.kernel.recv_buffer_size(UdpSockRef::from(&self.socket)).unwrap_or(0),
            send_buffer: self.kernel.send_buffer_size(UdpSockRef::from(&self.socket)).unwrap_or(0),
        }
    }

    /// Fills `batch` with what waits; false when nothing did.
    pub(super) fn recv(&self, batch: &mut Batch) -> io::Result<bool> {
        match batch.fill(|buffers, meta| self.kernel.recv(UdpSockRef::from(&self.socket), buffers, meta)) {
            Ok(()) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// Sends datagrams without waiting, in as few system calls as the machine allows.
    pub(super) fn send(&mut self, transmit: &Transmit<'_>) -> Result<Sent, SendError> {
        let Transmit { destination, contents, segment_size } = *transmit;
        if !self.bound.reaches(destination) {
            return Err(SendError::OutOfReach { destination, bound: self.bound });
        }
        let size = if segment_size == 0 { contents.len() } else { segment_size };
        let mut taken = 0;
        loop {
            let rest = contents.get(taken..).unwrap_or_default();
            match self.send_some(destination, rest, size) {
                Ok(bytes) => taken += bytes,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(Sent::Part(taken));
                }
                Err(cause) => return Err(explained(destination, size, cause)),
            }
            if taken >= contents.len() {
                return Ok(Sent::All);
            }
        }
    }

    /// One system call, and what it took. Where the kernel refuses several datagrams at once, the first is sent by
    /// itself: only if that succeeds is it segmentation that is at fault, and not the destination.
    fn send_some(&mut self, destination: SocketAddr, rest: &[u8], size: usize) -> io::Result<usize> {
        let first = rest.get(..size).unwrap_or(rest);
        let several = rest.get(..self.bytes_a_call(size)).unwrap_or(rest);
        if several.len() > first.len() {
            match self.send_once(destination, several, Some(size)) {
                Err(cause) if blames_segmentation(&cause) => {
                    self.send_once(destination, first, None)?;
                    tracing::info!(%cause, "UDP segmentation offload does not work here: it is off");
                    self.segmentation = Segmentation::Refused;
                    return Ok(first.len());
                }
                sent => return sent.map(|()| several.len()),
            }
        }
        self.send_once(destination, first, None).map(|()| first.len())
    }

    fn bytes_a_call(&self, size: usize) -> usize {
        match self.segmentation {
            Segmentation::On => size * self.max_segments.min(MAX_BYTES / size.max(1)).max(1),
            Segmentation::Unsupported | Segmentation::Refused | Segmentation::TurnedOff => size,
        }
    }

    fn send_once(&self, to: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let destination = if self.bound == Bind::Dual { mapped(to) } else { to };
        let transmit = quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.kernel.try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}

/// A port open to both families is an IPv6 socket, and names IPv4 destinations in their mapped form (RFC 4291, 2.5.5.2).
fn mapped(destination: SocketAddr) -> SocketAddr {
    match destination.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), destination.port()).into(),
        IpAddr::V6(_) => destination,
    }
}

/// Network cards without checksum offload answer EIO; old kernels and odd drivers EINVAL.
fn blames_segmentation(cause: &io::Error) -> bool {
    matches!(Errno::from_io_error(cause), Some(Errno::IO | Errno::INVAL))
}

fn explained(destination: SocketAddr, size: usize, cause: io::Error) -> SendError {
    match Errno::from_io_error(&cause) {
        Some(Errno::MSGSIZE) => SendError::TooLarge { destination, size },
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL) => {
            SendError::NoRoute { destination, cause }
        }
        Some(Errno::PERM | Errno::ACCESS) => SendError::Forbidden { destination },
        _ => SendError::Refused { destination, cause },
    }
}
