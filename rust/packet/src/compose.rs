use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;
use ztna_model::{Flow, Protocol};

use crate::checksum::{Sum, checksum};
use crate::icmp::{ECHO, ECHO_REPLY, ECHO_REPLY_V6, ECHO_V6};
use crate::transport::Transport;
use crate::udp::Udp;

/// Why a packet was not written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
pub enum ComposeError {
    /// Nobody may answer this packet: it is an error or a reset itself, or one of its ends is not a single host.
    #[error("this packet must not be answered")]
    Unanswerable,
    /// The flow or the packet speaks something else than what is to be written.
    #[error("the packet speaks another protocol")]
    OtherProtocol,
    /// One end has an IPv4 address and the other an IPv6 address.
    #[error("the addresses are of different families")]
    MixedFamilies,
    /// More than an IP packet can hold.
    #[error("the packet would be longer than IP allows")]
    TooLong,
    /// The buffer is too short.
    #[error("the buffer is too short")]
    NoRoom,
}

/// Writes a UDP datagram into `buffer`, and returns the packet's length.
pub fn datagram(flow: Flow, payload: &[u8], buffer: &mut [u8]) -> Result<usize, ComposeError> {
    if flow.protocol != Protocol::Udp {
        return Err(ComposeError::OtherProtocol);
    }
    let length = u16::try_from(Udp::HEADER + payload.len()).map_err(|_| ComposeError::TooLong)?;
    let udp = Udp { source_port: flow.source.port, destination_port: flow.destination.port };
    let parts = [&udp.write(length)[..], payload];
    compose(flow.source.address, flow.destination.address, Transport::Udp, &parts, buffer)
}

/// Writes an ICMP or ICMPv6 echo into `buffer`, and returns the packet's length: it asks if the identifier stands at the
/// source of `flow`, and else it answers.
pub fn echo(flow: Flow, sequence: u16, payload: &[u8], buffer: &mut [u8]) -> Result<usize, ComposeError> {
    if flow.protocol != Protocol::IcmpEcho {
        return Err(ComposeError::OtherProtocol);
    }
    let (source, destination) = (flow.source.address, flow.destination.address);
    let asks = flow.source.port != 0;
    let kind = match (source.is_ipv4(), asks) {
        (true, true) => ECHO,
        (true, false) => ECHO_REPLY,
        (false, true) => ECHO_V6,
        (false, false) => ECHO_REPLY_V6,
    };
    let [i0, i1] = if asks { flow.source.port } else { flow.destination.port }.to_be_bytes();
    let [s0, s1] = sequence.to_be_bytes();
    let header = [kind, 0, 0, 0, i0, i1, s0, s1];
    compose(source, destination, Transport::icmp_of(source), &[&header, payload], buffer)
}

/// Writes an IP packet whose body is `parts`, a transport header with an open checksum first, and returns its length.
pub(crate) fn compose(
    source: IpAddr,
    destination: IpAddr,
    transport: Transport,
    parts: &[&[u8]],
    buffer: &mut [u8],
) -> Result<usize, ComposeError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let (header, addresses) = match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let header = write_v4(s, d, transport, length)?;
            (put(&header, buffer)?, Sum::of(&header[12..]))
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            let header = write_v6(s, d, transport, length)?;
            (put(&header, buffer)?, Sum::of(&header[8..]))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(ComposeError::MixedFamilies);
        }
    };
    let mut end = header;
    for part in parts {
        end += put(part, buffer.get_mut(end..).ok_or(ComposeError::NoRoom)?)?;
    }
    let body = buffer.get_mut(header..end).ok_or(ComposeError::NoRoom)?;
    set_checksum(body, transport, transport.pseudo_header(addresses, length));
    Ok(end)
}

/// Writes the checksum of the transport header and payload in `body`, whatever stood there before.
pub(crate) fn set_checksum(body: &mut [u8], transport: Transport, pseudo_header: Sum) {
    let at = transport.checksum_at();
    write_at(body, at, &[0, 0]);
    let checksum = Sum::of(body).plus(pseudo_header).checksum();
    write_at(body, at, &transport.written(checksum).to_be_bytes());
}

/// Writes the length of the whole packet into its IP header, and the header's checksum.
pub(crate) fn set_length(
    packet: &mut [u8],
    is_ipv4: bool,
    ip_header: usize,
    total: usize,
) -> Result<(), ComposeError> {
    if !is_ipv4 {
        let body = u16::try_from(total.saturating_sub(40)).map_err(|_| ComposeError::TooLong)?;
        write_at(packet, V6_LENGTH_AT, &body.to_be_bytes());
        return Ok(());
    }
    let total = u16::try_from(total).map_err(|_| ComposeError::TooLong)?;
    let header = packet.get_mut(..ip_header).ok_or(ComposeError::NoRoom)?;
    write_at(header, V4_LENGTH_AT, &total.to_be_bytes());
    write_at(header, V4_CHECKSUM_AT, &[0, 0]);
    let checksum = checksum(header);
    write_at(header, V4_CHECKSUM_AT, &checksum.to_be_bytes());
    Ok(())
}

