use std::collections::{BTreeMap, VecDeque};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

/// The buffers of connections that are over, kept for those to come.
///
/// Memory is touched as it is used, so a flow takes what it uses and not what it was promised: but only once. An
/// allocator clears what it hands out a second time, and with that all of it is taken. So buffers do not go back to
/// it, each stays with the socket it was made for, and the one that was used last is the first to be used again: no
/// untouched memory is touched while touched memory lies idle.
///
/// Two bounds: buffers in use and kept ones never come to more than all buffers may, and what of the kept ones was
/// truly used never comes to more than a sixteenth of that.
pub(crate) struct Spares {
    // The oldest first. INVARIANT: none is empty.
    by_size: BTreeMap<usize, VecDeque<Spare>>,
    promised: usize,
    used: usize,
    most_promised: usize,
    most_used: usize,
}

/// A socket that belongs to no connection, and its two buffers.
pub(crate) struct Spare {
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) handle: SocketHandle,
    /// The size of each buffer.
    pub(crate) size: usize,
    /// How much of them is touched: of the one for sending, and of the one for receiving.
    pub(crate) used: [Mark; 2],
}

/// How far into a ring anything was ever written: how much of its memory is touched.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Mark {
    at: usize,
    most: usize,
}

impl Spares {
    /// None yet. Buffers may come to `most` bytes in all.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            by_size: BTreeMap::new(),
            promised: 0,
            used: 0,
            most_promised: most,
            most_used: most / USED_PART,
        }
    }

    /// What their buffers come to, in bytes.
    pub(crate) const fn promised(&self) -> usize {
        self.promised
    }

    /// Takes the one with buffers of `size` bytes that was used last, while buffers in use come to `in_use` bytes. If
    /// there is none, makes room for new ones.
    pub(crate) fn take(&mut self, size: usize, in_use: usize) -> Option<Spare> {
        let spare = self.by_size.get_mut(&size).and_then(VecDeque::pop_back);
        match &spare {
            Some(spare) => self.gone(spare),
            None => while self.promised + in_use + 2 * size > self.most_promised && self.drop_largest() {},
        }
        spare
    }

    /// Keeps one, while buffers in use come to `in_use` bytes, if there is room. Those that were kept longest make room
    /// for what was touched.
    pub(crate) fn keep(&mut self, spare: Spare, in_use: usize) {
        let (size, promised) = (spare.size, spare.promised());
        if self.promised + in_use + promised > self.most_promised {
            return;
        }
        self.promised += promised;
        self.used += spare.used();
        self.by_size.entry(size).or_default().push_back(spare);
        while self.used > self.most_used && self.drop_oldest(size) {}
    }

    fn drop_largest(&mut self) -> bool {
        let largest = self.by_size.last_key_value().map(|(size, _)| *size);
        largest.is_some_and(|size| self.drop_oldest(size))
    }

    fn drop_oldest(&mut self, size: usize) -> bool {
        let spare = self.by_size.get_mut(&size).and_then(VecDeque::pop_front);
        spare.inspect(|spare| self.gone(spare)).is_some()
    }

    fn gone(&mut self, spare: &Spare) {
        self.promised -= spare.promised();
        self.used -= spare.used();
        if self.by_size.get(&spare.size).is_some_and(VecDeque::is_empty) {
            self.by_size.remove(&spare.size);
        }
    }
}

impl Spare {
    /// A new one.
    pub(crate) fn new(size: usize) -> Self {
        // Zeroed memory is not touched before it is used.
        let room = || SocketBuffer::new(vec![0; size]);
        let mut socket = Socket::new(room(), room());
        // Acknowledgements wait for the end of the batch and for nothing else: no timer, no stall.
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { sockets, handle, size, used: [Mark::default(); 2] }
    }

    fn used(&self) -> usize {
        self.used.iter().map(|mark| mark.most.min(self.size)).sum()
    }

    const fn promised(&self) -> usize {
        2 * self.size
    }
}

impl Mark {
    /// The ring is written from its beginning again.
    pub(crate) const fn restart(&mut self) {
        self.at = 0;
    }

    /// So many bytes more were written.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
        self.most = self.most.max(self.at);
    }
}

/// Of all that buffers may come to, so large a part may be kept although it was used.
const USED_PART: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spare(size: usize, used: usize) -> Spare {
        let mut sockets = SocketSet::new(Vec::new());
        let ring = || SocketBuffer::new(Vec::new());
        let handle = sockets.add(Socket::new(ring(), ring()));
        let mut mark = Mark::default();
        mark.pass(used);
        Spare { sockets, handle, size, used: [mark, Mark::default()] }
    }

    #[test]
    fn the_one_used_last_is_used_first() {
        let mut spares = Spares::new(1 << 20);
        for used in [1, 2, 3] {
            spares.keep(spare(8192, used), 0);
        }
        assert!(spares.take(4096, 0).is_none(), "of another size");
        let taken: Vec<_> = std::iter::from_fn(|| spares.take(8192, 0)).map(|spare| spare.used()).collect();
        assert_eq!(taken, [3, 2, 1]);
        assert_eq!((spares.promised, spares.used), (0, 0));
    }

    #[test]
    fn a_mark_is_as_far_as_any_write_went() {
        let mut mark = Mark::default();
        let mut check = |restarts: bool, bytes, most| {
            if restarts {
                mark.restart();
            }
            mark.pass(bytes);
            assert_eq!(mark.most, most);
        };
        check(false, 100, 100);
        check(true, 70, 100);
        check(false, 70, 140);
    }

    proptest! {
        #[test]
        fn both_bounds_hold(steps in prop::collection::vec((0_u32..4, 0_usize..=100, any::<bool>()), 0..200)) {
            let most = 1 << 20;
            let mut spares = Spares::new(most);
            let mut living: Vec<(usize, usize)> = Vec::new();
            for (shift, percent, opens) in steps {
                let size = 8192_usize << shift;
                let in_use = |living: &[(usize, usize)]| living.iter().map(|(size, _)| 2 * size).sum::<usize>();
                if opens && in_use(&living) + 2 * size <= most {
                    let used = spares.take(size, in_use(&living)).map_or(0, |spare| spare.used());
                    living.push((size, used.max(size * percent / 100)));
                } else if !opens && let Some((size, used)) = living.pop() {
                    spares.keep(spare(size, used), in_use(&living));
                }
                let kept = || spares.by_size.values().flatten();
                prop_assert!(in_use(&living) + spares.promised <= most && spares.used <= most / USED_PART);
                prop_assert_eq!(spares.promised, kept().map(Spare::promised).sum::<usize>());
                prop_assert_eq!(spares.used, kept().map(Spare::used).sum::<usize>());
                prop_assert!(spares.by_size.values().all(|kept| !kept.is_empty()));
            }
        }
    }
}
