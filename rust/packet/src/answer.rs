use std::net::IpAddr;

use ztna_model::{Flow, Protocol};

use crate::compose::{ComposeError, compose};
use crate::icmp::{
    self, FRAGMENTATION_NEEDED, PROHIBITED, PROHIBITED_V6, TOO_BIG_V6, UNREACHABLE, UNREACHABLE_V6,
};
use crate::packet::{Content, Packet};
use crate::tcp::{Tcp, TcpFlags};
use crate::transport::Transport;

/// Answers a packet that is not let through: a reset to TCP, *administratively prohibited* to everything else.
///
/// The answer is written into `buffer` and appears to come from where the packet was going. Returns its length.
pub fn refuse(packet: &Packet<'_>, buffer: &mut [u8]) -> Result<usize, ComposeError> {
    match packet.content() {
        Content::Tcp(_) => reset(packet, buffer),
        Content::Udp(_) | Content::Echo(_) | Content::IcmpError(_) => prohibit(packet, buffer),
    }
}

/// Answers a TCP segment with the reset that a closed port gives (RFC 9293, section 3.10.7.1).
pub fn reset(packet: &Packet<'_>, buffer: &mut [u8]) -> Result<usize, ComposeError> {
    let Content::Tcp(tcp) = packet.content() else {
        return Err(ComposeError::OtherProtocol);
    };
    if tcp.flags.has(TcpFlags::RST) || !is_between_hosts(packet) {
        return Err(ComposeError::Unanswerable);
    }
    let (sequence, acknowledgement) = if tcp.flags.has(TcpFlags::ACK) {
        (tcp.acknowledgement, None)
    } else {
        (0, Some(tcp.sequence.wrapping_add(sequence_length(tcp, packet.payload()))))
    };
    let (from, to) = (packet.destination(), packet.source());
    write_reset(from, to, (tcp.destination_port, tcp.source_port), sequence, acknowledgement, buffer)
}

/// Writes a reset that ends `flow` at its destination.
///
/// `sequence` must be the very number that the destination expects next from the source (RFC 5961, section 3.2).
/// A destination that is still waiting for an answer to its SYN believes a reset only with the `acknowledgement` of
/// that SYN.
pub fn reset_flow(
    flow: Flow,
    sequence: u32,
    acknowledgement: Option<u32>,
    buffer: &mut [u8],
) -> Result<usize, ComposeError> {
    if flow.protocol != Protocol::Tcp {
        return Err(ComposeError::OtherProtocol);
    }
    let (from, to) = (flow.source, flow.destination);
    write_reset(from.address, to.address, (from.port, to.port), sequence, acknowledgement, buffer)
}

/// Writes a bare acknowledgement of nothing, for the destination of `flow`: whatever connection it has there takes no
/// notice but to answer with the numbers that it stands at (RFC 9293, section 3.10.7.4). [`reset`] of that answer ends
/// it, which [`reset_flow`] cannot without those numbers.
pub fn probe_flow(flow: Flow, buffer: &mut [u8]) -> Result<usize, ComposeError> {
    if flow.protocol != Protocol::Tcp {
        return Err(ComposeError::OtherProtocol);
    }
    let (from, to) = (flow.source, flow.destination);
    let (source_port, destination_port) = (from.port, to.port);
    let flags = TcpFlags::ACK;
    let tcp = Tcp { source_port, destination_port, sequence: 0, acknowledgement: 0, flags, window: 0 };
    compose(from.address, to.address, Transport::Tcp, &[&tcp.write()], buffer)
}

/// Answers a packet with *administratively prohibited*: ICMP type 3, code 13 (RFC 1812), or ICMPv6 type 1, code 1.
pub fn prohibit(packet: &Packet<'_>, buffer: &mut [u8]) -> Result<usize, ComposeError> {
    let header = match packet.source() {
        IpAddr::V4(_) => [UNREACHABLE, PROHIBITED, 0, 0, 0, 0, 0, 0],
        IpAddr::V6(_) => [UNREACHABLE_V6, PROHIBITED_V6, 0, 0, 0, 0, 0, 0],
    };
    write_error(packet, header, buffer)
}

