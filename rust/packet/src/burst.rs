use std::fmt;
use std::num::NonZeroU16;

use thiserror::Error;

use crate::compose::set_checksum;
use crate::cut::Cut;
use crate::error::PacketError;
use crate::join::ChecksumDepth;
use crate::packet::{Layout, Packet, parse};

/// A packet as a device hands it over: perhaps so long that it stands for many, perhaps with its checksum not worked
/// out yet. It is cut and finished in the buffer that it was read into.
///
/// ```text
///   read:       header | 1,240 | 1,240 | 520
///   1st piece:  header | 1,240                        the payload lies where it was read
///   2nd piece:          header | 1,240                over the end of the first, which has left by then
///   3rd piece:                  header | 520
/// ```
///
/// ```
/// use std::num::NonZeroU16;
/// use ztna_model::{Flow, Protocol};
/// use ztna_packet::{Burst, ChecksumDepth, datagram, parse};
///
/// let source = "198.19.0.1:5000".parse::<std::net::SocketAddr>()?.into();
/// let destination = "198.18.0.7:443".parse::<std::net::SocketAddr>()?.into();
/// let mut buffer = [0; 2_048];
/// let length = datagram(Flow { protocol: Protocol::Udp, source, destination }, &[7; 1_800], &mut buffer)?;
///
/// let mut burst = Burst::new(&mut buffer, length, NonZeroU16::new(1_000), ChecksumDepth::PseudoHeader);
/// let mut pieces = burst.pieces()?;
/// let mut lengths = Vec::new();
/// while let Some(piece) = pieces.write_next() {
///     lengths.push(parse(piece.bytes())?.payload().len());
/// }
/// assert_eq!(lengths, [1_000, 800]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Burst<'a> {
    room: &'a mut [u8],
    length: usize,
    size: Option<NonZeroU16>,
    checksum: ChecksumDepth,
}

/// Why a burst was refused: nobody who makes packets properly makes one like it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
pub enum BurstError {
    /// It is shorter than the device's own header ahead of it.
    #[error("the device's header is cut short")]
    NoHeader,
    /// It is to be cut, and to nothing.
    #[error("a packet cannot be cut to parts of no bytes")]
    NoSize,
    /// The device asks for something else than to cut TCP or UDP.
    #[error("`{0}` is no known way of cutting packets")]
    UnknownOffload(u8),
    /// It is no packet.
    #[error(transparent)]
    Unreadable(#[from] PacketError),
    /// It is to be cut, and is of a kind that cannot be: see [`crate::Segments::of`].
    #[error("a packet of this kind cannot be cut")]
    Uncuttable,
    /// Its headers are longer than any that come in long packets.
    #[error("the headers are too long to be repeated")]
    LongHeader,
}

impl<'a> Burst<'a> {
    /// The packet in the first `length` bytes of `room`; what lies behind it is of use as room for padding.
    ///
    /// With a `size` it stands for packets of so many bytes of payload each, the last perhaps of fewer. With
    /// [`ChecksumDepth::PseudoHeader`] its checksum is still to be worked out; the checksums of pieces always are.
    pub const fn new(
        room: &'a mut [u8],
        length: usize,
        size: Option<NonZeroU16>,
        checksum: ChecksumDepth,
    ) -> Self {
        Self { room, length, size, checksum }
    }

    /// The packet, as it was read.
    pub fn bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }

    /// The packet, to be moved to another flow before it is cut. Its length stays.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(..self.length).unwrap_or_default()
    }

    /// The payload of each packet that it stands for; nothing if it is one packet.
    pub const fn size(&self) -> Option<NonZeroU16> {
        self.size
    }

    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.checksum == ChecksumDepth::PseudoHeader
    }

    /// Begins to cut it. What has been cut is not whole again: whoever wants to look at the packet does so before.
    pub fn pieces(&mut self) -> Result<Pieces<'_>, BurstError> {
        let packet = parse(self.bytes())?;
        let (length, layout) = (packet.bytes().len(), packet.layout());
        let (cut, header) = match self.size {
            None => (None, [0; MOST_HEADER]),
            Some(size) => (Some(Cut::of(&packet, size).ok_or(BurstError::Uncuttable)?), header_of(&packet)?),
        };
        if cut.is_none() && self.checksum == ChecksumDepth::PseudoHeader {
            finish(self.bytes_mut(), &layout);
        }
        self.checksum = ChecksumDepth::Whole;
        Ok(Pieces { room: self.room, length, cut, header, written: 0 })
    }
}

