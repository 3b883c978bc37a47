use ztna_model::{Endpoint, Flow, Protocol};

use crate::error::PacketError;
use crate::ip::{Extent, Ip};
use crate::packet::{Body, Kind};
use crate::transport::Transport;

/// The header of an echo message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Whether it asks or answers.
    pub direction: EchoDirection,
    /// Chosen by whoever asks; the answer repeats it.
    pub identifier: u16,
    /// Chosen by whoever asks; the answer repeats it.
    pub sequence: u16,
}

/// Whether an echo message asks or answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EchoDirection {
    /// It asks.
    Request,
    /// It answers.
    Reply,
}

/// An ICMP error, which speaks about a packet that its receiver has sent.
///
/// Anybody can send one: believe it only if `about` is a flow that lives, seen from its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: IcmpErrorKind,
    /// The flow of the packet that it quotes. Its source is the address that the error goes to.
    pub about: Flow,
    /// The sequence number of the TCP segment that it quotes: one that is in flight, if the error is genuine
    /// (RFC 5927, section 4.1).
    pub sequence: Option<u32>,
}

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpErrorKind {
    /// The packet did not get there.
    Unreachable {
        /// Why: what it means differs between ICMP and ICMPv6.
        code: u8,
    },
    /// The packet was too big for a link on its way.
    TooBig {
        /// The largest packet that fits, in bytes; 0 if unsaid.
        mtu: u32,
    },
    /// The packet has made too many hops.
    TimeExceeded,
    /// A header made no sense to somebody.
    ParameterProblem,
}

impl Echo {
    /// The identifier if the sender asks, else 0.
    pub(crate) const fn source_port(&self) -> u16 {
        match self.direction {
            EchoDirection::Request => self.identifier,
            EchoDirection::Reply => 0,
        }
    }

    /// The identifier if the receiver has asked, else 0.
    pub(crate) const fn destination_port(&self) -> u16 {
        match self.direction {
            EchoDirection::Request => 0,
            EchoDirection::Reply => self.identifier,
        }
    }
}

/// Reads an ICMP or ICMPv6 message.
pub(crate) fn find<'a>(ip: &Ip<'_>, body: &'a [u8]) -> Result<Body<'a>, PacketError> {
    let (header, quoted) = body.split_first_chunk::<HEADER>().ok_or(PacketError::Truncated)?;
    let kind = match read_echo(ip.transport, header) {
        Some(echo) => Kind::Echo(echo),
        None => Kind::IcmpError(read_error(ip, header, quoted)?),
    };
    Ok(Body { kind, header: HEADER, length: body.len() })
}

fn read_echo(transport: Transport, header: &[u8; HEADER]) -> Option<Echo> {
    let [kind, 0, _, _, i0, i1, s0, s1] = *header else { return None };
    let direction = match (transport, kind) {
        (Transport::Icmp, ECHO) | (Transport::Icmpv6, ECHO_V6) => EchoDirection::Request,
        (Transport::Icmp, ECHO_REPLY) | (Transport::Icmpv6, ECHO_REPLY_V6) => EchoDirection::Reply,
        (Transport::Icmp | Transport::Icmpv6 | Transport::Tcp | Transport::Udp, _) => return None,
    };
    let (identifier, sequence) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([s0, s1]));
    Some(Echo { direction, identifier, sequence })
}

fn read_error(ip: &Ip<'_>, header: &[u8; HEADER], quoted: &[u8]) -> Result<IcmpError, PacketError> {
    let kind = match ip.transport {
        Transport::Icmp => read_kind(header),
        Transport::Icmpv6 => read_kind_v6(header),
        Transport::Tcp | Transport::Udp => None,
    };
    let kind = kind.ok_or(PacketError::UnknownIcmp(header[0]))?;
    let inner = Ip::read(quoted, Extent::Beginning)?;
    if inner.source() != ip.destination() {
        return Err(PacketError::QuotesAnother);
    }
    let body = quoted.get(inner.header..inner.total.min(quoted.len())).ok_or(PacketError::Truncated)?;
    let (about, sequence) = read_quoted(&inner, body)?;
    Ok(IcmpError { kind, about, sequence })
}

/// Redirects and source quenches are unknown on purpose: nobody in a tunnel has routes to give.
fn read_kind(header: &[u8; HEADER]) -> Option<IcmpErrorKind> {
    match *header {
        [UNREACHABLE, FRAGMENTATION_NEEDED, _, _, _, _, m0, m1] => {
            Some(IcmpErrorKind::TooBig { mtu: u16::from_be_bytes([m0, m1]).into() })
        }
        [UNREACHABLE, code, ..] => Some(IcmpErrorKind::Unreachable { code }),
        [TIME_EXCEEDED, ..] => Some(IcmpErrorKind::TimeExceeded),
        [PARAMETER_PROBLEM, ..] => Some(IcmpErrorKind::ParameterProblem),
        _ => None,
    }
}

fn read_kind_v6(header: &[u8; HEADER]) -> Option<IcmpErrorKind> {
    match *header {
        [UNREACHABLE_V6, code, ..] => Some(IcmpErrorKind::Unreachable { code }),
        [TOO_BIG_V6, _, _, _, m @ ..] => Some(IcmpErrorKind::TooBig { mtu: u32::from_be_bytes(m) }),
        [TIME_EXCEEDED_V6, ..] => Some(IcmpErrorKind::TimeExceeded),
        [PARAMETER_PROBLEM_V6, ..] => Some(IcmpErrorKind::ParameterProblem),
        _ => None,
    }
}

/// Reads the flow from the first eight bytes of the transport header: all that a quote must hold (RFC 792).
fn read_quoted(inner: &Ip<'_>, body: &[u8]) -> Result<(Flow, Option<u32>), PacketError> {
    let header = body.first_chunk::<HEADER>().ok_or(PacketError::Truncated)?;
    let [s0, s1, d0, d1, sequence @ ..] = *header;
    let ports = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let (protocol, (source, destination)) = match inner.transport {
        Transport::Tcp => (Protocol::Tcp, ports),
        Transport::Udp => (Protocol::Udp, ports),
        Transport::Icmp | Transport::Icmpv6 => {
            let echo = read_echo(inner.transport, header).ok_or(PacketError::QuotesIcmp)?;
            (Protocol::IcmpEcho, (echo.source_port(), echo.destination_port()))
        }
    };
    let source = Endpoint { address: inner.source(), port: source };
    let destination = Endpoint { address: inner.destination(), port: destination };
    let sequence = (protocol == Protocol::Tcp).then_some(u32::from_be_bytes(sequence));
    Ok((Flow { protocol, source, destination }, sequence))
}

/// The length of every header that is read here.
pub(crate) const HEADER: usize = 8;

pub(crate) const ECHO_REPLY: u8 = 0;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const ECHO: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
pub(crate) const FRAGMENTATION_NEEDED: u8 = 4;
pub(crate) const PROHIBITED: u8 = 13;

pub(crate) const UNREACHABLE_V6: u8 = 1;
pub(crate) const TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;
const PARAMETER_PROBLEM_V6: u8 = 4;
pub(crate) const ECHO_V6: u8 = 128;
pub(crate) const ECHO_REPLY_V6: u8 = 129;
pub(crate) const PROHIBITED_V6: u8 = 1;