/// Answers a packet that does not fit with the largest `mtu` that does: ICMP *fragmentation needed* (RFC 1191), or
/// ICMPv6 *packet too big*.
///
/// IPv4 gets it whether or not the packet may be fragmented, since fragments are not let through.
pub fn too_big(packet: &Packet<'_>, mtu: u16, buffer: &mut [u8]) -> Result<usize, ComposeError> {
    let [m0, m1] = mtu.to_be_bytes();
    let header = match packet.source() {
        IpAddr::V4(_) => [UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, m0, m1],
        IpAddr::V6(_) => [TOO_BIG_V6, 0, 0, 0, 0, 0, m0, m1],
    };
    write_error(packet, header, buffer)
}

fn write_error(
    packet: &Packet<'_>,
    header: [u8; icmp::HEADER],
    buffer: &mut [u8],
) -> Result<usize, ComposeError> {
    if matches!(packet.content(), Content::IcmpError(_)) || !is_between_hosts(packet) {
        return Err(ComposeError::Unanswerable);
    }
    let most = match packet.source() {
        IpAddr::V4(_) => MOST_ERROR - 20 - header.len(),
        IpAddr::V6(_) => MOST_ERROR_V6 - 40 - header.len(),
    };
    let quote = packet.bytes().get(..most).unwrap_or(packet.bytes());
    let transport = Transport::icmp_of(packet.source());
    compose(packet.destination(), packet.source(), transport, &[&header, quote], buffer)
}

fn write_reset(
    from: IpAddr,
    to: IpAddr,
    (source_port, destination_port): (u16, u16),
    sequence: u32,
    acknowledgement: Option<u32>,
    buffer: &mut [u8],
) -> Result<usize, ComposeError> {
    let flags = match acknowledgement {
        Some(_) => TcpFlags::RST.with(TcpFlags::ACK),
        None => TcpFlags::RST,
    };
    let acknowledgement = acknowledgement.unwrap_or_default();
    let tcp = Tcp { source_port, destination_port, sequence, acknowledgement, flags, window: 0 };
    compose(from, to, Transport::Tcp, &[&tcp.write()], buffer)
}

/// How far a segment moves the sequence number on: SYN and FIN count as a byte each.
fn sequence_length(tcp: Tcp, payload: &[u8]) -> u32 {
    let data = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    data + u32::from(tcp.flags.has(TcpFlags::SYN)) + u32::from(tcp.flags.has(TcpFlags::FIN))
}

/// Whether a packet may be answered at all (RFC 1122, section 3.2.2; RFC 4443, section 2.4). Which addresses are the
/// broadcast addresses of a subnet cannot be seen from here.
fn is_between_hosts(packet: &Packet<'_>) -> bool {
    is_one_host(packet.source()) && is_one_host(packet.destination())
}

fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets(), [0 | 127 | FIRST_MULTICAST.., ..]),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast(),
    }
}

