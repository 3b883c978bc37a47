//! What must hold for any bytes at all, and for packets that nearly are right.

use std::num::NonZeroU16;

use proptest::prelude::*;
use ztna_model::{Flow, Protocol};

use crate::corpus;
use crate::join::{ChecksumDepth, Run};
use crate::packet::{Content, Packet, parse};
use crate::sample::{any_flow, flow_v4, flow_v6, is_sound, packet};
use crate::segment::Segments;
use crate::{clamp_mss, datagram, prohibit, refuse, reset, reset_flow, rewrite, rewrite_error, too_big};

proptest! {
    #[test]
    fn any_bytes_keep_the_invariants(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_invariants(&bytes);
    }

    #[test]
    fn nearly_right_packets_keep_the_invariants(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = which.get(&corpus::load_sound()).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        check_invariants(&bytes);
    }

    #[test]
    fn what_is_built_is_what_is_read(
        flow in any_flow(), payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = packet(flow, &payload);
        let read = parse(&bytes).unwrap();
        prop_assert_eq!(read.flow(), Some(flow));
        prop_assert_eq!(read.payload(), &payload);
        prop_assert_eq!((read.bytes(), read.hops()), (&bytes[..], 64));
        prop_assert!(read.checksums_hold());

        let flow = Flow { protocol: Protocol::Udp, ..flow };
        let mut buffer = [0xaa; 200];
        let length = datagram(flow, &payload, &mut buffer).unwrap();
        prop_assert_eq!(&buffer[..length], &with_ours(packet(flow, &payload)));
    }

    #[test]
    fn a_changed_byte_is_noticed(
        flow in any_flow(), payload in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut bytes = packet(flow, &payload);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // No checksum covers the class, flow label and hops of IPv6.
        let uncovered = flow.source.address.is_ipv6() && (at < 4 || at == 7);
        let is_noticed = parse(&bytes).map_or(true, |read| !read.checksums_hold());
        prop_assert!(is_noticed || uncovered);
    }
}

/// What holds for everything that arrives: nothing panics, and whatever is written is sound.
pub(crate) fn check_invariants(bytes: &[u8]) {
    let mut buffer = [0; 2_000];
    clamp_mss(&mut bytes.to_vec(), 1_000).ok();
    for to in [flow_v4(Protocol::Tcp), flow_v6(Protocol::Udp), flow_v4(Protocol::IcmpEcho)] {
        check_rewrite(bytes, to);
    }
    let Ok(packet) = parse(bytes) else { return };
    assert!(packet.bytes().len() <= bytes.len());
    assert!(packet.payload().len() < packet.bytes().len());
    assert!(!format!("{packet:?}").is_empty());
    check_answer(&packet, refuse(&packet, &mut buffer).map(|length| &buffer[..length]).ok());
    check_answer(&packet, reset(&packet, &mut buffer).map(|length| &buffer[..length]).ok());
    check_answer(&packet, prohibit(&packet, &mut buffer).map(|length| &buffer[..length]).ok());
    check_answer(&packet, too_big(&packet, 1_280, &mut buffer).map(|length| &buffer[..length]).ok());
    if let Some(Ok(length)) = packet.flow().map(|flow| reset_flow(flow, 1, None, &mut buffer)) {
        assert!(is_sound(&buffer[..length]));
    }
    check_segments(&packet);
    check_run(&packet);
}

/// An answer is sound, is addressed back, and is about what it answers.
fn check_answer(packet: &Packet<'_>, answer: Option<&[u8]>) {
    let Some(bytes) = answer else { return };
    assert!(is_sound(bytes));
    let answer = parse(bytes).unwrap();
    assert!(answer.checksums_hold());
    assert_eq!((answer.source(), answer.destination()), (packet.destination(), packet.source()));
    match answer.content() {
        Content::IcmpError(error) => assert_eq!(Some(error.about), packet.flow()),
        Content::Tcp(_) => assert_eq!(answer.flow(), packet.flow().map(Flow::reversed)),
        Content::Udp(_) | Content::Echo(_) => panic!("not an answer: {answer:?}"),
    }
}

/// A packet is moved to the flow asked for or left as it was, and its checksums are as right as they were.
fn check_rewrite(bytes: &[u8], to: Flow) {
    let mut moved = bytes.to_vec();
    let result = match parse(bytes).map(|packet| packet.content()) {
        Ok(Content::IcmpError(_)) => rewrite_error(&mut moved, to.destination.address, to),
        _ => rewrite(&mut moved, to),
    };
    let Ok(()) = result else {
        assert_eq!(moved, bytes);
        return;
    };
    let (before, after) = (parse(bytes).unwrap(), parse(&moved).unwrap());
    assert_eq!(before.checksums_hold(), after.checksums_hold());
    assert_eq!(before.bytes().len(), after.bytes().len());
}

fn check_segments(packet: &Packet<'_>) {
    let Some(mut segments) = Segments::of(packet, NonZeroU16::new(7).unwrap()) else { return };
    let (mut buffer, mut payload, mut count) = ([0; 400], Vec::new(), 0);
    while let Ok(Some(length)) = segments.write_next(&mut buffer) {
        let segment = parse(&buffer[..length]).unwrap();
        assert!(segment.checksums_hold() && length <= segments.longest());
        payload.extend_from_slice(segment.payload());
        count += 1;
    }
    assert_eq!((payload.as_slice(), count), (packet.payload(), segments.count()));
}

fn check_run(packet: &Packet<'_>) {
    let mut run = Run::new();
    if run.push(packet) {
        let header = run.header(ChecksumDepth::Whole).unwrap();
        assert_eq!([header.as_bytes(), packet.payload()].concat(), packet.bytes());
    }
}

/// The packet as we write it: never to be fragmented, which the library leaves open.
fn with_ours(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] >> 4 == 4 {
        bytes[6] = 0x40;
        bytes[10..12].fill(0);
        let checksum = crate::checksum(&bytes[..20]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}
