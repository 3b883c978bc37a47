use std::collections::VecDeque;

/// A bounded queue of packets, one after the other in a single piece of memory.
pub(crate) struct Packets<T> {
    bytes: Vec<u8>,
    // Where the first packet begins.
    head: usize,
    waiting: VecDeque<(T, usize)>,
    most: usize,
}

impl<T> Packets<T> {
    /// A queue of at most `most` bytes.
    pub(crate) const fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), head: 0, waiting: VecDeque::new(), most }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether `length` more bytes fit.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.bytes.len() - self.head + length <= self.most && self.waiting.len() < MOST_PACKETS
    }

    /// Adds a packet, unless it does not fit.
    pub(crate) fn push(&mut self, tag: T, packet: &[u8]) -> bool {
        if !self.has_room(packet.len()) {
            return false;
        }
        self.drop_read();
        self.bytes.extend_from_slice(packet);
        self.waiting.push_back((tag, packet.len()));
        true
    }

    /// Takes the oldest packet out.
    pub(crate) fn pop(&mut self) -> Option<(T, &[u8])> {
        let (tag, length) = self.waiting.pop_front()?;
        let packet = self.bytes.get(self.head..self.head + length)?;
        self.head += length;
        Some((tag, packet))
    }

    fn drop_read(&mut self) {
        if self.waiting.is_empty() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > self.most {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

/// Empty packets take no bytes, but room in the queue.
const MOST_PACKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_in_order_and_never_take_more_than_twice_the_bound() {
        let mut queue = Packets::new(100);
        let (mut pushed, mut popped) = (0_u8, 0_u8);
        for round in 0..200 {
            while queue.push(pushed, &[pushed; 7]) {
                pushed = pushed.wrapping_add(1);
            }
            for _ in 0..round % 14 {
                assert_eq!(queue.pop(), Some((popped, &[popped; 7][..])));
                popped = popped.wrapping_add(1);
            }
            assert!(queue.bytes.len() <= 200 + 7);
        }
        while let Some((tag, _)) = queue.pop() {
            assert_eq!(tag, popped);
            popped = popped.wrapping_add(1);
        }
        assert_eq!(popped, pushed);
        assert!(!queue.push(0, &[0; 101]));
    }
}