/// Multicast is 224/4, what is above is reserved, and broadcast is its end.
const FIRST_MULTICAST: u8 = 224;
/// The longest ICMP error (RFC 1812, section 4.3.2.3).
const MOST_ERROR: usize = 576;
/// The longest ICMPv6 error: the smallest MTU of IPv6 (RFC 4443, section 2.4).
const MOST_ERROR_V6: usize = 1280;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::parse;
    use crate::sample::{self, flow, flow_v4, flow_v6, is_sound, segment};

    const ACK: TcpFlags = TcpFlags::ACK;
    const SYN: TcpFlags = TcpFlags::SYN;
    const FIN: TcpFlags = TcpFlags::FIN;
    const RST: TcpFlags = TcpFlags::RST;

    /// RFC 9293, section 3.10.7.1: `<SEQ=SEG.ACK><CTL=RST>`, or `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`.
    #[test]
    fn resets() {
        let rows = [
            (SYN, &b""[..], (0, 101, RST.with(ACK))),
            (SYN, b"early", (0, 106, RST.with(ACK))),
            (SYN.with(FIN), b"", (0, 102, RST.with(ACK))),
            (TcpFlags::default(), b"data", (0, 104, RST.with(ACK))),
            (FIN, b"data", (0, 105, RST.with(ACK))),
            (ACK, b"data", (200, 0, RST)),
            (SYN.with(ACK), b"", (200, 0, RST)),
            (FIN.with(ACK), b"", (200, 0, RST)),
        ];
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            for (flags, payload, expected) in rows {
                let bytes = sample::tcp(flow, segment(100, 200, flags), &[], payload);
                let found = tcp_of(&answered(&bytes, refuse).unwrap(), flow.reversed());
                assert_eq!((found.sequence, found.acknowledgement, found.flags), expected, "{flags:?}");
            }
        }
        let last = sample::tcp(flow_v4(Protocol::Tcp), segment(u32::MAX, 0, SYN), &[], b"");
        assert_eq!(
            tcp_of(&answered(&last, reset).unwrap(), flow_v4(Protocol::Tcp).reversed()).acknowledgement,
            0
        );
    }

    #[test]
    fn a_reset_is_not_answered() {
        for flags in [RST, RST.with(ACK), RST.with(SYN)] {
            let bytes = sample::tcp(flow_v4(Protocol::Tcp), segment(100, 200, flags), &[], b"");
            assert_eq!(answered(&bytes, refuse), Err(ComposeError::Unanswerable), "{flags:?}");
        }
        let datagram = sample::packet(flow_v4(Protocol::Udp), b"");
        assert_eq!(answered(&datagram, reset), Err(ComposeError::OtherProtocol));
    }

    #[test]
    fn a_live_flow_is_reset_at_its_destination() {
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            for (acknowledgement, flags) in [(None, RST), (Some(9), RST.with(ACK))] {
                let mut buffer = [0; 60];
                let length = reset_flow(flow, 7, acknowledgement, &mut buffer).unwrap();
                let tcp = tcp_of(&buffer[..length], flow);
                assert_eq!((tcp.sequence, tcp.flags), (7, flags));
                assert_eq!(tcp.acknowledgement, acknowledgement.unwrap_or(0));
            }
        }
        let other = reset_flow(flow_v4(Protocol::Udp), 7, None, &mut [0; 60]);
        assert_eq!(other, Err(ComposeError::OtherProtocol));
    }

    #[test]
    fn refusals_quote_as_much_as_they_may() {
        let rows = [
            (flow_v4(Protocol::Udp), 0, 56),
            (flow_v4(Protocol::IcmpEcho), 100, 156),
            (flow_v4(Protocol::Udp), 520, 576),
            (flow_v4(Protocol::Udp), 521, 576),
            (flow_v4(Protocol::Udp), 1_400, 576),
            (flow_v6(Protocol::Udp), 0, 96),
            (flow_v6(Protocol::IcmpEcho), 1_184, 1_280),
            (flow_v6(Protocol::Udp), 1_185, 1_280),
            (flow_v6(Protocol::Udp), 1_400, 1_280),
        ];
        for (flow, payload, expected) in rows {
            let bytes = sample::packet(flow, &vec![7; payload]);
            let answer = answered(&bytes, refuse).unwrap();
            assert_eq!(answer.len(), expected, "{flow:?} {payload}");
            let header = if flow.source.address.is_ipv4() { 20 } else { 40 };
            let code: &[u8] = if header == 20 { &[3, 13] } else { &[1, 1] };
            assert_eq!(&answer[header..header + 2], code);
            assert!(bytes.starts_with(&answer[header + 8..]));
        }
    }

    #[test]
    fn too_big_says_what_fits() {
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Udp)] {
            let bytes = sample::packet(flow, &[0; 1_400]);
            let answer = answered(&bytes, |packet, buffer| too_big(packet, 1_280, buffer)).unwrap();
            let Content::IcmpError(error) = parse(&answer).unwrap().content() else { panic!() };
            assert_eq!(error.kind, icmp::IcmpErrorKind::TooBig { mtu: 1_280 });
            assert_eq!(error.about, flow);
        }
    }

    #[test]
    fn what_may_not_be_answered_is_not() {
        let ends = [
            ("0.0.0.0:1", "198.18.0.7:2"),
            ("0.1.2.3:1", "198.18.0.7:2"),
            ("127.0.0.1:1", "198.18.0.7:2"),
            ("224.0.0.1:1", "198.18.0.7:2"),
            ("240.0.0.1:1", "198.18.0.7:2"),
            ("255.255.255.255:1", "198.18.0.7:2"),
            ("198.19.0.1:1", "224.0.0.251:5353"),
            ("198.19.0.1:1", "239.255.255.250:1900"),
            ("198.19.0.1:1", "255.255.255.255:67"),
            ("[::]:1", "[2001:2:0:1::7]:2"),
            ("[::1]:1", "[2001:2:0:1::7]:2"),
            ("[ff02::1]:1", "[2001:2:0:1::7]:2"),
            ("[2001:2::1]:1", "[ff02::fb]:5353"),
        ];
        for (source, destination) in ends {
            for protocol in sample::PROTOCOLS {
                let mut flow = flow(protocol, source, destination);
                flow.destination.port =
                    if protocol == Protocol::IcmpEcho { 0 } else { flow.destination.port };
                let bytes = sample::packet(flow, b"data");
                for answer in [refuse, prohibit, |packet: &Packet<'_>, buffer: &mut [u8]| {
                    too_big(packet, 1_280, buffer)
                }] {
                    assert_eq!(answered(&bytes, answer), Err(ComposeError::Unanswerable), "{flow:?}");
                }
            }
        }
    }

    #[test]
    fn an_icmp_error_is_not_answered() {
        for (flow, kind) in [(flow_v4(Protocol::Udp), [3, 3]), (flow_v6(Protocol::Udp), [1, 4])] {
            let quoted = sample::packet(flow.reversed(), b"data");
            let bytes = sample::error(flow, kind, [0; 4], &quoted);
            assert!(is_sound(&bytes));
            assert_eq!(answered(&bytes, refuse), Err(ComposeError::Unanswerable));
        }
    }

    #[test]
    fn a_probe_is_a_segment_that_changes_nothing() {
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            let mut buffer = [0xaa; 100];
            let length = probe_flow(flow, &mut buffer).unwrap();
            let tcp = tcp_of(&buffer[..length], flow);
            assert_eq!((tcp.flags, tcp.sequence, tcp.acknowledgement), (TcpFlags::ACK, 0, 0));
            let (udp, room) = (Flow { protocol: Protocol::Udp, ..flow }, &mut [0; 100]);
            assert_eq!(probe_flow(udp, room), Err(ComposeError::OtherProtocol));
        }
    }

    #[test]
    fn a_short_buffer_is_an_error() {
        for protocol in sample::PROTOCOLS {
            for flow in [flow_v4(protocol), flow_v6(protocol)] {
                let bytes = sample::packet(flow, b"data");
                let needed = answered(&bytes, refuse).unwrap().len();
                for room in 0..needed {
                    let result = refuse(&parse(&bytes).unwrap(), &mut vec![0; room]);
                    assert_eq!(result, Err(ComposeError::NoRoom), "{room} of {needed}");
                }
            }
        }
    }

    /// The answer to `bytes`, checked by an independent library.
    fn answered(
        bytes: &[u8],
        answer: impl Fn(&Packet<'_>, &mut [u8]) -> Result<usize, ComposeError>,
    ) -> Result<Vec<u8>, ComposeError> {
        let mut buffer = vec![0xaa; 2_000];
        let length = answer(&parse(bytes).unwrap(), &mut buffer)?;
        buffer.truncate(length);
        assert!(is_sound(&buffer));
        Ok(buffer)
    }

    fn tcp_of(bytes: &[u8], flow: Flow) -> Tcp {
        assert!(is_sound(bytes));
        let packet = parse(bytes).unwrap();
        assert_eq!((packet.flow(), packet.payload()), (Some(flow), &[][..]));
        match packet.content() {
            Content::Tcp(tcp) => tcp,
            Content::Udp(_) | Content::Echo(_) | Content::IcmpError(_) => panic!("{packet:?}"),
        }
    }
}
