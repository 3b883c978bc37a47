//! What a fuzzer cannot guess: checksums, and numbers that were chosen at random.

/// `packet`, which is a sound one, with right checksums. If it acknowledges anything, it acknowledges up to `next`, give
/// or take what its own acknowledgement ends in.
pub(crate) fn mended(packet: &[u8], next: u32) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let Some((header, protocol)) = transport(&packet) else { return packet };
    if protocol == TCP && packet[header + 13] & ACK != 0 {
        let near = i32::from(i8::from_be_bytes([packet[header + 11]]));
        packet[header + 8..header + 12].copy_from_slice(&next.wrapping_add_signed(near).to_be_bytes());
    }
    if packet[0] >> 4 == 4 {
        packet[10..12].fill(0);
        let sum = checksum(0, &packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let field = match protocol {
        TCP => header + 16,
        UDP => header + 6,
        _ => return packet,
    };
    packet[field..field + 2].fill(0);
    let sum = checksum(pseudo_header(&packet, header, protocol), &packet[header..]);
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The number after the last byte of a TCP segment.
pub(crate) fn next(packet: &[u8]) -> Option<u32> {
    let (header, TCP) = transport(packet)? else { return None };
    let segment = &packet[header..];
    let number = u32::from_be_bytes(*segment[4..].first_chunk()?);
    let payload = segment.len() - usize::from(segment[12] >> 4) * 4;
    let flags = u32::from(segment[13] & SYN != 0) + u32::from(segment[13] & FIN != 0);
    Some(number.wrapping_add(u32::try_from(payload).ok()?).wrapping_add(flags))
}

/// Where TCP or UDP begins, in packets whose headers are not hidden behind others.
fn transport(packet: &[u8]) -> Option<(usize, u8)> {
    let (header, protocol) = match packet.first()? >> 4 {
        4 => (usize::from(packet[0] & 15) * 4, *packet.get(9)?),
        _ => (40, *packet.get(6)?),
    };
    let shortest = if protocol == TCP { 20 } else { 8 };
    (packet.len() >= header + shortest).then_some((header, protocol))
}

fn pseudo_header(packet: &[u8], header: usize, protocol: u8) -> u32 {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let length = u32::try_from(packet.len() - header).unwrap_or_default();
    add(length + u32::from(protocol), addresses)
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let sum = add(start, bytes);
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

fn add(start: u32, bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    start + words.sum::<u32>()
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;
