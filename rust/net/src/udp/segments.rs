use std::fmt;
use std::net::SocketAddr;

use super::wire::Transmit;

/// Datagrams to one destination, sealed one behind the other, that leave in one system call: all of one size, but
/// that the last may be shorter.
///
/// ```text
/// room(to, 1312) → 1312 │ room(to, 1312) → 1312 │ room(to, 80) → 80 │ then: flush
/// ```
pub(super) struct Segments {
    bytes: Box<[u8]>,
    /// Where the datagrams begin that the kernel has not taken yet.
    taken: usize,
    /// Where the next datagram begins.
    end: usize,
    /// The size of all but the last datagram; 0 while there is none.
    segment: usize,
    count: usize,
    destination: Option<SocketAddr>,
    /// Whether the last datagram is shorter than the others, so that none may follow.
    complete: bool,
}

impl Segments {
    /// An empty one, of 64 KiB.
    pub(super) fn new() -> Self {
        let bytes = vec![0; CAPACITY].into_boxed_slice();
        Self { bytes, taken: 0, end: 0, segment: 0, count: 0, destination: None, complete: false }
    }

    /// Whether a datagram of at most `len` bytes to `destination` can leave together with those that are here.
    pub(super) fn fits(&self, destination: SocketAddr, len: usize) -> bool {
        if self.is_empty() {
            return len <= MAX_BYTES;
        }
        let alike = self.destination == Some(destination) && len <= self.segment;
        let open = !self.complete && self.taken == 0 && self.count < MAX_SEGMENTS;
        alike && open && self.end + len <= MAX_BYTES
    }

    /// Where to write a datagram of at most `len` bytes to `destination`, if it fits.
    pub(super) fn room(&mut self, destination: SocketAddr, len: usize) -> Option<&mut [u8]> {
        if !self.fits(destination, len) {
            return None;
        }
        self.destination = Some(destination);
        self.bytes.get_mut(self.end..)
    }

    /// Adds the datagram that was written to the room given last; one longer than announced, that does not fit, is
    /// dropped.
    pub(super) fn commit(&mut self, len: usize) {
        let Some(destination) = self.destination else { return };
        if len == 0 || !self.fits(destination, len) {
            return;
        }
        if self.count == 0 {
            self.segment = len;
        }
        self.complete = len < self.segment;
        self.count += 1;
        self.end += len;
    }

    /// Whether there is nothing to send.
    const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The datagrams that the kernel has not taken yet, ready to be sent.
    pub(super) fn transmit(&self) -> Option<Transmit<'_>> {
        let contents = self.bytes.get(self.taken..self.end)?;
        let destination = self.destination?;
        (!contents.is_empty()).then_some(Transmit { destination, contents, segment_size: self.segment })
    }

    /// Where the datagrams go, or the one for which room was asked last.
    pub(super) const fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// The kernel took so many bytes, whole datagrams. None is added to the rest.
    pub(super) const fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Forgets all datagrams, and tells how many the kernel had not taken.
    pub(super) fn clear(&mut self) -> u64 {
        let left = (self.end - self.taken).div_ceil(self.segment.max(1));
        (self.taken, self.end, self.segment, self.count) = (0, 0, 0, 0);
        self.destination = None;
        self.complete = false;
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments")
            .field("destination", &self.destination)
            .field("count", &self.count)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

/// The kernel's limit (`UDP_MAX_SEGMENTS` before Linux 6.2).
pub(super) const MAX_SEGMENTS: usize = 64;
/// What fits one IP packet with its headers.
pub(super) const MAX_BYTES: usize = 65_000;
/// Longer than `MAX_BYTES`, so that the last datagram's writer has room to spare too.
const CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// Writes datagrams of these (port, size); tells how many were taken before one did not fit.
    fn check(datagrams: &[(u16, usize)], taken: usize, segment: usize, bytes: usize) {
        let mut buffer = Segments::new();
        let fitting = datagrams.iter().take_while(|(port, len)| {
            let Some(room) = buffer.room(to(*port), *len) else { return false };
            assert!(room.len() >= *len && room.len() >= 512);
            room[..*len].fill(1);
            buffer.commit(*len);
            true
        });
        assert_eq!(fitting.count(), taken, "{datagrams:?}");
        let transmit = buffer.transmit().map_or((0, 0), |t| (t.segment_size, t.contents.len()));
        assert_eq!(transmit, (segment, bytes), "{datagrams:?}");
    }

    #[test]
    fn what_leaves_together() {
        check(&[], 0, 0, 0);
        check(&[(1, 1312), (1, 1312)], 2, 1312, 2624);
        check(&[(1, 1312), (1, 80), (1, 80)], 2, 1312, 1392); // a shorter one is the last
        check(&[(1, 80), (1, 1312)], 1, 80, 80); // a longer one goes apart
        check(&[(1, 1312), (2, 1312)], 1, 1312, 1312); // as does one to another place
        check(&vec![(1, 100); 65], 64, 100, 6400);
        check(&vec![(1, 1312); 60], 49, 1312, 64_288);
        check(&[(1, 65_000), (1, 1)], 1, 65_000, 65_000);
        check(&[(1, 65_001)], 0, 0, 0);
    }

    #[test]
    fn a_datagram_may_turn_out_shorter_or_not_at_all() {
        let mut buffer = Segments::new();
        assert!(buffer.room(to(1), 1500).is_some());
        buffer.commit(0);
        assert!(buffer.is_empty() && buffer.transmit().is_none());
        assert!(buffer.room(to(2), 1500).is_some(), "port 1 got nothing");
        buffer.commit(1000);
        assert!(!buffer.fits(to(2), 1500));
        assert!(buffer.room(to(2), 1000).is_some());
        buffer.commit(1001); // longer than asked for: not added
        assert_eq!(buffer.transmit().unwrap().contents.len(), 1000);
    }
}
