use std::collections::BTreeSet;
use std::path::PathBuf;

use ztna_netstack::NotTaken::{Checksum, OtherProtocol, Stray, Unreadable};
use ztna_packet::PacketError::{self, BadHeaderLength, Fragment, LengthMismatch, SourceRoute, Truncated};

use crate::net::{CLIENT, GATEWAY, Net};

/// What becomes of a packet at a gateway that knows nothing yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Somebody is asked about it.
    Asked,
    /// It is not taken, for this reason, and answered by so many packets.
    Not(ztna_netstack::NotTaken, usize),
}

use Fate::{Asked, Not};

const ROWS: &[(&str, Fate)] = &[
    ("ack-stray", Not(Stray, 1)),
    ("all-flags", Not(Stray, 0)),
    ("data-stray", Not(Stray, 1)),
    ("datagram", Asked),
    ("datagram-bad-checksum", Not(Checksum, 0)),
    ("datagram-bad-ip-checksum", Not(Checksum, 0)),
    ("datagram-empty", Asked),
    ("datagram-ipv6", Asked),
    ("datagram-longer-than-it-says", Not(Checksum, 0)),
    ("datagram-shorter-than-it-says", not(LengthMismatch)),
    ("datagram-to-multicast", Not(Stray, 0)),
    ("datagram-without-checksum", Asked),
    ("datagram-without-checksum-ipv6", Not(Checksum, 0)),
    ("e04-fragment-first", not(Fragment)),
    ("e04-fragment-ipv6", not(Fragment)),
    ("e04-fragment-later", not(Fragment)),
    ("e04-source-route", not(SourceRoute)),
    ("echo-request", Not(OtherProtocol, 0)),
    ("empty", not(Truncated)),
    ("fin-stray", Not(Stray, 1)),
    ("header-longer-than-segment", not(BadHeaderLength)),
    ("header-of-4-words", not(BadHeaderLength)),
    ("no-flags", Not(Stray, 1)),
    ("rst-stray", Not(Stray, 0)),
    ("segment-truncated", not(Truncated)),
    ("syn", Asked),
    ("syn-ack-stray", Not(Stray, 1)),
    ("syn-bad-checksum", Not(Checksum, 0)),
    ("syn-behind-options-ipv6", Not(Stray, 0)),
    ("syn-fin", Not(Stray, 0)),
    ("syn-from-multicast-ipv6", Not(Stray, 0)),
    ("syn-from-port-0", Not(Stray, 0)),
    ("syn-ipv6", Asked),
    ("syn-option-length-0", Not(Stray, 0)),
    ("syn-option-past-end", Not(Stray, 0)),
    ("syn-option-without-length", Not(Stray, 0)),
    ("syn-rst", Not(Stray, 0)),
    ("syn-sack-of-9-bytes", Not(Stray, 0)),
    ("syn-scale-255", Asked),
    ("syn-segment-size-0", Asked),
    ("syn-segment-size-1", Asked),
    ("syn-to-broadcast", Not(Stray, 0)),
    ("syn-to-multicast", Not(Stray, 0)),
    ("syn-to-nowhere-ipv6", Not(Stray, 0)),
    ("syn-to-port-0", Not(Stray, 0)),
    ("syn-unknown-option", Asked),
    ("syn-urgent", Asked),
    ("syn-window-0", Asked),
    ("syn-with-data", Asked),
    ("syn-without-options", Asked),
];

const fn not(cause: PacketError) -> Fate {
    Not(Unreadable(cause), 0)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/netstack")
}

#[test]
fn every_packet_meets_its_fate() {
    for (name, expected) in ROWS {
        let packet = std::fs::read(root().join(format!("{name}.bin"))).unwrap();
        let mut net = Net::fair();
        let outcome = net.inject(GATEWAY, &packet);
        net.drain();
        let fate = match outcome {
            Ok(()) => Asked,
            Err(cause) => Not(cause, net.ends[GATEWAY].sent.len()),
        };
        assert_eq!(fate, *expected, "{name}");
        let asked = net.ends[GATEWAY].incoming.len();
        assert_eq!(
            (asked, net.ends[GATEWAY].stack.flows()),
            (usize::from(fate == Asked), usize::from(fate == Asked))
        );
        // Whoever is let in does not break anything, and a client lets nobody in.
        for (stream, _) in std::mem::take(&mut net.ends[GATEWAY].incoming) {
            net.ends[GATEWAY].stack.accept(stream, net.now).unwrap();
            net.drain();
            assert!(net.inject(GATEWAY, &packet).is_ok());
            net.drain();
            assert_eq!(net.ends[GATEWAY].stack.flows(), 1);
        }
        assert!(net.inject(CLIENT, &packet).is_err());
        assert_eq!(net.ends[CLIENT].stack.flows(), 0);
    }
}

#[test]
fn every_file_has_a_fate() {
    let files =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let rows: BTreeSet<String> = ROWS.iter().map(|(name, _)| format!("{name}.bin")).collect();
    assert_eq!(files.collect::<BTreeSet<_>>(), rows);
}
