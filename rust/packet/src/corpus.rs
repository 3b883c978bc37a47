//! Recorded packets, each named by what it is, and what becomes of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::PacketError::{self, *};
use crate::icmp::IcmpErrorKind;
use crate::packet::{Content, parse};
use crate::properties;

#[test]
fn e04_fragments_are_refused() {
    check_refused(|name| name.starts_with("e04-") && name.contains("fragment"), 11);
}

#[test]
fn e04_headers_that_hide_ports_or_ends_are_refused() {
    let carries = ["e04-ipv4-", "e04-ipv6-", "e04-source-route-"];
    let hides = |name: &str| carries.iter().any(|prefix| name.starts_with(prefix));
    check_refused(|name| hides(name) && !name.contains("fragment"), 15);
}

#[test]
fn e04_icmp_errors_with_a_forged_inner_packet_are_refused() {
    check_refused(|name| name.starts_with("e04-icmp"), 11);
}

#[test]
fn what_is_malformed_is_refused() {
    check_refused(|name| !name.starts_with("e04-"), 28);
}

#[test]
fn what_is_sound_is_read() {
    for (name, expected) in READ {
        let bytes = load(name);
        let packet = parse(&bytes).unwrap();
        let flow = packet.flow().unwrap();
        let payload = String::from_utf8_lossy(packet.payload());
        let found = format!("{} {} > {} {payload:?}", flow.protocol, flow.source, flow.destination);
        assert_eq!(&found, expected, "{name}");
        assert!(packet.checksums_hold(), "{name}");
    }
}

#[test]
fn an_icmp_error_names_the_flow_it_is_about() {
    for (name, kind, about, sequence) in ERRORS {
        let bytes = load(name);
        let packet = parse(&bytes).unwrap();
        let Content::IcmpError(error) = packet.content() else { panic!("{name}") };
        let found = format!("{} {} > {}", error.about.protocol, error.about.source, error.about.destination);
        assert_eq!((error.kind, found.as_str(), error.sequence), (*kind, *about, *sequence), "{name}");
        assert_eq!(error.about.source.address, packet.destination(), "{name}");
        assert_eq!(packet.flow(), None, "{name}");
        assert!(packet.checksums_hold(), "{name}");
    }
}

#[test]
fn bytes_behind_the_packet_are_not_part_of_it() {
    let bytes = load("tcp-trailing-bytes");
    assert_eq!(parse(&bytes).unwrap().bytes().len(), bytes.len() - 9);
}

#[test]
fn every_recorded_packet_is_expected_and_keeps_the_invariants() {
    let expected = REFUSED.iter().map(|row| row.0).chain(READ.iter().map(|row| row.0));
    let expected: BTreeSet<String> =
        expected.chain(ERRORS.iter().map(|row| row.0)).map(str::to_owned).collect();
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let found: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(found, expected);
    for name in found {
        properties::check_invariants(&load(&name));
    }
}

/// Checks the rows of `REFUSED` whose names fit, of which there are `count`.
fn check_refused(fits: impl Fn(&str) -> bool, count: usize) {
    let rows: Vec<_> = REFUSED.iter().filter(|(name, _)| fits(name)).collect();
    assert_eq!(rows.len(), count);
    for (name, expected) in rows {
        assert_eq!(parse(&load(name)).err(), Some(*expected), "{name}");
    }
}

/// The bytes of a recorded packet.
pub(crate) fn load(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.bin"))).unwrap()
}

/// The bytes of every recorded packet that is read.
pub(crate) fn load_sound() -> Vec<Vec<u8>> {
    READ.iter().map(|row| row.0).chain(ERRORS.iter().map(|row| row.0)).map(load).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/packet")
}