impl fmt::Debug for Burst<'_> {
    /// Shows the headers, never the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = parse(self.bytes());
        f.debug_struct("Burst").field("packet", &packet).field("size", &self.size).finish_non_exhaustive()
    }
}

/// The packets that a burst stands for, one after the other in the same buffer.
pub struct Pieces<'a> {
    room: &'a mut [u8],
    length: usize,
    /// Nothing if it leaves as it is.
    cut: Option<Cut>,
    /// What each packet begins with.
    header: [u8; MOST_HEADER],
    written: usize,
}

/// A packet, and the room that it begins.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The packet, and what lies behind it: to be left as it is, since the next piece is made of it.
    pub room: &'a mut [u8],
    /// The packet's length.
    pub length: usize,
}

impl Pieces<'_> {
    /// How many packets there are, written or not.
    pub const fn count(&self) -> usize {
        match &self.cut {
            None => 1,
            Some(cut) => cut.count(),
        }
    }

    /// The next packet, sound and whole; nothing when there were all.
    pub fn write_next(&mut self) -> Option<Piece<'_>> {
        if self.written == self.count() {
            return None;
        }
        let index = self.written;
        self.written += 1;
        let Some(cut) = &self.cut else {
            return Some(Piece { room: self.room, length: self.length });
        };
        // INVARIANT: the payload of this piece lies behind its header, so that the header covers only what has left:
        // payload before it, and for the first piece the header itself.
        let (part, header) = (cut.part(index), self.header.get(..cut.header())?);
        let room = self.room.get_mut(part.start..)?;
        let length = header.len() + part.len();
        room.get_mut(..header.len())?.copy_from_slice(header);
        cut.finish(index, room.get_mut(..length)?).ok()?;
        Some(Piece { room, length })
    }
}

impl fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("count", &self.count()).field("written", &self.written).finish()
    }
}

impl Piece<'_> {
    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }
}

fn header_of(packet: &Packet<'_>) -> Result<[u8; MOST_HEADER], BurstError> {
    let mut header = [0; MOST_HEADER];
    let from = packet.header();
    header.get_mut(..from.len()).ok_or(BurstError::LongHeader)?.copy_from_slice(from);
    Ok(header)
}

/// Works out the checksum of a packet that lacks one.
fn finish(bytes: &mut [u8], layout: &Layout) {
    let Some(body) = bytes.get_mut(layout.ip_header..layout.end) else { return };
    let pseudo_header = layout.transport.pseudo_header(layout.addresses, body.len());
    set_checksum(body, layout.transport, pseudo_header);
}

