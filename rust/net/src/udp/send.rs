use std::io;
use std::net::{IpAddr, SocketAddr};

use quinn_udp::UdpSockRef;
use rustix::io::Errno;
use thiserror::Error;

use super::gso::MAX_BYTES;
use super::{Bind, Segmentation, UdpPort};

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

impl UdpPort {
    /// Sends datagrams without waiting, in as few system calls as the machine allows.
    pub fn send(&mut self, transmit: &Transmit<'_>) -> Result<Sent, SendError> {
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
