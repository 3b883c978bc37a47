use std::net::IpAddr;

use thiserror::Error;
use ztna_model::{Flow, Protocol};

use crate::checksum::Sum;
use crate::compose::{V4_CHECKSUM_AT, write_at};
use crate::error::PacketError;
use crate::icmp::{self, ECHO, ECHO_V6};
use crate::ip::{Extent, Ip};
use crate::packet::{Content, parse};
use crate::transport::Transport;

/// Why a packet was left as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
pub enum RewriteError {
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] PacketError),
    /// The new addresses are not both of the packet's family.
    #[error("the new addresses are not of the packet's family")]
    OtherFamily,
    /// The new flow speaks another protocol than the packet.
    #[error("the new flow speaks another protocol than the packet")]
    OtherProtocol,
    /// It is an ICMP error where a packet of a flow was asked for, or the other way round.
    #[error("the packet is of another kind than was asked for")]
    OtherKind,
}

/// Moves a packet to another flow in place: both addresses and both ports, or the identifier of an echo.
///
/// Checksums are updated, not made anew: a packet that arrived damaged stays recognisable as such (RFC 3022,
/// section 4.2).
pub fn rewrite(bytes: &mut [u8], to: Flow) -> Result<(), RewriteError> {
    let packet = parse(bytes)?;
    let flow = packet.flow().ok_or(RewriteError::OtherKind)?;
    check(flow, to)?;
    let (at, transport) = (packet.ip().header, packet.ip().transport);
    replace_ends(bytes, at, transport, to);
    Ok(())
}

/// Moves an ICMP error to another flow in place, the packet that it quotes included: the error then comes from
/// `from`, is about `about`, and goes to the source of `about`.
pub fn rewrite_error(bytes: &mut [u8], from: IpAddr, about: Flow) -> Result<(), RewriteError> {
    let packet = parse(bytes)?;
    let Content::IcmpError(error) = packet.content() else {
        return Err(RewriteError::OtherKind);
    };
    check(error.about, about)?;
    if from.is_ipv4() != about.source.address.is_ipv4() {
        return Err(RewriteError::OtherFamily);
    }
    let (at, transport, total) = (packet.ip().header, packet.ip().transport, packet.ip().total);
    let inner = Ip::read(packet.payload(), Extent::Beginning)?;
    let (inner_at, inner_transport) = (inner.header, inner.transport);
    let quote = bytes.get_mut(at + icmp::HEADER..total).unwrap_or_default();
    let quoted = replace_ends(quote, inner_at, inner_transport, about);
    let addresses = replace_addresses(bytes, from, about.source.address);
    let covered = if transport.covers_addresses() { quoted.plus(addresses) } else { quoted };
    update_checksum(bytes, at, transport, covered);
    Ok(())
}

fn check(from: Flow, to: Flow) -> Result<(), RewriteError> {
    let is_ipv4 = from.source.address.is_ipv4();
    if to.source.address.is_ipv4() != is_ipv4 || to.destination.address.is_ipv4() != is_ipv4 {
        return Err(RewriteError::OtherFamily);
    }
    if from.protocol == to.protocol { Ok(()) } else { Err(RewriteError::OtherProtocol) }
}

/// Replaces addresses, and ports in the transport header that begins `at`. Returns the change of the sum of all bytes.
fn replace_ends(bytes: &mut [u8], at: usize, transport: Transport, to: Flow) -> Sum {
    let ports = match to.protocol {
        Protocol::Tcp | Protocol::Udp => {
            let source = replace(bytes, at, &to.source.port.to_be_bytes());
            source.plus(replace(bytes, at + 2, &to.destination.port.to_be_bytes()))
        }
        Protocol::IcmpEcho => {
            let asks = matches!(bytes.get(at), Some(&(ECHO | ECHO_V6)));
            let identifier = if asks { to.source.port } else { to.destination.port };
            replace(bytes, at + 4, &identifier.to_be_bytes())
        }
    };
    let addresses = replace_addresses(bytes, to.source.address, to.destination.address);
    let covered = if transport.covers_addresses() { ports.plus(addresses) } else { ports };
    let checksum = update_checksum(bytes, at, transport, covered);
    // The checksum of an IPv4 header outweighs the change of its addresses.
    let header = if to.source.address.is_ipv4() { Sum::ZERO } else { addresses };
    header.plus(ports).plus(checksum)
}

/// Replaces both addresses and updates the checksum of an IPv4 header. Returns the change of the addresses' sum.
fn replace_addresses(bytes: &mut [u8], source: IpAddr, destination: IpAddr) -> Sum {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let source = replace(bytes, 12, &source.octets());
            let change = source.plus(replace(bytes, 16, &destination.octets()));
            if let Some(old) = read(bytes, V4_CHECKSUM_AT) {
                write_at(bytes, V4_CHECKSUM_AT, &change.applied_to(old).to_be_bytes());
            }
            change
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let source = replace(bytes, 8, &source.octets());
            source.plus(replace(bytes, 24, &destination.octets()))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Sum::ZERO,
    }
}

/// Updates the checksum of the transport header that begins `at`, if there is one, and returns the change of its sum.
/// It may lie beyond the end of what an ICMP error quotes.
fn update_checksum(bytes: &mut [u8], at: usize, transport: Transport, change: Sum) -> Sum {
    let at = at + transport.checksum_at();
    match (read(bytes, at), transport) {
        (None, _) | (Some(0), Transport::Udp) => Sum::ZERO,
        (Some(old), Transport::Tcp | Transport::Udp | Transport::Icmp | Transport::Icmpv6) => {
            replace(bytes, at, &transport.written(change.applied_to(old)).to_be_bytes())
        }
    }
}