const REFUSED: &[(&str, PacketError)] = &[
    ("e04-fragment-first", Fragment),
    ("e04-fragment-tiny-first", Fragment),
    ("e04-fragment-later", Fragment),
    ("e04-fragment-overlapping-header", Fragment),
    ("e04-fragment-last", Fragment),
    ("e04-ipv6-fragment-first", Fragment),
    ("e04-ipv6-fragment-later", Fragment),
    ("e04-ipv6-fragment-atomic", Fragment),
    ("e04-ipv6-fragment-behind-options", Fragment),
    ("e04-ipv6-fragment-hides-transport-behind-options", Fragment),
    ("e04-ipv6-routing-type-0", RoutingHeader),
    ("e04-ipv6-routing-segment", RoutingHeader),
    ("e04-ipv6-home-address", HomeAddress),
    ("e04-ipv6-too-many-headers", TooManyHeaders),
    ("e04-ipv6-endless-headers", TooManyHeaders),
    ("e04-ipv6-hop-by-hop-later", MisplacedHeader),
    ("e04-ipv6-authentication-header", UnknownTransport(51)),
    ("e04-ipv6-encrypted", UnknownTransport(50)),
    ("e04-ipv6-no-next-header", UnknownTransport(59)),
    ("e04-ipv6-in-ipv6", UnknownTransport(41)),
    ("e04-ipv4-in-ipv4", UnknownTransport(4)),
    ("e04-ipv6-header-past-end", Truncated),
    ("e04-ipv6-bad-option", BadOption),
    ("e04-source-route-loose", SourceRoute),
    ("e04-source-route-strict", SourceRoute),
    ("e04-icmp-quotes-another-sender", QuotesAnother),
    ("e04-icmp-quotes-the-error-s-sender", QuotesAnother),
    ("e04-icmpv6-quotes-another-sender", QuotesAnother),
    ("e04-icmp-quotes-ipv6", QuotesAnother),
    ("e04-icmp-quotes-a-fragment", Fragment),
    ("e04-icmp-quotes-an-error", QuotesIcmp),
    ("e04-icmp-quotes-too-little", Truncated),
    ("e04-icmp-quotes-nothing", Truncated),
    ("e04-icmp-redirect", UnknownIcmp(5)),
    ("e04-icmpv6-redirect", UnknownIcmp(137)),
    ("e04-icmpv6-router-advertisement", UnknownIcmp(134)),
    ("empty", Truncated),
    ("version-0", BadVersion(0)),
    ("version-5", BadVersion(5)),
    ("ipv4-truncated-header", Truncated),
    ("ipv4-header-length-4", BadHeaderLength),
    ("ipv4-header-length-past-end", Truncated),
    ("ipv4-total-below-header", LengthMismatch),
    ("ipv4-total-0", LengthMismatch),
    ("ipv4-total-past-end", Truncated),
    ("ipv4-option-past-end", BadOption),
    ("ipv4-option-length-0", BadOption),
    ("ipv4-option-without-length", BadOption),
    ("ipv4-protocol-gre", UnknownTransport(47)),
    ("ipv4-protocol-icmpv6", UnknownTransport(58)),
    ("ipv6-truncated-header", Truncated),
    ("ipv6-length-past-end", Truncated),
    ("ipv6-jumbo", Truncated),
    ("ipv6-protocol-icmp", UnknownTransport(1)),
    ("tcp-truncated", Truncated),
    ("tcp-header-length-4", BadHeaderLength),
    ("tcp-header-length-past-end", BadHeaderLength),
    ("udp-truncated", Truncated),
    ("udp-length-7", LengthMismatch),
    ("udp-length-0", LengthMismatch),
    ("udp-length-past-end", LengthMismatch),
    ("icmp-truncated", Truncated),
    ("icmp-timestamp", UnknownIcmp(13)),
    ("icmp-echo-code-1", UnknownIcmp(8)),
];

const READ: &[(&str, &str)] = &[
    ("tcp-syn", r#"tcp 198.19.0.1:50000 > 198.18.0.7:443 """#),
    ("tcp-data", r#"tcp 198.19.0.1:50000 > 198.18.0.7:443 "GET / HTTP/1.1\r\n\r\n""#),
    ("tcp-ipv6", r#"tcp [2001:2::1]:50000 > [2001:2:0:1::7]:443 "data""#),
    ("tcp-ip-options", r#"tcp 198.19.0.1:50000 > 198.18.0.7:443 """#),
    ("tcp-trailing-bytes", r#"tcp 198.19.0.1:50000 > 198.18.0.7:443 "data""#),
    ("udp-datagram", r#"udp 198.19.0.1:50000 > 198.18.0.7:53 "hello""#),
    ("udp-ipv6", r#"udp [2001:2::1]:50000 > [2001:2:0:1::7]:53 "hello""#),
    ("udp-without-checksum", r#"udp 198.19.0.1:50000 > 198.18.0.7:53 "hello""#),
    ("udp-shorter-than-ip", r#"udp 198.19.0.1:50000 > 198.18.0.7:53 "hello""#),
    ("udp-ipv6-extension-headers", r#"udp [2001:2::1]:50000 > [2001:2:0:1::7]:53 "hello""#),
    ("echo-request", r#"icmp-echo 198.19.0.1:7 > 198.18.0.7:0 "ping""#),
    ("echo-reply", r#"icmp-echo 198.19.0.1:0 > 198.18.0.7:7 "ping""#),
    ("echo-request-ipv6", r#"icmp-echo [2001:2::1]:7 > [2001:2:0:1::7]:0 "ping""#),
    ("echo-reply-ipv6", r#"icmp-echo [2001:2::1]:0 > [2001:2:0:1::7]:7 "ping""#),
];

const TCP_ABOUT: &str = "tcp 198.18.0.7:50000 > 198.19.0.1:443";
const UDP_ABOUT: &str = "udp [2001:2:0:1::7]:50000 > [2001:2::1]:53";

const ERRORS: &[(&str, IcmpErrorKind, &str, Option<u32>)] = &[
    ("icmp-port-unreachable", IcmpErrorKind::Unreachable { code: 3 }, TCP_ABOUT, Some(1000)),
    ("icmp-fragmentation-needed", IcmpErrorKind::TooBig { mtu: 1280 }, TCP_ABOUT, Some(1000)),
    ("icmp-time-exceeded", IcmpErrorKind::TimeExceeded, TCP_ABOUT, Some(1000)),
    ("icmp-parameter-problem", IcmpErrorKind::ParameterProblem, TCP_ABOUT, Some(1000)),
    ("icmpv6-unreachable", IcmpErrorKind::Unreachable { code: 4 }, UDP_ABOUT, None),
    ("icmpv6-too-big", IcmpErrorKind::TooBig { mtu: 1280 }, UDP_ABOUT, None),
    ("icmpv6-time-exceeded", IcmpErrorKind::TimeExceeded, UDP_ABOUT, None),
    (
        "icmp-about-echo",
        IcmpErrorKind::Unreachable { code: 1 },
        "icmp-echo 198.18.0.7:7 > 198.19.0.1:0",
        None,
    ),
];
