use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// What an IP header says, with its options and extension headers.
#[derive(Clone, Copy)]
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hops: u8,
    pub(crate) transport: Transport,
    /// The length of the header, options and extension headers included: where the transport header begins.
    pub(crate) header: usize,
    /// The length of the packet, as the header announces it.
    pub(crate) total: usize,
}

impl Ip {
    /// Reads the header at the beginning of `bytes`.
    #[inline]
    pub(crate) fn read(bytes: &[u8], extent: Extent) -> Result<Self, PacketError> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => read_v4(bytes, extent),
            Some(6) => read_v6(bytes, extent),
            Some(other) => Err(PacketError::BadVersion(other)),
            None => Err(PacketError::Truncated),
        }
    }
}

#[inline]
fn read_v4(bytes: &[u8], extent: Extent) -> Result<Ip, PacketError> {
    let fixed = bytes.first_chunk::<20>().ok_or(PacketError::Truncated)?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    if header < fixed.len() {
        return Err(PacketError::BadHeaderLength);
    }
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    check_lengths(bytes, extent, header, total)?;
    if u16::from_be_bytes([fixed[6], fixed[7]]) & (MORE_FRAGMENTS | OFFSET) != 0 {
        return Err(PacketError::Fragment);
    }
    check_v4_options(bytes.get(fixed.len()..header).ok_or(PacketError::Truncated)?)?;
    let transport = match fixed[9] {
        TCP => Transport::Tcp,
        UDP => Transport::Udp,
        ICMP => Transport::Icmp,
        other => return Err(PacketError::UnknownTransport(other)),
    };
    let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into();
    let destination = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into();
    Ok(Ip { source, destination, hops: fixed[8], transport, header, total })
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
fn read_v6(bytes: &[u8], extent: Extent) -> Result<Ip, PacketError> {
    let fixed = bytes.first_chunk::<40>().ok_or(PacketError::Truncated)?;
    let total = fixed.len() + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    check_lengths(bytes, extent, fixed.len(), total)?;
    let packet = bytes.get(..total).unwrap_or(bytes);
    let (transport, header) = walk_v6_headers(packet, fixed[6])?;
    let (_, addresses) = fixed.split_at(8);
    let (source, destination) = addresses.split_at(16);
    let octets = |half: &[u8]| half.first_chunk::<16>().copied().map(Ipv6Addr::from);
    let (Some(source), Some(destination)) = (octets(source), octets(destination)) else {
        return Err(PacketError::Truncated);
    };
    Ok(Ip {
        source: source.into(),
        destination: destination.into(),
        hops: fixed[7],
        transport,
        header,
        total,
    })
}

/// Finds what the extension headers of `packet` lead to, and where it begins.
#[inline]
fn walk_v6_headers(packet: &[u8], first: u8) -> Result<(Transport, usize), PacketError> {
    let mut next = first;
    let mut at = 40;
    for _ in 0..=MOST_HEADERS {
        match next {
            TCP => return Ok((Transport::Tcp, at)),
            UDP => return Ok((Transport::Udp, at)),
            ICMPV6 => return Ok((Transport::Icmpv6, at)),
            FRAGMENT => return Err(PacketError::Fragment),
            ROUTING => return Err(PacketError::RoutingHeader),
            HOP_BY_HOP if at != 40 => return Err(PacketError::MisplacedHeader),
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
