use std::time::Duration;

use ztna_netstack::{Cause, Event, StreamId};

use crate::net::{CLIENT, GATEWAY, Net};

/// What one end of a connection has to say, and what it has heard.
pub(crate) struct Talk {
    /// What it sends.
    pub(crate) text: Vec<u8>,
    /// How much of that it has given away.
    pub(crate) given: usize,
    /// What it has read.
    pub(crate) heard: Vec<u8>,
    finished: bool,
}

impl Talk {
    /// Has `length` bytes to send that follow from `seed`.
    pub(crate) fn new(length: usize, seed: u8) -> Self {
        let text =
            (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed).collect();
        Self { text, given: 0, heard: Vec::new(), finished: false }
    }

    /// Does what can be done, in pieces of all sizes.
    pub(crate) fn go_on(&mut self, net: &mut Net, end: usize, stream: StreamId) {
        let most = 1 + net.dice.roll(40_000) as usize;
        let mut buffer = vec![0; most];
        loop {
            let length = net.ends[end].stack.recv(stream, &mut buffer);
            self.heard.extend_from_slice(&buffer[..length]);
            if length == 0 {
                break;
            }
        }
        loop {
            let piece = &self.text[self.given..self.text.len().min(self.given + most)];
            let length = net.ends[end].stack.send(stream, piece);
            self.given += length;
            if length < most {
                break;
            }
        }
        if self.given == self.text.len() && !self.finished {
            self.finished = true;
            net.ends[end].stack.shutdown_write(stream);
        }
    }
}

/// Lets both ends of a connection talk until both are through and all is over. Returns how long that took.
pub(crate) fn talk(net: &mut Net, streams: [StreamId; 2], mut talks: [Talk; 2]) -> Duration {
    let begin = net.now;
    net.drain();
    for steps in 0.. {
        talks[CLIENT].go_on(net, CLIENT, streams[CLIENT]);
        talks[GATEWAY].go_on(net, GATEWAY, streams[GATEWAY]);
        net.drain();
        if [CLIENT, GATEWAY].iter().all(|end| net.ends[*end].stack.flow(streams[*end]).is_none()) {
            break;
        }
        assert!(net.step(), "nothing happens any more");
        assert!(steps < 500_000, "it does not come to an end");
    }
    let [client, gateway] = &talks;
    assert!(client.heard == gateway.text, "what the gateway has sent does not arrive");
    assert!(gateway.heard == client.text, "what the client has sent does not arrive");
    for end in [CLIENT, GATEWAY] {
        let heard = net.heard(end, streams[end]);
        let count = |event: Event| heard.iter().filter(|other| **other == event).count();
        assert_eq!((count(Event::Connected), count(Event::PeerClosed)), (1, 1), "{heard:?}");
        // In bad weather the last word of all may never be heard.
        let may_end_so = |last: &Event| *last == Event::Reset(Cause::Silence) && net.weather.lost > 0;
        assert!(heard.last().is_some_and(|last| *last == Event::Closed || may_end_so(last)), "{heard:?}");
        assert_eq!((net.ends[end].stack.flows(), net.ends[end].stack.buffered()), (0, 0));
    }
    net.now.since(begin)
}
