use std::num::NonZeroU16;

use crate::compose::{ComposeError, put};
use crate::cut::Cut;
use crate::packet::{Content, Packet};

/// The packets that a long TCP packet is cut into, each written straight into the buffer that it leaves from.
///
/// ```text
///   header | 3,000 bytes        →   header | 1,240    header | 1,240    header | 520
///   seq 100, PSH, ACK               seq 100, ACK      seq 1340, ACK     seq 2580, PSH, ACK
/// ```
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    packet: Packet<'a>,
    cut: Cut,
    written: usize,
}

impl<'a> Segments<'a> {
    /// Cuts `packet` into packets of at most `size` bytes of payload each. Its checksums need not be right: those of
    /// the segments are made anew.
    ///
    /// There is nothing to cut in what is not TCP, begins or aborts a connection, or marks data as urgent.
    pub fn of(packet: &Packet<'a>, size: NonZeroU16) -> Option<Self> {
        let Content::Tcp(_) = packet.content() else { return None };
        Some(Self { packet: *packet, cut: Cut::of(packet, size)?, written: 0 })
    }

    /// How many packets there are, written or not: one at least.
    pub const fn count(&self) -> usize {
        self.cut.count()
    }

    /// The length of the longest packet.
    pub fn longest(&self) -> usize {
        self.packet.header().len() + self.cut.part(0).len()
    }

