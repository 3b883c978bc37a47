use std::fmt;
use std::net::IpAddr;

use ztna_model::{Endpoint, Flow, Protocol};

use crate::checksum::Sum;
use crate::error::PacketError;
use crate::icmp::{self, Echo, IcmpError};
use crate::ip::{Extent, Ip};
use crate::tcp::Tcp;
use crate::transport::Transport;
use crate::udp::Udp;

/// An IP packet read down to its ports, with nothing in it that could hide them.
///
/// It borrows the bytes that it was read from, without those that follow the length in its header.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    ip: Ip<'a>,
    body: Body<'a>,
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp(Udp),
    /// An ICMP or ICMPv6 echo.
    Echo(Echo),
    /// An ICMP or ICMPv6 error about another packet.
    IcmpError(IcmpError),
}

/// What follows the IP header, with the lengths of its own header and of all that its checksum covers.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) header: usize,
    pub(crate) length: usize,
}

/// What a packet carries, read as far as every packet must be.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Tcp(&'a [u8; 20]),
    Udp(&'a [u8; Udp::HEADER]),
    Echo(Echo),
    IcmpError(IcmpError),
}

/// Where the parts of a packet lie, and what the checksums of others like it need: all that outlives its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) is_ipv4: bool,
    /// The length of the IP header, with its options and extension headers.
    pub(crate) ip_header: usize,
    pub(crate) transport: Transport,
    /// The sum of both addresses.
    pub(crate) addresses: Sum,
    /// The length of everything ahead of the payload.
    pub(crate) header: usize,
    /// Where what the transport's checksum covers ends.
    pub(crate) end: usize,
}

/// Reads the packet at the beginning of `bytes`.
///
/// Fragments, source routes, routing headers and whatever else could hide ports or change the ends are errors.
/// Checksums are not looked at: see [`Packet::checksums_hold`].
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, PacketError> {
    let ip = Ip::read(bytes, Extent::Whole)?;
    let bytes = bytes.get(..ip.total).ok_or(PacketError::Truncated)?;
    let body = bytes.get(ip.header..).ok_or(PacketError::Truncated)?;
    let body = match ip.transport {
        Transport::Tcp => Tcp::find(body)?,
        Transport::Udp => Udp::find(body)?,
        Transport::Icmp | Transport::Icmpv6 => icmp::find(&ip, body)?,
    };
    Ok(Packet { bytes, ip, body })
}

impl<'a> Packet<'a> {
    /// The whole packet, from its IP header on.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What it carries.
    #[inline]
    pub const fn content(&self) -> Content {
        match self.body.kind {
            Kind::Tcp(fixed) => Content::Tcp(Tcp::read(fixed)),
            Kind::Udp(header) => Content::Udp(Udp::read(header)),
            Kind::Echo(echo) => Content::Echo(echo),
            Kind::IcmpError(error) => Content::IcmpError(error),
        }
    }

    /// The address that it comes from.
    #[inline]
    pub const fn source(&self) -> IpAddr {
        self.ip.source()
    }

    /// The address that it goes to.
    #[inline]
    pub const fn destination(&self) -> IpAddr {
        self.ip.destination()
    }

    /// How many more hops it may make: the time to live, or the hop limit.
    #[inline]
    pub const fn hops(&self) -> u8 {
        self.ip.hops
    }

    /// The flow that it belongs to. An ICMP error belongs to none: it is about one ([`IcmpError::about`]).
    #[inline]
    pub const fn flow(&self) -> Option<Flow> {
        let (protocol, source, destination) = match self.content() {
            Content::Tcp(tcp) => (Protocol::Tcp, tcp.source_port, tcp.destination_port),
            Content::Udp(udp) => (Protocol::Udp, udp.source_port, udp.destination_port),
            Content::Echo(echo) => (Protocol::IcmpEcho, echo.source_port(), echo.destination_port()),
            Content::IcmpError(_) => return None,
        };
        Some(Flow {
            protocol,
            source: Endpoint { address: self.ip.source(), port: source },
            destination: Endpoint { address: self.ip.destination(), port: destination },
        })
    }

    /// What the transport header is followed by: the data of applications, or the packet that an error quotes.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.covered().get(self.body.header..).unwrap_or_default()
    }

    /// Whether the checksums of the IP header and of what it carries are right. IPv4 lets UDP do without one.
    #[inline]
    pub fn checksums_hold(&self) -> bool {
        self.header_checksum_holds()
            && (self.transport_checksum_holds() || self.lacks_checksum() && self.ip.is_ipv4())
    }

    #[inline]
    pub(crate) fn header_checksum_holds(&self) -> bool {
        !self.ip.is_ipv4() || Sum::of(self.ip_header()).value() == u16::MAX
    }

    #[inline]
    fn transport_checksum_holds(&self) -> bool {
        let sum = Sum::of(self.covered()).plus(self.pseudo_header());
        sum.value() == u16::MAX && !self.lacks_checksum()
    }

    /// Whether this is UDP without a checksum.
    #[inline]
    fn lacks_checksum(&self) -> bool {
        matches!(self.body.kind, Kind::Udp([.., 0, 0]))
    }

    /// What the transport's checksum covers besides [`Packet::covered`].
    #[inline]
    pub(crate) fn pseudo_header(&self) -> Sum {
        self.ip.transport.pseudo_header(self.ip.sum_of_addresses(), self.body.length)
    }

    /// The transport header and the payload.
    #[inline]
    pub(crate) fn covered(&self) -> &'a [u8] {
        self.bytes.get(self.ip.header..self.ip.header + self.body.length).unwrap_or_default()
    }

    /// The IP header, with its options and extension headers.
    #[inline]
    pub(crate) fn ip_header(&self) -> &'a [u8] {
        self.bytes.get(..self.ip.header).unwrap_or_default()
    }

    /// Everything ahead of the payload.
    #[inline]
    pub(crate) fn header(&self) -> &'a [u8] {
        self.bytes.get(..self.ip.header + self.body.header).unwrap_or_default()
    }

    /// The transport header, with its options.
    #[inline]
    pub(crate) fn transport_header(&self) -> &'a [u8] {
        self.covered().get(..self.body.header).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        Layout {
            is_ipv4: self.ip.is_ipv4(),
            ip_header: self.ip.header,
            transport: self.ip.transport,
            addresses: self.ip.sum_of_addresses(),
            header: self.ip.header + self.body.header,
            end: self.ip.header + self.body.length,
        }
    }

    #[inline]
    pub(crate) const fn ip(&self) -> &Ip<'a> {
        &self.ip
    }
}

impl fmt::Debug for Packet<'_> {
    /// Shows the headers, never the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, destination) = (self.ip.source(), self.ip.destination());
        write!(f, "{source} > {destination}, {:?}, {} bytes", self.content(), self.bytes.len())
    }
}
