/// Finds numbers by hash: open addressing, each entry as near as can be to where its hash points.
///
/// What the numbers stand for lies elsewhere; whoever asks says which of several candidates is meant.
pub(crate) struct Index {
    entries: Vec<Option<Entry>>,
    count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { entries: vec![None; 64], count: 0 }
    }

    /// The number with this hash for which `is_meant` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_meant: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        while let Some(Some(entry)) = self.entries.get(at) {
            if entry.hash == hash && is_meant(entry.number) {
                return Some(entry.number);
            }
            at = self.after(at);
        }
        None
    }

    /// Adds a number that is not there.
    pub(crate) fn insert(&mut self, hash: u32, number: u32) {
        if 2 * self.count >= self.entries.len() {
            self.grow();
        }
        self.count += 1;
        self.put(Entry { hash, number });
    }

    /// Takes a number out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, number: u32) {
        let gone = Entry { hash, number };
        let mut at = self.home(hash);
        loop {
            match self.entries.get(at) {
                Some(Some(entry)) if *entry == gone => break,
                Some(Some(_)) => at = self.after(at),
                Some(None) | None => return,
            }
        }
        self.count -= 1;
        self.close_gap(at);
    }

    /// Moves later entries of the run up, so that no search stops short of one.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = self.after(gap);
        while let Some(Some(entry)) = self.entries.get(at).copied() {
            let from_home = self.distance(self.home(entry.hash), at);
            if from_home >= self.distance(gap, at) {
                self.set(gap, Some(entry));
                gap = at;
            }
            at = self.after(at);
        }
        self.set(gap, None);
    }

    fn put(&mut self, entry: Entry) {
        let mut at = self.home(entry.hash);
        while let Some(Some(_)) = self.entries.get(at) {
            at = self.after(at);
        }
        self.set(at, Some(entry));
    }

    fn grow(&mut self) {
        let larger = vec![None; 2 * self.entries.len()];
        for entry in std::mem::replace(&mut self.entries, larger).into_iter().flatten() {
            self.put(entry);
        }
    }

    fn set(&mut self, at: usize, entry: Option<Entry>) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }

    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    /// INVARIANT: the number of places is a power of two, and at least half of them are empty.
    const fn mask(&self) -> usize {
        self.entries.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0_u32..40, 0_u32..8, any::<bool>()), 0..600)) {
            let mut index = Index::new();
            let mut plain = BTreeSet::new();
            for (number, hash, add) in steps {
                // Few hashes, close together at the end of the table: long runs that wrap round.
                let hash = hash + 60;
                if add && plain.insert((hash, number)) {
                    index.insert(hash, number);
                } else if !add {
                    plain.remove(&(hash, number));
                    index.remove(hash, number);
                }
                for hash in 60..68 {
                    for number in 0..40 {
                        let found = index.find(hash, |candidate| candidate == number);
                        prop_assert_eq!(found.is_some(), plain.contains(&(hash, number)));
                    }
                }
            }
        }
    }
}
