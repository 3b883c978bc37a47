use ztna_packet::TcpFlags;

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

/// A segment that smoltcp has written, as far as it matters here.
pub(crate) struct Sent {
    pub(crate) flags: TcpFlags,
    /// How much data it carries.
    pub(crate) data: u32,
    pub(crate) told: Told,
}

impl Sent {
    /// Reads a packet of smoltcp's, which has neither IPv4 options nor IPv6 extension headers.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let ip = if packet.first()? >> 4 == 4 { 20 } else { 40 };
        let segment = packet.get(ip..)?;
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
