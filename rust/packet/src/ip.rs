use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::Sum;
use crate::error::PacketError;
use crate::transport::{ICMP, ICMPV6, TCP, Transport, UDP};

/// How much of a packet is at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Its beginning, as ICMP errors quote it.
    Beginning,
}

/// An IP header, with its options and extension headers.
#[derive(Clone, Copy)]
pub(crate) struct Ip<'a> {
    ends: Ends<'a>,
    pub(crate) hops: u8,
    pub(crate) transport: Transport,
    /// The length of the header, options and extension headers included: where the transport header begins.
    pub(crate) header: usize,
    /// The length of the packet, as the header announces it.
    pub(crate) total: usize,
}

/// Source and destination, left where they lie until they are asked for.
#[derive(Clone, Copy)]
enum Ends<'a> {
    V4(&'a [u8; 4], &'a [u8; 4]),
    V6(&'a [u8; 16], &'a [u8; 16]),
}

impl<'a> Ip<'a> {
    /// Reads the header at the beginning of `bytes`.
    #[inline]
    pub(crate) fn read(bytes: &'a [u8], extent: Extent) -> Result<Self, PacketError> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => read_v4(bytes, extent),
            Some(6) => read_v6(bytes, extent),
            Some(other) => Err(PacketError::BadVersion(other)),
            None => Err(PacketError::Truncated),
        }
    }

    #[inline]
    pub(crate) const fn is_ipv4(&self) -> bool {
        matches!(self.ends, Ends::V4(..))
    }

    #[inline]
    pub(crate) const fn source(&self) -> IpAddr {
        match self.ends {
            Ends::V4(source, _) => IpAddr::V4(Ipv4Addr::from_octets(*source)),
            Ends::V6(source, _) => IpAddr::V6(Ipv6Addr::from_octets(*source)),
        }
    }

    #[inline]
    pub(crate) const fn destination(&self) -> IpAddr {
        match self.ends {
            Ends::V4(_, destination) => IpAddr::V4(Ipv4Addr::from_octets(*destination)),
            Ends::V6(_, destination) => IpAddr::V6(Ipv6Addr::from_octets(*destination)),
        }
    }

    /// The sum of both addresses.
    #[inline]
    pub(crate) fn sum_of_addresses(&self) -> Sum {
        match self.ends {
            Ends::V4(source, destination) => Sum::of(source).plus(Sum::of(destination)),
            Ends::V6(source, destination) => Sum::of(source).plus(Sum::of(destination)),
        }
    }
}

#[inline]
fn read_v4(bytes: &[u8], extent: Extent) -> Result<Ip<'_>, PacketError> {
    let (fixed, rest) = bytes.split_first_chunk::<12>().ok_or(PacketError::Truncated)?;
    let (source, rest) = rest.split_first_chunk::<4>().ok_or(PacketError::Truncated)?;
    let (destination, _) = rest.split_first_chunk::<4>().ok_or(PacketError::Truncated)?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    if header < V4_FIXED {
        return Err(PacketError::BadHeaderLength);
    }
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    check_lengths(bytes, extent, header, total)?;
    if u16::from_be_bytes([fixed[6], fixed[7]]) & (MORE_FRAGMENTS | OFFSET) != 0 {
        return Err(PacketError::Fragment);
    }
    check_v4_options(bytes.get(V4_FIXED..header).ok_or(PacketError::Truncated)?)?;
    let transport = match fixed[9] {
        TCP => Transport::Tcp,
        UDP => Transport::Udp,
        ICMP => Transport::Icmp,
        other => return Err(PacketError::UnknownTransport(other)),
    };
    Ok(Ip { ends: Ends::V4(source, destination), hops: fixed[8], transport, header, total })
}

/// Options are of no interest, but for those that send the packet elsewhere than its header says.
#[inline]
fn check_v4_options(mut options: &[u8]) -> Result<(), PacketError> {
    loop {
        options = match *options {
            [] | [0, ..] => return Ok(()),
            [1, ref rest @ ..] => rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => return Err(PacketError::SourceRoute),
            [_, length @ 2..=u8::MAX, ..] => {
                options.get(usize::from(length)..).ok_or(PacketError::BadOption)?
            }
            [..] => return Err(PacketError::BadOption),
        };
    }
}

#[inline]
fn read_v6(bytes: &[u8], extent: Extent) -> Result<Ip<'_>, PacketError> {
    let (fixed, rest) = bytes.split_first_chunk::<8>().ok_or(PacketError::Truncated)?;
    let (source, rest) = rest.split_first_chunk::<16>().ok_or(PacketError::Truncated)?;
    let (destination, _) = rest.split_first_chunk::<16>().ok_or(PacketError::Truncated)?;
    let total = V6_FIXED + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    check_lengths(bytes, extent, V6_FIXED, total)?;
    let (transport, header) = walk_v6_headers(bytes.get(..total).unwrap_or(bytes), fixed[6])?;
    Ok(Ip { ends: Ends::V6(source, destination), hops: fixed[7], transport, header, total })
}

/// Finds what the extension headers of `packet` lead to, and where it begins.
#[inline]
fn walk_v6_headers(packet: &[u8], first: u8) -> Result<(Transport, usize), PacketError> {
    let mut next = first;
    let mut at = V6_FIXED;
    for _ in 0..=MOST_HEADERS {
        match next {
            TCP => return Ok((Transport::Tcp, at)),
            UDP => return Ok((Transport::Udp, at)),
            ICMPV6 => return Ok((Transport::Icmpv6, at)),
            FRAGMENT => return Err(PacketError::Fragment),
            ROUTING => return Err(PacketError::RoutingHeader),
            HOP_BY_HOP if at != V6_FIXED => return Err(PacketError::MisplacedHeader),
            HOP_BY_HOP | DESTINATION_OPTIONS => {}
            other => return Err(PacketError::UnknownTransport(other)),
        }
        (next, at) = read_v6_options(packet, at)?;
    }
    Err(PacketError::TooManyHeaders)
}

/// Reads the header at `at`: what follows it, and where.
fn read_v6_options(packet: &[u8], at: usize) -> Result<(u8, usize), PacketError> {
    let Some(&[next, length, ..]) = packet.get(at..) else {
        return Err(PacketError::Truncated);
    };
    let end = at + (usize::from(length) + 1) * 8;
    check_v6_options(packet.get(at + 2..end).ok_or(PacketError::Truncated)?)?;
    Ok((next, end))
}

/// Options are of no interest, but for the one that gives the packet another source than its header says.
fn check_v6_options(mut options: &[u8]) -> Result<(), PacketError> {
    loop {
        options = match *options {
            [] => return Ok(()),
            [0, ref rest @ ..] => rest,
            [HOME_ADDRESS, ..] => return Err(PacketError::HomeAddress),
            [_, length, ref rest @ ..] => rest.get(usize::from(length)..).ok_or(PacketError::BadOption)?,
            [_] => return Err(PacketError::BadOption),
        };
    }
}

#[inline]
fn check_lengths(bytes: &[u8], extent: Extent, header: usize, total: usize) -> Result<(), PacketError> {
    if total < header {
        return Err(PacketError::LengthMismatch);
    }
    match extent {
        Extent::Whole if bytes.len() < total => Err(PacketError::Truncated),
        Extent::Whole | Extent::Beginning => Ok(()),
    }
}

const V4_FIXED: usize = 20;
const V6_FIXED: usize = 40;

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const HOME_ADDRESS: u8 = 0xc9;
/// Options for every hop and for the destination are all that is left once routing and fragments are refused.
const MOST_HEADERS: usize = 3;
