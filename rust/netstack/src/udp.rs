use std::time::Duration;

use ztna_model::{Time, minutes};

use crate::output::{Event, News};
use crate::packets::Packets;

/// One flow of datagrams: those that wait to be read, and the time of the last one.
pub(crate) struct Udp {
    unread: Packets<()>,
    buffer: usize,
    last: Time,
    want_read: bool,
}

impl Udp {
    /// A flow that keeps up to `buffer` bytes unread, if that is not too many.
    pub(crate) fn new(buffer: usize, now: Time) -> Self {
        let buffer = buffer.min(MOST);
        Self { unread: Packets::new(buffer), buffer, last: now, want_read: true }
    }

    /// Takes a datagram in, unless too many wait already.
    pub(crate) fn ingest(&mut self, payload: &[u8], now: Time) -> bool {
        self.touch(now);
        self.unread.push((), payload)
    }

    /// Notes that a datagram passes, one way or the other.
    pub(crate) fn touch(&mut self, now: Time) {
        self.last = self.last.max(now);
    }

    /// Takes the oldest datagram out.
    pub(crate) fn recv(&mut self) -> Option<&[u8]> {
        self.want_read = self.unread.is_empty();
        self.unread.pop().map(|((), payload)| payload)
    }

    /// Adds what has happened since this was last asked.
    pub(crate) fn tell(&mut self, news: &mut News) {
        if self.want_read && !self.unread.is_empty() {
            self.want_read = false;
            news.add(Event::Readable);
        }
    }

    /// When it is over, unless another datagram passes.
    pub(crate) fn deadline(&self) -> Time {
        self.last + IDLE
    }

    /// What it was given for its buffer, in bytes.
    pub(crate) const fn buffer(&self) -> usize {
        self.buffer
    }
}

/// Datagrams that have waited behind so many others are of no use any more.
const MOST: usize = 64 << 10;
/// How long a flow lives without datagrams (RFC 4787, REQ-5).
const IDLE: Duration = minutes(2);
