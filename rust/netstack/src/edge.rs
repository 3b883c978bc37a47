/// What smoltcp must not be shown: segments that it would take wrongly, whatever its peer means by them.
///
/// smoltcp counts the window of its own SYN, which is never scaled, as if it were (RFC 7323, section 2.2), so that
/// until its next segment it lets in more than its buffer holds. And its comparisons of sequence numbers are sound
/// only for numbers that lie near each other. Both ends in a failed assertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    // The number of the byte that is expected next, as last told to the peer.
    next: u32,
    // How many bytes from there on may come, as long as only a SYN has told the peer.
    unscaled: Option<u32>,
}

impl Edge {
    /// After a SYN was exchanged: the peer's has the number `syn`, ours offers a buffer of `room` bytes.
    pub(crate) fn after_syn(syn: u32, room: usize) -> Self {
        let unscaled = u32::try_from(room).unwrap_or(u32::MAX).min(u16::MAX.into());
        Self { next: syn.wrapping_add(1), unscaled: Some(unscaled) }
    }

    /// The peer was told, not by a SYN, that the byte `next` is expected.
    pub(crate) const fn told(&mut self, next: u32) {
        *self = Self { next, unscaled: None };
    }

    /// Whether smoltcp may see a segment of `length` bytes that begins at `sequence`.
    pub(crate) fn admits(&self, sequence: u32, length: usize) -> bool {
        let ahead = i64::from(sequence.wrapping_sub(self.next).cast_signed());
        let end = ahead + i64::try_from(length).unwrap_or(i64::MAX);
        ahead.abs() < FAR && self.unscaled.is_none_or(|room| end <= room.into())
    }
}

/// A quarter of all numbers, and the largest window (RFC 7323, section 2.3).
const FAR: i64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_admitted() {
        let rows = [
            (Edge::after_syn(99, 1 << 20), 100, 65_535, true),
            (Edge::after_syn(99, 1 << 20), 100, 65_536, false),
            (Edge::after_syn(99, 1 << 20), 65_634, 1, true),
            (Edge::after_syn(99, 1 << 20), 65_635, 1, false),
            (Edge::after_syn(99, 8 << 10), 100, 8193, false),
            (Edge::after_syn(99, 1 << 20), 99, 1, true),
            (Edge::after_syn(u32::MAX, 1 << 20), 65_534, 1, true),
            (Edge { next: 100, unscaled: None }, 1 << 20, 1, true),
            (Edge { next: 100, unscaled: None }, 100 + (1 << 30), 0, false),
            (Edge { next: 100, unscaled: None }, 100_u32.wrapping_sub(1 << 30), 0, false),
            (Edge { next: 100, unscaled: None }, 100 + (1 << 31), 0, false),
            (Edge { next: 5, unscaled: None }, u32::MAX - 5, 10, true),
        ];
        for (edge, sequence, length, expected) in rows {
            assert_eq!(edge.admits(sequence, length), expected, "{edge:?} {sequence} {length}");
        }
    }
}
