use std::num::NonZeroU16;

use crate::burst::{Burst, BurstError};
use crate::join::{ChecksumDepth, JoinedHeader};
use crate::transport::Transport;

/// The length of what stands ahead of each packet of a TUN device with `IFF_VNET_HDR` (virtio 1.3, section 5.1.6): what
/// is still to be done to the packet, in the machine's own byte order.
pub const VIRTIO_HEADER: usize = 10;

/// Stands ahead of a packet to which nothing is left to do.
pub const VIRTIO_NOTHING_LEFT: [u8; VIRTIO_HEADER] = [0; VIRTIO_HEADER];

impl<'a> Burst<'a> {
    /// The burst in the first `length` bytes of `room`, of which a virtio header is the beginning.
    ///
    /// Of that header, only what the packet itself cannot say is believed: whether and to which size it is to be cut, and
    /// whether its checksum is still open.
    pub fn behind_virtio_header(room: &'a mut [u8], length: usize) -> Result<Self, BurstError> {
        let (header, room) = room.split_first_chunk_mut::<VIRTIO_HEADER>().ok_or(BurstError::NoHeader)?;
        let length = length.checked_sub(VIRTIO_HEADER).ok_or(BurstError::NoHeader)?;
        let size = size(header)?;
        let is_open = header[0] & NEEDS_CHECKSUM != 0;
        let checksum = if is_open { ChecksumDepth::PseudoHeader } else { ChecksumDepth::Whole };
        Ok(Self::new(room, length, size, checksum))
    }
}

impl JoinedHeader {
    /// What stands ahead of a joined packet of which only [`ChecksumDepth::PseudoHeader`] is summed, and which is to be
    /// cut to parts of `size` bytes where it has to be cut again.
    pub fn virtio(&self, size: u16) -> [u8; VIRTIO_HEADER] {
        let length = u16::try_from(self.as_bytes().len()).unwrap_or(0);
        let at = u16::try_from(self.transport_at()).unwrap_or(0);
        let kind = if self.is_ipv4() { TCP_V4 } else { TCP_V6 };
        let [l0, l1] = length.to_ne_bytes();
        let [s0, s1] = size.to_ne_bytes();
        let [a0, a1] = at.to_ne_bytes();
        let [o0, o1] = CHECKSUM_AT.to_ne_bytes();
        [NEEDS_CHECKSUM, kind, l0, l1, s0, s1, a0, a1, o0, o1]
    }
}

fn size(header: &[u8; VIRTIO_HEADER]) -> Result<Option<NonZeroU16>, BurstError> {
    match header[1] & !MARKED {
        WHOLE => Ok(None),
        TCP_V4 | TCP_V6 | UDP => {
            let size = NonZeroU16::new(u16::from_ne_bytes([header[4], header[5]]));
            size.map(Some).ok_or(BurstError::NoSize)
        }
        other => Err(BurstError::UnknownOffload(other)),
    }
}

const NEEDS_CHECKSUM: u8 = 1;
const WHOLE: u8 = 0;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP: u8 = 5;
/// The flow reacts to congestion marks.
const MARKED: u8 = 0x80;
const CHECKSUM_AT: u16 = Transport::Tcp.checksum_at() as u16;

#[cfg(test)]
mod tests {
    use ztna_model::Protocol;

    use super::*;
    use crate::join::Run;
    use crate::packet::parse;
    use crate::sample::{flow_v4, flow_v6, packet};

    /// The size of what these header fields announce, and whether its checksum is open.
    fn check(flags: u8, kind: u8, size: u16, expected: Result<(Option<u16>, bool), BurstError>) {
        let [s0, s1] = size.to_ne_bytes();
        let mut bytes = [&[flags, kind, 1, 2, s0, s1, 3, 4, 5, 6][..], b"packet, and more"].concat();
        let burst = Burst::behind_virtio_header(&mut bytes, 16);
        let found = burst.map(|burst| {
            assert_eq!(burst.bytes(), b"packet");
            (burst.size().map(NonZeroU16::get), burst.is_open())
        });
        assert_eq!(found, expected, "{flags} {kind} {size}");
    }

