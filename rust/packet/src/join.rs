use crate::checksum::Sum;
use crate::compose::{set_length, write_at};
use crate::packet::{Content, Packet};
use crate::tcp::{FLAGS_AT, Tcp, TcpFlags};
use crate::transport::Transport;

/// TCP segments that follow one another, joined into one long packet: a new header, and the payloads where they lie.
///
/// A run holds plain data of one flow: the same acknowledgement, window and options, the next sequence number, and a
/// size that only the last segment may fall short of. What asks to be handed on (PSH) ends it. Every checksum is
/// verified before it is replaced, so that what arrives damaged stays alone and is dropped by its receiver.
///
/// ```text
///   header | 1,240    header | 1,240    header | 520        →   header | 3,000 bytes
///   seq 100, ACK      seq 1340, ACK     seq 2580, PSH, ACK      seq 100, PSH, ACK
/// ```
///
/// Push packets until one is not taken; write the run, clear it, and push that packet again. If it is refused by an
/// empty run too, write it as it is.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    first: Option<First<'a>>,
    flags: TcpFlags,
    parts: [&'a [u8]; MOST_PARTS],
    count: usize,
    length: usize,
    sum: Sum,
}

#[derive(Clone, Copy, Debug)]
struct First<'a> {
    packet: Packet<'a>,
    tcp: Tcp,
}

/// The headers of a joined packet.
#[derive(Clone, Debug)]
pub struct JoinedHeader {
    bytes: [u8; MOST_HEADER],
    length: usize,
    transport: usize,
}