/// Overwrites what lies `at`, and returns the change of the sum; what is not there does not change.
fn replace<const N: usize>(bytes: &mut [u8], at: usize, new: &[u8; N]) -> Sum {
    let Some(old) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) else {
        return Sum::ZERO;
    };
    let change = Sum::of_change(old, new);
    *old = *new;
    change
}

fn read(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{any_flow, error, flow, flow_v4, flow_v6, is_sound, packet};

    #[test]
    fn what_is_refused_stays_as_it_was() {
        use RewriteError::*;
        let error_v4 =
            error(flow_v4(Protocol::Udp), [3, 3], [0; 4], &packet(flow_v4(Protocol::Udp).reversed(), b""));
        let mixed = flow(Protocol::Tcp, "10.0.0.1:1", "[2001:2::1]:2");
        let rows = [
            (packet(flow_v4(Protocol::Tcp), b"data"), flow_v6(Protocol::Tcp), OtherFamily),
            (packet(flow_v4(Protocol::Tcp), b"data"), mixed, OtherFamily),
            (packet(flow_v6(Protocol::Tcp), b"data"), mixed, OtherFamily),
            (packet(flow_v4(Protocol::Tcp), b"data"), flow_v4(Protocol::Udp), OtherProtocol),
            (error_v4, flow_v4(Protocol::Udp), OtherKind),
            (vec![0x45; 19], flow_v4(Protocol::Udp), Unreadable(PacketError::Truncated)),
        ];
        for (bytes, to, expected) in rows {
            let mut moved = bytes.clone();
            assert_eq!(rewrite(&mut moved, to), Err(expected), "{to:?}");
            assert_eq!(moved, bytes);
        }
    }

    #[test]
    fn an_error_is_moved_only_as_an_error() {
        use RewriteError::*;
        let about = flow_v4(Protocol::Udp);
        let sent = error(about.reversed(), [3, 3], [0; 4], &packet(about, b""));
        let other_family = flow_v6(Protocol::Udp);
        let (v4, v6) = (about.destination.address, other_family.destination.address);
        let rows = [
            (&sent, v4, flow_v4(Protocol::Tcp), OtherProtocol),
            (&sent, v4, other_family, OtherFamily),
            (&sent, v6, about, OtherFamily),
            (&packet(about, b""), v4, about, OtherKind),
        ];
        for (bytes, from, about, expected) in rows {
            let mut moved = bytes.clone();
            assert_eq!(rewrite_error(&mut moved, from, about), Err(expected));
            assert_eq!(&moved, bytes);
        }
    }

    #[test]
    fn udp_without_a_checksum_stays_without() {
        let mut bytes = packet(flow_v4(Protocol::Udp), b"data");
        bytes[26..28].fill(0);
        rewrite(&mut bytes, flow(Protocol::Udp, "10.0.0.1:1", "10.0.0.2:2")).unwrap();
        assert_eq!(bytes[26..28], [0, 0]);
        assert!(parse(&bytes).unwrap().checksums_hold());
    }

    #[test]
    fn a_udp_checksum_does_not_become_0() {
        let mut found = false;
        for port in 0..=u16::MAX {
            let mut bytes = packet(flow_v4(Protocol::Udp), b"data");
            let mut to = flow_v4(Protocol::Udp);
            to.source.port = port;
            rewrite(&mut bytes, to).unwrap();
            found |= bytes[26..28] == [0xff, 0xff];
            assert_ne!(bytes[26..28], [0, 0]);
        }
        assert!(found);
    }

    proptest! {
        #[test]
        fn a_moved_packet_is_the_one_the_new_flow_would_send(
            (from, to) in (any_flow(), any_flow()), payload in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let to = alike(from, to);
            let mut bytes = packet(from, &payload);
            rewrite(&mut bytes, to).unwrap();
            prop_assert_eq!(&bytes, &packet(to, &payload));
        }

        #[test]
        fn a_moved_error_is_the_one_about_the_new_flow(
            (from, to) in (any_flow(), any_flow()), payload in prop::collection::vec(any::<u8>(), 0..50),
            words in 0_usize..30,
        ) {
            let to = alike(from, to);
            let (before, after) = (packet(from, &payload), packet(to, &payload));
            let kind = if from.source.address.is_ipv4() { [3, 3] } else { [1, 4] };
            let header = if from.source.address.is_ipv4() { 28 } else { 48 };
            // Half a checksum cannot be updated, so quotes are cut between words.
            let length = (header + words * 2).min(before.len());
            let mut bytes = error(from.reversed(), kind, [0; 4], &before[..length]);
            rewrite_error(&mut bytes, to.destination.address, to).unwrap();
            prop_assert!(is_sound(&bytes));
            prop_assert_eq!(&bytes, &error(to.reversed(), kind, [0; 4], &after[..length]));
        }
    }

    /// `to` with the family and the protocol of `from`, and for an echo the direction.
    fn alike(from: Flow, to: Flow) -> Flow {
        let is_ipv4 = from.source.address.is_ipv4();
        let other = if is_ipv4 { flow_v4(from.protocol) } else { flow_v6(from.protocol) };
        let mut to = if to.source.address.is_ipv4() == is_ipv4 { to } else { other };
        to.protocol = from.protocol;
        if from.protocol == Protocol::IcmpEcho {
            let identifier = to.source.port.max(1);
            let asks = from.destination.port == 0;
            (to.source.port, to.destination.port) = if asks { (identifier, 0) } else { (0, identifier) };
        }
        to
    }
}