/// Overwrites what lies `at`, if `bytes` is long enough.
#[inline]
pub(crate) fn write_at<const N: usize>(bytes: &mut [u8], at: usize, new: &[u8; N]) {
    if let Some(old) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *old = *new;
    }
}

/// Copies `bytes` to the beginning of `room`, and returns their length.
pub(crate) fn put(bytes: &[u8], room: &mut [u8]) -> Result<usize, ComposeError> {
    room.get_mut(..bytes.len()).ok_or(ComposeError::NoRoom)?.copy_from_slice(bytes);
    Ok(bytes.len())
}

/// Never to be fragmented, so that the identification may stay 0 (RFC 6864, section 4.1).
fn write_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    transport: Transport,
    body: usize,
) -> Result<[u8; 20], ComposeError> {
    let total = u16::try_from(20 + body).map_err(|_| ComposeError::TooLong)?;
    let [t0, t1] = total.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    let number = transport.number();
    let mut header =
        [0x45, 0, t0, t1, 0, 0, DONT_FRAGMENT, 0, HOPS, number, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let checksum = checksum(&header);
    write_at(&mut header, V4_CHECKSUM_AT, &checksum.to_be_bytes());
    Ok(header)
}

fn write_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    transport: Transport,
    body: usize,
) -> Result<[u8; 40], ComposeError> {
    let body = u16::try_from(body).map_err(|_| ComposeError::TooLong)?;
    let mut header = [0; 40];
    header[0] = 0x60;
    write_at(&mut header, V6_LENGTH_AT, &body.to_be_bytes());
    header[6] = transport.number();
    header[7] = HOPS;
    write_at(&mut header, 8, &source.octets());
    write_at(&mut header, 24, &destination.octets());
    Ok(header)
}

/// Where the identification lies in an IPv4 header.
pub(crate) const V4_IDENTIFICATION_AT: usize = 4;
/// Where the checksum lies in an IPv4 header.
pub(crate) const V4_CHECKSUM_AT: usize = 10;

const V4_LENGTH_AT: usize = 2;
const V6_LENGTH_AT: usize = 4;
const HOPS: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Content, parse};
    use crate::sample::{flow, flow_v4, flow_v6, is_sound};

    #[test]
    fn datagrams() {
        let rows = [
            (flow_v4(Protocol::Udp), 0, Ok(28)),
            (flow_v4(Protocol::Udp), 1, Ok(29)),
            (flow_v6(Protocol::Udp), 5, Ok(53)),
            (flow_v4(Protocol::Udp), 65_507, Ok(65_535)),
            (flow_v4(Protocol::Udp), 65_508, Err(ComposeError::TooLong)),
            (flow_v6(Protocol::Udp), 65_527, Ok(65_575)),
            (flow_v6(Protocol::Udp), 65_528, Err(ComposeError::TooLong)),
            (flow_v4(Protocol::Udp), 70_000, Err(ComposeError::TooLong)),
            (flow_v4(Protocol::Tcp), 0, Err(ComposeError::OtherProtocol)),
            (flow(Protocol::Udp, "10.0.0.1:1", "[2001:2::1]:2"), 0, Err(ComposeError::MixedFamilies)),
        ];
        let mut buffer = vec![0xaa; 66_000];
        for (flow, payload, expected) in rows {
            let payload = vec![0x5a; payload];
            let length = datagram(flow, &payload, &mut buffer);
            assert_eq!(length, expected, "{flow:?}");
            let Ok(length) = length else { continue };
            let packet = parse(&buffer[..length]).unwrap();
            assert_eq!((packet.flow(), packet.payload()), (Some(flow), &payload[..]));
            assert!(is_sound(packet.bytes()));
        }
        assert_eq!(datagram(flow_v4(Protocol::Udp), b"x", &mut [0; 28]), Err(ComposeError::NoRoom));
    }

    #[test]
    fn echoes() {
        for flow in [flow_v4(Protocol::IcmpEcho), flow_v6(Protocol::IcmpEcho)] {
            for flow in [flow, flow.reversed()] {
                let mut buffer = [0xaa; 100];
                let length = echo(flow, 0x0102, b"ping", &mut buffer).unwrap();
                let packet = parse(&buffer[..length]).unwrap();
                assert_eq!((packet.flow(), packet.payload()), (Some(flow), &b"ping"[..]));
                assert!(is_sound(packet.bytes()));
                let Content::Echo(found) = packet.content() else { panic!("{packet:?}") };
                assert_eq!(found.sequence, 0x0102);
            }
        }
        let refused = echo(flow_v4(Protocol::Udp), 0, b"", &mut [0; 100]);
        assert_eq!(refused, Err(ComposeError::OtherProtocol));
    }

    /// 0 would say that there is no checksum, which IPv6 forbids.
    #[test]
    fn a_udp_checksum_is_never_0() {
        let mut found = false;
        for word in 0..=u16::MAX {
            let mut buffer = [0; 50];
            datagram(flow_v6(Protocol::Udp), &word.to_be_bytes(), &mut buffer).unwrap();
            found |= buffer[46..48] == [0xff, 0xff];
            assert_ne!(buffer[46..48], [0, 0]);
        }
        assert!(found);
    }
}
