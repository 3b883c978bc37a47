use ztna_packet::{Sum, TcpFlags};

/// What the last segment that was sent has told the peer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    /// The number that follows it.
    pub(crate) next: u32,
    /// The number that is expected from the peer.
    pub(crate) expects: u32,
    /// The window as written, scaled.
    pub(crate) window: u16,
}

/// Takes the last unit off the window that a packet of smoltcp's tells, but for a SYN.
///
/// A window is told in units of a power of two, rounded down, from wherever the data has come to. So its end moves back
/// now and then, by less than a unit (RFC 7323, section 2.4), and smoltcp drops what a peer has sent up to where it was:
/// the peer then finds a loss, or waits a second for its clock. Whatever lies before the last unit is still taken.
pub(crate) fn keep_last_unit(packet: &mut [u8]) {
    change_window(packet, |told| told.saturating_sub(1));
}

/// Makes the window that a packet tells another one, but for a SYN's.
pub(crate) fn change_window(packet: &mut [u8], change: impl FnOnce(u16) -> u16) {
    let Some(segment) = packet.get_mut(transport_at(packet)..) else { return };
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, flags, w0, w1, c0, c1, ..] = segment else { return };
    if TcpFlags::from_bits(*flags).has(TcpFlags::SYN) {
        return;
    }
    let old = [*w0, *w1];
    let new = change(u16::from_be_bytes(old)).to_be_bytes();
    let checksum = Sum::of_change(&old, &new).applied_to(u16::from_be_bytes([*c0, *c1]));
    [*w0, *w1] = new;
    [*c0, *c1] = checksum.to_be_bytes();
}

/// A segment that smoltcp has written, as far as it matters here.
pub(crate) struct Sent {
    pub(crate) flags: TcpFlags,
    /// How much data it carries.
    pub(crate) data: u32,
    pub(crate) told: Told,
}

impl Sent {
    /// Reads a packet of smoltcp's.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let segment = packet.get(transport_at(packet)..)?;
        let &[_, _, _, _, n0, n1, n2, n3, e0, e1, e2, e3, offset, flags, w0, w1, ..] = segment else {
            return None;
        };
        let flags = TcpFlags::from_bits(flags);
        let data = segment.len().saturating_sub(usize::from(offset >> 4) * 4) as u32;
        let control = u32::from(flags.has_any(TcpFlags::SYN.with(TcpFlags::FIN)));
        let next = u32::from_be_bytes([n0, n1, n2, n3]).wrapping_add(data + control);
        let (expects, window) = (u32::from_be_bytes([e0, e1, e2, e3]), u16::from_be_bytes([w0, w1]));
        Some(Self { flags, data, told: Told { next, expects, window } })
    }
}

/// Where the segment begins in a packet without IPv6 extension headers.
fn transport_at(packet: &[u8]) -> usize {
    match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        Some(_) | None => 40,
    }
}