    /// Writes the next packet into `buffer` and returns its length; nothing when all are written.
    pub fn write_next(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ComposeError> {
        if self.written == self.cut.count() {
            return Ok(None);
        }
        let part = self.packet.payload().get(self.cut.part(self.written)).unwrap_or_default();
        let header = put(self.packet.header(), buffer)?;
        let end = header + put(part, buffer.get_mut(header..).ok_or(ComposeError::NoRoom)?)?;
        self.cut.finish(self.written, buffer.get_mut(..end).ok_or(ComposeError::NoRoom)?)?;
        self.written += 1;
        Ok(Some(end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ztna_model::{Flow, Protocol};

    use super::*;
    use crate::packet::parse;
    use crate::sample::{self, flow_v4, flow_v6, is_sound, segment};
    use crate::tcp::TcpFlags;

    const ACK: TcpFlags = TcpFlags::ACK;
    const PSH: TcpFlags = TcpFlags::PSH;
    const FIN: TcpFlags = TcpFlags::FIN;
    const CWR: TcpFlags = TcpFlags::CWR;
    const ECE: TcpFlags = TcpFlags::ECE;

    /// Each row: flags and payload of the whole, and sequence number, flags and payload of each part.
    #[test]
    fn parts() {
        type Part = (u32, TcpFlags, &'static str);
        let rows: [(TcpFlags, &str, &[Part]); 8] = [
            (ACK, "", &[(100, ACK, "")]),
            (ACK, "abc", &[(100, ACK, "abc")]),
            (ACK, "abcd", &[(100, ACK, "abcd")]),
            (ACK, "abcde", &[(100, ACK, "abcd"), (104, ACK, "e")]),
            (ACK, "abcdefgh", &[(100, ACK, "abcd"), (104, ACK, "efgh")]),
            (
                ACK.with(PSH),
                "abcdefghi",
                &[(100, ACK, "abcd"), (104, ACK, "efgh"), (108, ACK.with(PSH), "i")],
            ),
            (ACK.with(FIN), "abcde", &[(100, ACK, "abcd"), (104, ACK.with(FIN), "e")]),
            (
                ACK.with(CWR).with(ECE).with(PSH),
                "abcde",
                &[(100, ACK.with(CWR).with(ECE), "abcd"), (104, ACK.with(ECE).with(PSH), "e")],
            ),
        ];
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            for (flags, payload, expected) in rows {
                let whole = sample::tcp(flow, segment(100, 200, flags), &[1, 1, 1, 0], payload.as_bytes());
                let parts = cut(&whole, 4);
                let found: Vec<_> = parts.iter().map(|part| described(flow, part)).collect();
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(sequence, flags, text)| (*sequence, *flags, (*text).to_owned()))
                    .collect();
                assert_eq!(found, expected, "{flags:?} {payload}");
            }
        }
    }

    #[test]
    fn identifications_count_on() {
        let mut whole = sample::tcp(flow_v4(Protocol::Tcp), segment(100, 200, ACK), &[], b"abcdef");
        whole[4..6].copy_from_slice(&[0xff, 0xfe]);
        let found: Vec<_> = cut(&whole, 2).iter().map(|part| [part[4], part[5]]).collect();
        assert_eq!(found, [[0xff, 0xfe], [0xff, 0xff], [0, 0]]);
    }

    #[test]
    fn extension_headers_go_with_every_part() {
        let mut whole = sample::tcp(flow_v6(Protocol::Tcp), segment(100, 200, ACK), &[], b"abcdef");
        whole[5] += 8;
        whole[6] = 60;
        whole.splice(40..40, [6, 0, 1, 4, 0, 0, 0, 0]);
        let parts = cut(&whole, 3);
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part[40..48] == whole[40..48] && is_sound(part)));
    }

    #[test]
    fn what_cannot_be_cut() {
        let flow = flow_v4(Protocol::Tcp);
        for flags in [TcpFlags::SYN, TcpFlags::RST, TcpFlags::URG] {
            let bytes = sample::tcp(flow, segment(100, 200, flags.with(ACK)), &[], b"abcdef");
            assert!(Segments::of(&parse(&bytes).unwrap(), NonZeroU16::MIN).is_none(), "{flags:?}");
        }
        let datagram = sample::packet(flow_v4(Protocol::Udp), b"abcdef");
        assert!(Segments::of(&parse(&datagram).unwrap(), NonZeroU16::MIN).is_none());
    }

    #[test]
    fn a_short_buffer_loses_nothing() {
        let whole = sample::tcp(flow_v4(Protocol::Tcp), segment(100, 200, ACK), &[], b"abcdef");
        let mut segments = Segments::of(&parse(&whole).unwrap(), NonZeroU16::new(4).unwrap()).unwrap();
        assert_eq!((segments.count(), segments.longest()), (2, 44));
        let mut buffer = [0; 44];
        assert_eq!(segments.write_next(&mut buffer[..43]), Err(ComposeError::NoRoom));
        assert_eq!(segments.write_next(&mut buffer[..44]), Ok(Some(44)));
        assert_eq!(segments.write_next(&mut buffer[..41]), Err(ComposeError::NoRoom));
        assert_eq!(segments.write_next(&mut buffer[..42]), Ok(Some(42)));
        assert_eq!(segments.write_next(&mut buffer), Ok(None));
    }

    proptest! {
        #[test]
        fn the_parts_carry_the_whole(
            is_ipv6: bool, sequence: u32, flags in any::<u8>(), size in 1_u16..2_000,
            options in 0_usize..=10, payload in prop::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let flow = if is_ipv6 { flow_v6(Protocol::Tcp) } else { flow_v4(Protocol::Tcp) };
            let flags = TcpFlags::from_bits(flags & 0b1101_1001);
            let whole = sample::tcp(flow, segment(sequence, 7, flags), &[1; 40][..options * 4], &payload);
            let parts = cut(&whole, size);
            prop_assert_eq!(parts.len(), payload.len().div_ceil(usize::from(size)).max(1));
            let mut carried = Vec::new();
            for part in &parts {
                let part = parse(part).unwrap();
                prop_assert!(part.payload().len() <= usize::from(size));
                carried.extend_from_slice(part.payload());
            }
            prop_assert_eq!(carried, payload);
        }
    }

    fn cut(whole: &[u8], size: u16) -> Vec<Vec<u8>> {
        let size = NonZeroU16::new(size).unwrap();
        let mut segments = Segments::of(&parse(whole).unwrap(), size).unwrap();
        let mut parts = Vec::new();
        loop {
            let mut buffer = vec![0xaa; segments.longest()];
            let Some(length) = segments.write_next(&mut buffer).unwrap() else { return parts };
            buffer.truncate(length);
            assert!(is_sound(&buffer));
            parts.push(buffer);
        }
    }

    fn described(flow: Flow, bytes: &[u8]) -> (u32, TcpFlags, String) {
        let packet = parse(bytes).unwrap();
        assert_eq!(packet.flow(), Some(flow));
        let Content::Tcp(tcp) = packet.content() else { panic!("{packet:?}") };
        assert_eq!((tcp.acknowledgement, tcp.window), (200, 1_000));
        (tcp.sequence, tcp.flags, String::from_utf8_lossy(packet.payload()).into_owned())
    }
}