/// How far the checksum of a joined packet is worked out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumDepth {
    /// Entirely.
    Whole,
    /// The addresses, protocol and length alone: whoever takes the packet adds the rest, as
    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM` asks for.
    PseudoHeader,
}

impl<'a> Run<'a> {
    /// A run of nothing. Make one for a batch, and clear it between runs.
    pub const fn new() -> Self {
        let parts = [[].as_slice(); MOST_PARTS];
        Self { first: None, flags: TcpFlags::ACK, parts, count: 0, length: 0, sum: Sum::ZERO }
    }

    /// Takes `packet` in, if it begins or continues the run.
    pub fn push(&mut self, packet: &Packet<'a>) -> bool {
        let Some(tcp) = plain_data(packet).filter(|tcp| self.may_take(packet, tcp)) else {
            return false;
        };
        let (Some(sum), Some(slot)) = (verified_payload(packet), self.parts.get_mut(self.count)) else {
            return false;
        };
        *slot = packet.payload();
        self.first.get_or_insert(First { packet: *packet, tcp });
        self.flags = self.flags.with(tcp.flags);
        self.sum = self.sum.plus(if self.length % 2 == 1 { sum.at_odd_offset() } else { sum });
        self.length += packet.payload().len();
        self.count += 1;
        true
    }

    /// Empties the run.
    pub const fn clear(&mut self) {
        (self.first, self.flags) = (None, TcpFlags::ACK);
        (self.count, self.length, self.sum) = (0, 0, Sum::ZERO);
    }

    /// The payloads, in order: they follow the header.
    pub fn parts(&self) -> &[&'a [u8]] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    /// The payload of each segment but perhaps the last, in bytes: the size to cut the run to again.
    pub fn size(&self) -> usize {
        self.parts().first().map_or(0, |part| part.len())
    }

    /// The packet itself, if there is one alone: nothing needs to be made anew.
    pub fn alone(&self) -> Option<Packet<'a>> {
        self.first.filter(|_| self.count == 1).map(|first| first.packet)
    }

    /// The header of the joined packet, unless the run is empty.
    pub fn header(&self, depth: ChecksumDepth) -> Option<JoinedHeader> {
        let packet = self.first?.packet;
        let ip = packet.ip();
        let from = packet.header();
        let mut header = JoinedHeader { bytes: [0; MOST_HEADER], length: from.len(), transport: ip.header };
        let bytes = header.bytes.get_mut(..from.len())?;
        bytes.copy_from_slice(from);
        set_length(bytes, ip.is_ipv4(), ip.header, from.len() + self.length).ok()?;
        let body = bytes.get_mut(ip.header..)?;
        write_at(body, FLAGS_AT, &[self.flags.bits()]);
        write_at(body, CHECKSUM_AT, &[0, 0]);
        let pseudo_header = ip.transport.pseudo_header(ip.sum_of_addresses(), body.len() + self.length);
        let checksum = match depth {
            ChecksumDepth::Whole => pseudo_header.plus(Sum::of(body)).plus(self.sum).checksum(),
            ChecksumDepth::PseudoHeader => pseudo_header.value(),
        };
        write_at(body, CHECKSUM_AT, &checksum.to_be_bytes());
        Some(header)
    }

    /// Whether `packet` begins a run or is the next of this one, its checksums aside.
    fn may_take(&self, packet: &Packet<'_>, tcp: &Tcp) -> bool {
        let Some(first) = &self.first else { return true };
        let length = self.length + packet.payload().len();
        !self.is_over()
            && packet.payload().len() <= self.size()
            && first.packet.header().len() + length <= MOST
            && first.is_alike(packet)
            && first.is_followed_by(tcp, self.length)
    }

    /// Whether the last segment lets no other follow.
    fn is_over(&self) -> bool {
        self.flags.has(TcpFlags::PSH) || self.length < self.count * self.size()
    }
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl First<'_> {
    /// Whether `packet` has the same ends, and the same headers but for what changes from segment to segment.
    fn is_alike(&self, packet: &Packet<'_>) -> bool {
        packet.source() == self.packet.source()
            && packet.destination() == self.packet.destination()
            && kept_of_ip_header(packet) == kept_of_ip_header(&self.packet)
            && packet.transport_header().get(20..) == self.packet.transport_header().get(20..)
    }

    /// Whether `tcp` goes on where the run, now `length` bytes long, ends.
    fn is_followed_by(&self, tcp: &Tcp, length: usize) -> bool {
        let offset = u32::try_from(length).unwrap_or(u32::MAX);
        *tcp == Tcp { sequence: self.tcp.sequence.wrapping_add(offset), flags: tcp.flags, ..self.tcp }
    }
}

impl JoinedHeader {
    /// The bytes to write ahead of the payloads.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) const fn is_ipv4(&self) -> bool {
        self.bytes[0] >> 4 == 4
    }

    /// Where the TCP header begins.
    pub const fn transport_at(&self) -> usize {
        self.transport
    }
}

/// The TCP header of a packet without IP options or extension headers that carries data and says nothing else.
fn plain_data(packet: &Packet<'_>) -> Option<Tcp> {
    let Content::Tcp(tcp) = packet.content() else { return None };
    let fixed = if packet.ip().is_ipv4() { 20 } else { 40 };
    let is_plain = packet.ip().header == fixed
        && tcp.flags.without(TcpFlags::PSH) == TcpFlags::ACK
        && !packet.payload().is_empty();
    is_plain.then_some(tcp)
}

/// The sum of the payload, if all checksums hold.
fn verified_payload(packet: &Packet<'_>) -> Option<Sum> {
    let payload = Sum::of(packet.payload());
    let sum = payload.plus(Sum::of(packet.transport_header())).plus(packet.pseudo_header());
    (sum.value() == u16::MAX && packet.header_checksum_holds()).then_some(payload)
}

/// What segments must share of the IP header: class of service, congestion mark, flow label, hops, and whether they
/// may be fragmented.
fn kept_of_ip_header(packet: &Packet<'_>) -> Option<[u8; 5]> {
    match *packet.ip_header() {
        [v, class, _, _, _, _, fragment, _, hops, ..] if v >> 4 == 4 => Some([v, class, fragment, hops, 0]),
        [a, b, c, d, _, _, _, hops, ..] => Some([a, b, c, d, hops]),
        _ => None,
    }
}

const CHECKSUM_AT: usize = Transport::Tcp.checksum_at();
/// The longest IPv6 header without extensions and the longest TCP header.
const MOST_HEADER: usize = 40 + 60;
/// What one `writev` takes on every platform is far more; a packet of this many segments is full in practice.
const MOST_PARTS: usize = 64;
/// The longest packet that both families can express.
const MOST: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;
    use ztna_model::Protocol;

    use super::*;
    use crate::packet::parse;
    use crate::sample::{self, flow, flow_v4, flow_v6, is_sound, packet, segment};
    use crate::segment::Segments;

    const ACK: TcpFlags = TcpFlags::ACK;
    const PSH: TcpFlags = TcpFlags::ACK.with(TcpFlags::PSH);
    const ENDING: TcpFlags = TcpFlags::ACK.with(TcpFlags::FIN);
    const MARKED: TcpFlags = TcpFlags::ACK.with(TcpFlags::ECE);

    /// Each row: sequence number, flags and payload of each segment, and how many of them make the first run.
    #[test]
    fn runs() {
        type Row = (&'static [(u32, TcpFlags, &'static str)], usize);
        let rows: [Row; 12] = [
            (&[(100, ACK, "abcd"), (104, ACK, "efgh"), (108, ACK, "ijkl")], 3),
            (&[(u32::MAX - 3, ACK, "abcd"), (0, ACK, "efgh")], 2),
            (&[(100, ACK, "abc"), (103, ACK, "efg"), (106, ACK, "ijk"), (109, ACK, "l")], 4),
            (&[(100, ACK, "abcd"), (104, ACK, "ef"), (106, ACK, "gh")], 2),
            (&[(100, ACK, "abcd"), (104, ACK, "efghi")], 1),
            (&[(100, ACK, "abcd"), (104, PSH, "efgh"), (108, ACK, "ijkl")], 2),
            (&[(100, PSH, "abcd"), (104, ACK, "efgh")], 1),
            (&[(100, ACK, "abcd"), (105, ACK, "efgh")], 1),
            (&[(100, ACK, "abcd"), (100, ACK, "abcd")], 1),
            (&[(100, ACK, "abcd"), (104, ACK, ""), (104, ACK, "efgh")], 1),
            (&[(100, ACK, "abcd"), (104, ENDING, "efgh")], 1),
            (&[(100, ACK, "abcd"), (104, MARKED, "efgh")], 1),
        ];
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            for (segments, expected) in rows {
                let packets: Vec<_> = segments
                    .iter()
                    .map(|&(sequence, flags, text)| {
                        sample::tcp(flow, segment(sequence, 200, flags), &[1, 1, 1, 1], text.as_bytes())
                    })
                    .collect();
                let (joined, count) = join(&packets);
                assert_eq!(count, expected, "{segments:?}");
                let text: String = segments[..count].iter().map(|row| row.2).collect();
                let last = segments[count - 1].1;
                let whole =
                    sample::tcp(flow, segment(segments[0].0, 200, last), &[1, 1, 1, 1], text.as_bytes());
                assert_eq!(joined, whole, "{segments:?}");
            }
        }
    }

    #[test]
    fn a_cleared_run_begins_again() {
        let packets = [packet(flow_v6(Protocol::Tcp), b"longer"), packet(flow_v4(Protocol::Tcp), b"data")];
        let [first, second] = packets.each_ref().map(|bytes| parse(bytes).unwrap());
        let mut run = Run::new();
        assert!(run.header(ChecksumDepth::Whole).is_none() && run.alone().is_none());
        assert!(run.push(&first) && !run.push(&second));
        run.clear();
        assert!(run.header(ChecksumDepth::Whole).is_none() && run.parts().is_empty());
        assert!(run.push(&second));
        let header = run.header(ChecksumDepth::Whole).unwrap();
        assert_eq!([header.as_bytes(), b"data"].concat(), second.bytes());
        assert_eq!(run.alone().map(|packet| packet.bytes()), Some(second.bytes()));
    }

    #[test]
    fn what_begins_no_run() {
        let tcp = flow_v4(Protocol::Tcp);
        let flags =
            [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST, TcpFlags::URG, TcpFlags::ECE, TcpFlags::CWR];
        let flags = flags.map(|flag| sample::tcp(tcp, segment(100, 200, ACK.with(flag)), &[], b"data"));
        let mut damaged = packet(tcp, b"data");
        *damaged.last_mut().unwrap() ^= 1;
        let mut damaged_header = packet(tcp, b"data");
        damaged_header[8] -= 1;
        let others = [
            packet(tcp, b""),
            packet(flow_v4(Protocol::Udp), b"data"),
            sample::tcp(tcp, segment(100, 200, TcpFlags::default()), &[], b"data"),
            damaged,
            damaged_header,
            with_ip_options(),
            with_extension_header(),
        ];
        for bytes in flags.iter().chain(&others) {
            let packet = parse(bytes).unwrap();
            assert!(!Run::new().push(&packet), "{packet:?}");
        }
    }

    #[test]
    fn what_differs_ends_a_run() {
        let tcp = flow_v4(Protocol::Tcp);
        let first = sample::tcp(tcp, segment(100, 200, ACK), &[1, 1, 1, 1], b"data");
        let next = |flow, changed: Tcp, options: &[u8]| sample::tcp(flow, changed, options, b"more");
        let expected = segment(104, 200, ACK);
        let changed = |at: usize, bit: u8| {
            let mut bytes = next(tcp, expected, &[1, 1, 1, 1]);
            bytes[at] ^= bit;
            bytes[10..12].fill(0);
            let checksum = crate::checksum(&bytes[..20]);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            bytes
        };
        let mut damaged = next(tcp, expected, &[1, 1, 1, 1]);
        *damaged.last_mut().unwrap() ^= 1;
        let rows = [
            ("nothing", next(tcp, expected, &[1, 1, 1, 1]), true),
            ("the identification", changed(5, 1), true),
            (
                "the source",
                next(flow(Protocol::Tcp, "198.19.0.2:50000", "198.18.0.7:443"), expected, &[1; 4]),
                false,
            ),
            (
                "the destination",
                next(flow(Protocol::Tcp, "198.19.0.1:50000", "198.18.0.8:443"), expected, &[1; 4]),
                false,
            ),
            (
                "the source port",
                next(flow(Protocol::Tcp, "198.19.0.1:50001", "198.18.0.7:443"), expected, &[1; 4]),
                false,
            ),
            (
                "the destination port",
                next(flow(Protocol::Tcp, "198.19.0.1:50000", "198.18.0.7:444"), expected, &[1; 4]),
                false,
            ),
            ("the family", next(flow_v6(Protocol::Tcp), expected, &[1; 4]), false),
            ("the acknowledgement", next(tcp, segment(104, 201, ACK), &[1; 4]), false),
            ("the window", next(tcp, Tcp { window: 999, ..expected }, &[1; 4]), false),
            ("an option", next(tcp, expected, &[1, 1, 1, 0]), false),
            ("the options' length", next(tcp, expected, &[]), false),
            ("the class", changed(1, 4), false),
            ("the congestion mark", changed(1, 3), false),
            ("the hops", changed(8, 1), false),
            ("may be fragmented", changed(6, 0x40), false),
            ("the checksum", damaged, false),
        ];
        for (what, second, expected) in rows {
            let mut run = Run::new();
            assert!(run.push(&parse(&first).unwrap()));
            assert_eq!(run.push(&parse(&second).unwrap()), expected, "{what}");
            assert_eq!(run.parts().len(), if expected { 2 } else { 1 }, "{what}");
        }
    }

    #[test]
    fn what_differs_in_ipv6_ends_a_run() {
        let flow = flow_v6(Protocol::Tcp);
        let first = packet(flow, b"data");
        let rows = [
            ("nothing", 0, 0, true),
            ("the class", 0, 1, false),
            ("the congestion mark", 1, 0x10, false),
            ("the flow label", 1, 1, false),
            ("the flow label", 3, 1, false),
            ("the hops", 7, 1, false),
        ];
        for (what, at, bit, expected) in rows {
            let mut second = sample::tcp(flow, segment(104, 200, ACK), &[], b"more");
            second[at] ^= bit;
            let mut run = Run::new();
            assert!(run.push(&parse(&first).unwrap()));
            assert_eq!(run.push(&parse(&second).unwrap()), expected, "{what}");
        }
    }

    #[test]
    fn a_run_is_full_at_64_parts_or_65_535_bytes() {
        let rows = [(1, 64), (100, 64), (1_000, 64), (1_024, 63), (1_400, 46), (32_747, 2), (32_748, 1)];
        for (size, expected) in rows {
            let packets: Vec<_> = (0..70)
                .map(|i| {
                    sample::tcp(
                        flow_v4(Protocol::Tcp),
                        segment(i * size, 200, ACK),
                        &[],
                        &vec![7; size as usize],
                    )
                })
                .collect();
            let (joined, count) = join(&packets);
            assert_eq!((count, joined.len()), (expected, 40 + expected * size as usize), "{size}");
            assert!(is_sound(&joined));
        }
    }

    #[test]
    fn a_partial_checksum_is_the_pseudo_header_s() {
        for flow in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Tcp)] {
            let packets = [packet(flow, b"data"), sample::tcp(flow, segment(104, 200, PSH), &[], b"more")];
            let parsed = packets.each_ref().map(|bytes| parse(bytes).unwrap());
            let mut run = Run::new();
            assert!(parsed.iter().all(|packet| run.push(packet)));
            let header = run.header(ChecksumDepth::PseudoHeader).unwrap();
            let at = header.transport_at();
            let mut joined = [header.as_bytes(), b"datamore"].concat();
            let checksum = Sum::of(&joined[at..]).checksum();
            joined[at + 16..at + 18].copy_from_slice(&checksum.to_be_bytes());
            assert!(is_sound(&joined));
            assert_eq!(run.size(), 4);
        }
    }

    proptest! {
        #[test]
        fn what_was_cut_is_joined_again(
            is_ipv6: bool, sequence: u32, is_pushed: bool, size in 500_u16..2_000,
            payload in prop::collection::vec(any::<u8>(), 1..5_000),
        ) {
            let flow = if is_ipv6 { flow_v6(Protocol::Tcp) } else { flow_v4(Protocol::Tcp) };
            let flags = if is_pushed { PSH } else { ACK };
            let whole = sample::tcp(flow, segment(sequence, 200, flags), &[1, 1, 1, 1], &payload);
            let mut segments = Segments::of(&parse(&whole).unwrap(), NonZeroU16::new(size).unwrap()).unwrap();
            let mut packets = Vec::new();
            let mut buffer = vec![0; segments.longest()];
            while let Some(length) = segments.write_next(&mut buffer).unwrap() {
                packets.push(buffer[..length].to_vec());
            }
            prop_assert_eq!(join(&packets), (whole, packets.len()));
        }
    }

    /// The first run of `packets`, and how many it took.
    fn join(packets: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let mut run = Run::new();
        let count = packets.iter().take_while(|bytes| run.push(&parse(bytes).unwrap())).count();
        assert_eq!(run.parts().len(), count);
        assert_eq!(run.alone().is_some(), count == 1);
        let header = run.header(ChecksumDepth::Whole).unwrap();
        ([&[header.as_bytes()], run.parts()].concat().concat(), count)
    }

    fn with_ip_options() -> Vec<u8> {
        let mut bytes = packet(flow_v4(Protocol::Tcp), b"data");
        bytes[0] = 0x46;
        bytes[3] += 4;
        bytes.splice(20..20, [1, 1, 1, 1]);
        bytes[10..12].fill(0);
        let checksum = crate::checksum(&bytes[..24]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert!(is_sound(&bytes));
        bytes
    }

    fn with_extension_header() -> Vec<u8> {
        let mut bytes = packet(flow_v6(Protocol::Tcp), b"data");
        bytes[5] += 8;
        bytes[6] = 60;
        bytes.splice(40..40, [6, 0, 1, 4, 0, 0, 0, 0]);
        assert!(is_sound(&bytes));
        bytes
    }
}
