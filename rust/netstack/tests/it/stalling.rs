use proptest::prelude::*;
use ztna_model::{Protocol, millis};
use ztna_netstack::{Limits, StreamId};

use crate::net::{CLIENT, FAIR, GATEWAY, Net, flow};

/// One end that always has more to send, and one that reads when it likes.
struct Stalling {
    net: Net,
    streams: [StreamId; 2],
    sender: usize,
    buffer: usize,
}

impl Stalling {
    fn new(sender: usize, buffer: usize, seed: u64) -> Self {
        let limits = [
            Limits { buffer_per_flow: buffer, ..Limits::DESKTOP },
            Limits { buffer_per_flow: buffer, ..Limits::GATEWAY },
        ];
        let mut net = Net::new(FAIR, limits, seed);
        let streams = net.connection(flow(Protocol::Tcp, 5000));
        Self { net, streams, sender, buffer }
    }

    /// Lets time pass; the sender sends what it can.
    fn run_for(&mut self, milliseconds: u64) {
        let end = self.net.now + millis(milliseconds);
        while self.net.now < end {
            while self.net.ends[self.sender].stack.send(self.streams[self.sender], &[7; 1 << 16]) > 0 {}
            self.net.run_for(millis(1));
        }
    }

    /// Reads up to `most` bytes; returns how many there were.
    fn read(&mut self, most: usize) -> usize {
        let reader = 1 - self.sender;
        self.net.ends[reader].stack.recv(self.streams[reader], &mut vec![0; most])
    }

    fn unread(&mut self) -> usize {
        let reader = 1 - self.sender;
        self.net.ends[reader].stack.unread(self.streams[reader])
    }

    /// Whether the reader has as much as it told the sender to send.
    fn is_full(&mut self) -> bool {
        self.unread() + 2 * UNIT > self.buffer
    }
}

/// The largest unit in which a window is told, here.
const UNIT: usize = 32;
/// There and back, and the time that [`Stalling::run_for`] takes to look again.
const ROUND_TRIP: u64 = 2 * 5 + 1;

#[test]
fn a_reader_that_paused_hears_more_within_a_round_trip() {
    for sender in [CLIENT, GATEWAY] {
        for buffer in [8 << 10, 64 << 10, 256 << 10, 1 << 20] {
            // Far from every probe, which go out 1, 3 and 7 s after the window has closed.
            for pause in [100, 2_000, 5_000] {
                let mut case = Stalling::new(sender, buffer, pause);
                case.run_for(500 + pause);
                assert!(case.is_full(), "{sender} {buffer} {pause}");
                assert!(case.read(buffer) + 2 * UNIT > buffer);
                case.run_for(ROUND_TRIP);
                assert!(case.unread() > 0, "{sender} {buffer} {pause}: it waits for a probe");
                case.run_for(500);
                assert!(case.is_full(), "{sender} {buffer} {pause}: it does not go on");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_reader_takes_is_made_good_within_a_round_trip(
        sizes in 13_u32..21,
        reads in prop::collection::vec((0_u64..3_000, 0_f64..1.0), 1..12),
        sender in CLIENT..=GATEWAY,
        seed: u64,
    ) {
        let buffer = 1 << sizes;
        let mut case = Stalling::new(sender, buffer, seed);
        case.run_for(500);
        for (pause, share) in reads {
            case.run_for(pause);
            prop_assert!(case.is_full());
            case.read((2 * UNIT).max((buffer as f64 * share) as usize));
            let left = case.unread();
            case.run_for(ROUND_TRIP);
            prop_assert!(case.unread() > left, "it waits for a probe: {left} of {buffer}");
            case.run_for(500);
        }
    }
}