/// The longest IP header with options or a few extensions, and the longest TCP header.
const MOST_HEADER: usize = 192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ztna_model::{Flow, Protocol};

    use super::*;
    use crate::sample::{self, flow_v4, flow_v6, is_sound, segment};
    use crate::segment::Segments;
    use crate::tcp::TcpFlags;

    /// The pieces of a packet, cut where it lies with `behind` more bytes of room.
    fn pieces(packet: &[u8], size: u16, checksum: ChecksumDepth, behind: usize) -> Vec<Vec<u8>> {
        let mut room = [packet, &vec![0xee; behind]].concat();
        let mut burst = Burst::new(&mut room, packet.len(), NonZeroU16::new(size), checksum);
        assert_eq!(burst.bytes(), packet);
        let mut pieces = burst.pieces().unwrap();
        let mut found = Vec::new();
        while let Some(piece) = pieces.write_next() {
            found.push(piece.bytes().to_vec());
        }
        assert_eq!(found.len(), pieces.count());
        assert!(pieces.write_next().is_none());
        assert!(room[packet.len()..].iter().all(|byte| *byte == 0xee), "what lies behind is left alone");
        found
    }

    /// What the other way of cutting makes of it.
    fn segments(packet: &[u8], size: u16) -> Vec<Vec<u8>> {
        let mut segments = Segments::of(&parse(packet).unwrap(), NonZeroU16::new(size).unwrap()).unwrap();
        let mut buffer = vec![0; segments.longest()];
        let mut found = Vec::new();
        while let Some(length) = segments.write_next(&mut buffer).unwrap() {
            found.push(buffer[..length].to_vec());
        }
        found
    }

    #[test]
    fn datagrams_are_cut_as_well() {
        for flow in [flow_v4(Protocol::Udp), flow_v6(Protocol::Udp)] {
            let whole = sample::packet(flow, b"abcdefgh");
            let found = pieces(&whole, 3, ChecksumDepth::PseudoHeader, 7);
            let payloads: Vec<_> = found.iter().map(|piece| parse(piece).unwrap().payload()).collect();
            assert_eq!(payloads, [&b"abc"[..], b"def", b"gh"]);
            assert!(found.iter().all(|piece| is_sound(piece) && parse(piece).unwrap().flow() == Some(flow)));
        }
    }

    #[test]
    fn an_open_checksum_is_finished() {
        let all = |flow: fn(Protocol) -> Flow| {
            sample::PROTOCOLS.map(|protocol| sample::packet(flow(protocol), b"data"))
        };
        for whole in [all(flow_v4), all(flow_v6)].concat() {
            let at = if whole[0] >> 4 == 4 { 20 } else { 40 };
            let mut open = whole.clone();
            for byte in match open[if at == 20 { 9 } else { 6 }] {
                6 => &mut open[at + 16..at + 18],
                17 => &mut open[at + 6..at + 8],
                _ => &mut open[at + 2..at + 4],
            } {
                *byte ^= 0x55;
            }
            assert_eq!(pieces(&open, 0, ChecksumDepth::PseudoHeader, 0), std::slice::from_ref(&whole));
            assert_eq!(pieces(&open, 0, ChecksumDepth::Whole, 0), [open]);
        }
    }

    #[test]
    fn what_is_refused() {
        let tcp = flow_v4(Protocol::Tcp);
        let syn = sample::tcp(tcp, segment(1, 2, TcpFlags::SYN), &[], b"data");
        let echo = sample::packet(flow_v4(Protocol::IcmpEcho), b"data");
        let mut long = sample::tcp(flow_v6(Protocol::Tcp), segment(1, 2, TcpFlags::ACK), &[], b"data");
        long[5] += 144;
        long[6] = 60;
        let mut options = vec![6, 17, 1, 140];
        options.resize(144, 0);
        long.splice(40..40, options);
        let rows = [
            ("a beginning", syn, BurstError::Uncuttable),
            ("an echo", echo, BurstError::Uncuttable),
            ("long headers", long, BurstError::LongHeader),
            ("nothing", Vec::new(), BurstError::Unreadable(PacketError::Truncated)),
        ];
        for (what, mut packet, expected) in rows {
            let length = packet.len();
            let mut burst = Burst::new(&mut packet, length, NonZeroU16::new(2), ChecksumDepth::Whole);
            assert_eq!(burst.pieces().err(), Some(expected), "{what}");
        }
        let mut short = sample::packet(tcp, b"data");
        let mut burst = Burst::new(&mut short, 1_000, None, ChecksumDepth::Whole);
        assert!(burst.bytes().is_empty() && burst.pieces().is_err(), "a length that lies");
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_segments(
            is_ipv6: bool, sequence: u32, flags in any::<u8>(), size in 1_u16..2_000, options in 0_usize..=10,
            behind in 0_usize..20, payload in prop::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let flow = if is_ipv6 { flow_v6(Protocol::Tcp) } else { flow_v4(Protocol::Tcp) };
            let flags = TcpFlags::from_bits(flags & 0b1101_1001);
            let whole = sample::tcp(flow, segment(sequence, 7, flags), &[1; 40][..options * 4], &payload);
            let expected = segments(&whole, size);
            prop_assert_eq!(pieces(&whole, size, ChecksumDepth::PseudoHeader, behind), expected);
        }

        #[test]
        fn datagrams_carry_the_whole(
            is_ipv6: bool, size in 1_u16..2_000, payload in prop::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let flow = if is_ipv6 { flow_v6(Protocol::Udp) } else { flow_v4(Protocol::Udp) };
            let found = pieces(&sample::packet(flow, &payload), size, ChecksumDepth::PseudoHeader, 0);
            prop_assert!(found.iter().all(|piece| is_sound(piece)));
            let carried: Vec<_> = found.iter().flat_map(|piece| parse(piece).unwrap().payload().to_vec()).collect();
            prop_assert_eq!(carried, payload);
        }

        #[test]
        fn whatever_comes_is_refused_or_cut_into_packets(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200), damage in 0_usize..40, size: u16, length in 0_usize..250,
        ) {
            let sound = crate::corpus::load_sound();
            let base = &sound[damage % sound.len()];
            let keep = bytes.len().min(base.len()).saturating_sub(damage);
            bytes[..keep].copy_from_slice(&base[..keep]);
            let mut burst = Burst::new(&mut bytes, length, NonZeroU16::new(size), ChecksumDepth::PseudoHeader);
            if let Ok(mut pieces) = burst.pieces() {
                while let Some(piece) = pieces.write_next() {
                    prop_assert!(parse(piece.bytes()).is_ok());
                }
            }
        }
    }
}
