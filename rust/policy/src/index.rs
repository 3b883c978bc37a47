/// Finds the number of a thing by the thing's hash: open addressing, linear probing, deletion by moving back.
///
/// Its room is taken once and it is never more than half full, so every search ends at an empty cell after a step or
/// two, whatever was put in and taken out before. It knows hashes only; its user says which of them is meant.
pub(crate) struct Index {
    // A bit for each cell that is taken. Most searches are for what is not there: they end here, in a few kilobytes that
    // stay in the nearest cache, and never wait for a cell.
    taken: Vec<u64>,
    // The hash's lower half above the number. Zeroes are free: the system hands out untouched memory.
    cells: Vec<u64>,
    mask: usize,
}

impl Index {
    /// Room for `most` things.
    pub(crate) fn with_room(most: u32) -> Self {
        let cells = vec![0; Self::cells(most)];
        Self { taken: vec![0; Self::words(most)], mask: cells.len() - 1, cells }
    }

    /// What [`Index::with_room`] takes, in bytes.
    pub(crate) const fn bytes(most: u32) -> usize {
        (Self::cells(most) + Self::words(most)) * size_of::<u64>()
    }

    const fn words(most: u32) -> usize {
        Self::cells(most).div_ceil(64)
    }

    const fn cells(most: u32) -> usize {
        if most == 0 { 2 } else { (most as usize * 2).next_power_of_two() }
    }

    /// The number under `hash` that `is_meant`.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is_meant: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash as u32);
        while self.is_taken(at) {
            let (cell_hash, number) = split(*self.cells.get(at)?);
            if cell_hash == hash as u32 && is_meant(number) {
                return Some(number);
            }
            at = self.after(at);
        }
        None
    }

    /// Puts `number` under `hash`. The user keeps to the room asked for and adds nothing twice.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        let mut at = self.home(hash as u32);
        while self.is_taken(at) {
            at = self.after(at);
        }
        self.set(at, joined(hash as u32, number));
        self.mark(at, true);
    }

    /// Takes `number` away from under `hash`.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let target = joined(hash as u32, number);
        let mut gap = self.home(hash as u32);
        while self.is_taken(gap) {
            if self.cells.get(gap) == Some(&target) {
                return self.close(gap);
            }
            gap = self.after(gap);
        }
    }

    /// Empties the cell at `gap`, and moves back what had to go past it.
    fn close(&mut self, mut gap: usize) {
        let mut at = self.after(gap);
        while self.is_taken(at)
            && let Some(&cell) = self.cells.get(at)
        {
            // It may move back to the gap if its home is not between the two.
            let (hash, _) = split(cell);
            if self.distance(self.home(hash), at) >= self.distance(gap, at) {
                self.set(gap, cell);
                gap = at;
            }
            at = self.after(at);
        }
        self.mark(gap, false);
    }

    #[inline(always)]
    fn is_taken(&self, at: usize) -> bool {
        self.taken.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn mark(&mut self, at: usize, taken: bool) {
        if let Some(word) = self.taken.get_mut(at / 64) {
            *word = *word & !(1 << (at % 64)) | u64::from(taken) << (at % 64);
        }
    }

    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask
    }

    fn set(&mut self, at: usize, cell: u64) {
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell;
        }
    }
}

const fn joined(hash: u32, number: u32) -> u64 {
    (hash as u64) << 32 | number as u64
}

/// Hash and number of a cell.
const fn split(cell: u64) -> (u32, u32) {
    ((cell >> 32) as u32, cell as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes are drawn from a few, so that runs of cells touch, collide and wrap around.
        #[test]
        fn finds_what_a_plain_map_finds(steps in prop::collection::vec((0u64..24, 0u32..16, any::<bool>()), 0..400)) {
            let mut index = Index::with_room(16);
            let mut plain = BTreeMap::new();
            for (hash, number, add) in steps {
                let hash = hash % 3 + hash / 3 * 31; // neighbours, far ones, and some that differ above the mask
                match plain.get(&number) {
                    None if add => {
                        plain.insert(number, hash);
                        index.insert(hash, number);
                    }
                    Some(&known) if !add => {
                        plain.remove(&number);
                        index.remove(known, number);
                    }
                    _ => index.remove(hash + 1_000, number),
                }
                for number in 0..16 {
                    for hash in plain.get(&number).copied().into_iter().chain([hash]) {
                        let expected = (plain.get(&number) == Some(&hash)).then_some(number);
                        prop_assert_eq!(index.find(hash, |found| found == number), expected);
                    }
                }
                prop_assert_eq!(index.taken.iter().map(|word| word.count_ones() as usize).sum::<usize>(), plain.len());
            }
        }
    }
}
