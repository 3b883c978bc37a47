//! Reads, cuts, joins and answers IP packets (checksums, segments, RST, ICMP).
//!
//! ```text
//!            ┌─ read ──── Packet: flow, flags, payload ─┬─ rewrite   to another flow, in place
//!   bytes ───┤                                          ├─ answer    reset, prohibited, too big
//!            └─ refused   PacketError: why              ├─ cut       one long packet into many
//!                                                       └─ join      many into one long packet
//! ```
//!
//! Nothing here allocates, waits or remembers: bytes come in as slices and go out into the caller's buffers. What
//! hides its ports (fragments, source routes, unknown headers) is not a packet here, so nobody can forget to check.
//!
//! ```
//! use ztna_model::{Flow, Protocol};
//! use ztna_packet::{Content, datagram, parse, refuse};
//!
//! let source = "198.19.0.1:5000".parse::<std::net::SocketAddr>()?.into();
//! let destination = "198.18.0.7:53".parse::<std::net::SocketAddr>()?.into();
//! let flow = Flow { protocol: Protocol::Udp, source, destination };
//!
//! let mut buffer = [0; 1_280];
//! let length = datagram(flow, b"hello", &mut buffer)?;
//! let packet = parse(&buffer[..length])?;
//! assert_eq!(packet.flow(), Some(flow));
//!
//! let mut answer = [0; 1_280];
//! let length = refuse(&packet, &mut answer)?;
//! let Content::IcmpError(error) = parse(&answer[..length])?.content() else { unreachable!() };
//! assert_eq!(error.about, flow);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error; // why a packet is not read
pub use error::PacketError;

mod transport; // what can follow an IP header
mod ip; // the header of either family, down to where the transport begins

mod packet; // a packet that has been read
pub use packet::{Content, Packet, parse};

mod tcp; // ports, numbers and flags
pub use tcp::{Tcp, TcpFlags};

mod udp; // ports
pub use udp::Udp;

mod icmp; // echoes, and errors about other packets
pub use icmp::{Echo, EchoDirection, IcmpError, IcmpErrorKind};

mod checksum; // sums, and their updates
pub use checksum::{Sum, checksum};

mod compose; // packets of our own
pub use compose::{ComposeError, datagram, echo};

mod answer; // to those who may not pass
pub use answer::{probe_flow, prohibit, refuse, reset, reset_flow, too_big};

mod rewrite; // to another flow
pub use rewrite::{RewriteError, rewrite, rewrite_error};

mod clamp; // of the segment size that a SYN announces
pub use clamp::clamp_mss;

mod cut; // in what the parts of a long packet differ
mod segment; // one long packet cut into many, elsewhere
pub use segment::Segments;

mod burst; // one long packet cut into many, where it lies
pub use burst::{Burst, BurstError, Piece, Pieces};

mod virtio; // what a Linux TUN device says ahead of each
pub use virtio::{VIRTIO_HEADER, VIRTIO_NOTHING_LEFT};

mod join; // many packets joined into one
pub use join::{ChecksumDepth, JoinedHeader, Run};

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sample;