    #[test]
    fn headers() {
        check(0, 0, 0, Ok((None, false)));
        check(0, 0, 1_400, Ok((None, false)));
        check(1, 0, 0, Ok((None, true)));
        check(2, 0, 0, Ok((None, false))); // the checksum was verified already
        check(1, 1, 1_400, Ok((Some(1_400), true)));
        check(1, 4, 1_400, Ok((Some(1_400), true)));
        check(1, 5, 1_200, Ok((Some(1_200), true)));
        check(1, 0x81, 1_400, Ok((Some(1_400), true)));
        check(1, 1, 0, Err(BurstError::NoSize));
        check(1, 5, 0, Err(BurstError::NoSize));
        check(1, 3, 1_400, Err(BurstError::UnknownOffload(3))); // fragments of a datagram
        check(1, 0x7f, 1_400, Err(BurstError::UnknownOffload(0x7f)));
    }

    #[test]
    fn what_is_shorter_than_the_header() {
        for length in [0, 9] {
            assert_eq!(Burst::behind_virtio_header(&mut [0; 20], length).err(), Some(BurstError::NoHeader));
            assert!(Burst::behind_virtio_header(&mut vec![0; length], 10).is_err());
        }
        assert!(Burst::behind_virtio_header(&mut [0; 10], 10).unwrap().bytes().is_empty());
    }

    #[test]
    fn what_is_joined_is_announced() {
        for (flow, kind, at) in [(flow_v4(Protocol::Tcp), 1, 20_u16), (flow_v6(Protocol::Tcp), 4, 40)] {
            let bytes = packet(flow, b"data");
            let mut run = Run::new();
            assert!(run.push(&parse(&bytes).unwrap()));
            let header = run.header(ChecksumDepth::PseudoHeader).unwrap();
            let fields = [at + 20, 4, at, 16].map(u16::to_ne_bytes).concat();
            assert_eq!(header.virtio(4)[..], [&[1, kind][..], &fields].concat());
        }
    }

    /// Each row: a recorded burst, and how many packets it stands for or why it is refused.
    #[test]
    fn recorded_bursts() {
        use crate::error::PacketError;

        let rows: [(&str, Result<usize, BurstError>); 26] = [
            ("tcp-three-segments", Ok(3)),
            ("tcp-three-segments-ipv6", Ok(3)),
            ("tcp-congestion-marks", Ok(3)),
            ("tcp-one-byte-each", Ok(40)),
            ("tcp-exact-multiple", Ok(3)),
            ("tcp-shorter-than-size", Ok(1)),
            ("tcp-open-checksum", Ok(1)),
            ("tcp-whole", Ok(1)),
            ("tcp-trailing-bytes", Ok(3)),
            ("udp-three-datagrams", Ok(3)),
            ("udp-three-datagrams-ipv6", Ok(3)),
            ("udp-shorter-than-ip", Ok(2)),
            ("tcp-behind-options-ipv6", Ok(3)),
            ("tcp-size-0", Err(BurstError::NoSize)),
            ("udp-size-0", Err(BurstError::NoSize)),
            ("udp-fragments", Err(BurstError::UnknownOffload(3))),
            ("unknown-offload", Err(BurstError::UnknownOffload(0x40))),
            ("tcp-syn-to-be-cut", Err(BurstError::Uncuttable)),
            ("tcp-urgent-to-be-cut", Err(BurstError::Uncuttable)),
            ("echo-to-be-cut", Err(BurstError::Uncuttable)),
            ("header-cut-short", Err(BurstError::NoHeader)),
            ("nothing-behind-the-header", Err(BurstError::Unreadable(PacketError::Truncated))),
            ("ip-length-past-end", Err(BurstError::Unreadable(PacketError::Truncated))),
            ("udp-length-past-end", Err(BurstError::Unreadable(PacketError::LengthMismatch))),
            ("tcp-header-past-end", Err(BurstError::Unreadable(PacketError::BadHeaderLength))),
            ("long-headers-ipv6", Err(BurstError::LongHeader)),
        ];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/bursts");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), rows.len());
        for (name, expected) in rows {
            let mut bytes = std::fs::read(format!("{folder}/{name}.bin")).unwrap();
            let length = bytes.len();
            let found = Burst::behind_virtio_header(&mut bytes, length).and_then(|mut burst| {
                let mut pieces = burst.pieces()?;
                while let Some(piece) = pieces.write_next() {
                    assert!(parse(piece.bytes()).unwrap().checksums_hold() || name == "tcp-whole", "{name}");
                }
                Ok(pieces.count())
            });
            assert_eq!(found, expected, "{name}");
        }
    }
}
