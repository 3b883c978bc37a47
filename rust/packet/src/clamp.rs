use crate::checksum::Sum;
use crate::compose::write_at;
use crate::error::PacketError;
use crate::packet::{Content, parse};
use crate::tcp::TcpFlags;

/// Lowers the maximum segment size that a SYN announces to `most`, in place. Says whether it did.
///
/// What is not a SYN, announces less, or has malformed options is left as it is.
pub fn clamp_mss(bytes: &mut [u8], most: u16) -> Result<bool, PacketError> {
    let packet = parse(bytes)?;
    match packet.content() {
        Content::Tcp(tcp) if tcp.flags.has(TcpFlags::SYN) => {}
        Content::Tcp(_) | Content::Udp(_) | Content::Echo(_) | Content::IcmpError(_) => return Ok(false),
    }
    let header = packet.transport_header().len();
    let at = packet.ip().header;
    let segment = bytes.get_mut(at..).unwrap_or_default();
    let mut clamped = false;
    let mut option = 20;
    // The last of several counts (RFC 9293 does not say), so each is lowered.
    while let Some(found) = find_mss(segment.get(..header).unwrap_or_default(), option) {
        clamped |= lower(segment, found, most);
        option = found + 2;
    }
    Ok(clamped)
}

/// Where the next maximum segment size stands in a TCP header, searching from the option at `at`.
fn find_mss(header: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += match *header.get(at..)? {
            [] | [END] | [END, ..] => return None,
            [NOTHING, ..] => 1,
            [MSS, 4, _, _, ..] => return Some(at + 2),
            [_, length @ 2..=u8::MAX, ..] => usize::from(length),
            [..] => return None,
        };
    }
}

fn lower(segment: &mut [u8], at: usize, most: u16) -> bool {
    let Some(&old) = segment.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return false };
    if u16::from_be_bytes(old) <= most {
        return false;
    }
    let change = Sum::of_change(&old, &most.to_be_bytes());
    let change = if at % 2 == 1 { change.at_odd_offset() } else { change };
    write_at(segment, at, &most.to_be_bytes());
    if let Some(&checksum) = segment.get(CHECKSUM_AT..).and_then(|rest| rest.first_chunk::<2>()) {
        write_at(segment, CHECKSUM_AT, &change.applied_to(u16::from_be_bytes(checksum)).to_be_bytes());
    }
    true
}

const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;
const CHECKSUM_AT: usize = 16;

#[cfg(test)]
mod tests {
    use ztna_model::Protocol;

    use super::*;
    use crate::sample::{self, flow_v4, flow_v6, is_sound, segment};

    const SYN: TcpFlags = TcpFlags::SYN;

    #[test]
    fn only_what_a_syn_announces_is_lowered() {
        let rows: [(TcpFlags, &[u8], &[u8]); 12] = [
            (SYN, &[2, 4, 5, 0xb4], &[2, 4, 4, 0xc4]),
            (SYN.with(TcpFlags::ACK), &[2, 4, 5, 0xb4], &[2, 4, 4, 0xc4]),
            (SYN, &[2, 4, 4, 0xc4], &[2, 4, 4, 0xc4]),
            (SYN, &[2, 4, 2, 0x18], &[2, 4, 2, 0x18]),
            (SYN, &[1, 2, 4, 5, 0xb4, 1, 1, 1], &[1, 2, 4, 4, 0xc4, 1, 1, 1]),
            (SYN, &[3, 3, 7, 2, 4, 5, 0xb4, 0], &[3, 3, 7, 2, 4, 4, 0xc4, 0]),
            (SYN, &[2, 4, 5, 0xb4, 2, 4, 0xff, 0xff], &[2, 4, 4, 0xc4, 2, 4, 4, 0xc4]),
            (SYN, &[0, 2, 4, 5, 0xb4, 0, 0, 0], &[0, 2, 4, 5, 0xb4, 0, 0, 0]),
            (SYN, &[3, 0, 2, 4, 5, 0xb4, 0, 0], &[3, 0, 2, 4, 5, 0xb4, 0, 0]),
            (SYN, &[1, 1, 1, 2], &[1, 1, 1, 2]),
            (SYN, &[], &[]),
            (TcpFlags::ACK, &[2, 4, 5, 0xb4], &[2, 4, 5, 0xb4]),
        ];
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            for (flags, options, expected) in rows {
                check(&sample::tcp(flow, segment(1, 0, flags), options, b""), options, expected);
            }
        }
        let datagram = sample::packet(flow_v4(Protocol::Udp), b"data");
        assert_eq!(clamp_mss(&mut datagram.clone(), 1_220), Ok(false));
        assert_eq!(clamp_mss(&mut [0x45; 19], 1_220), Err(PacketError::Truncated));
    }

    fn check(bytes: &[u8], options: &[u8], expected: &[u8]) {
        let mut clamped = bytes.to_vec();
        assert_eq!(clamp_mss(&mut clamped, 1_220), Ok(options != expected), "{options:?}");
        assert!(clamped.ends_with(expected), "{clamped:?}");
        assert!(is_sound(&clamped));
    }
}
