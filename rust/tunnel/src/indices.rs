use ztna_model::Random;

use crate::peer_id::PeerId;

/// Which peer a datagram's receiver index means: its upper 24 bits, drawn at random for each peer.
///
/// An open-addressed table, probed in a row. The indices themselves are random and chosen here, so they serve as
/// their own hash: nobody outside can make them collide.
pub(crate) struct Indices {
    places: Vec<Option<(u32, PeerId)>>,
    used: usize,
}

impl Indices {
    pub(crate) fn new() -> Self {
        Self { places: vec![None; SMALLEST], used: 0 }
    }

    /// Draws an index that no peer has.
    ///
    /// INVARIANT: there are at most a sixteenth as many peers as indices, so a few draws are enough. A source that
    /// only repeats itself is helped out.
    pub(crate) fn draw(&self, random: &mut dyn Random) -> u32 {
        let mut bytes = [0; 4];
        let mut index = 0;
        for _ in 0..DRAWS {
            random.fill(&mut bytes);
            index = u32::from_le_bytes(bytes) & MASK;
            if self.get(index).is_none() {
                return index;
            }
        }
        while self.get(index).is_some() {
            index = (index + 1) & MASK;
        }
        index
    }

    /// Gives a drawn index to a peer.
    pub(crate) fn assign(&mut self, index: u32, peer: PeerId) {
        if self.used * 2 >= self.places.len() {
            self.grow();
        }
        self.put(index, peer);
    }

    /// Whose index it is.
    pub(crate) fn get(&self, index: u32) -> Option<PeerId> {
        self.find(index).and_then(|at| self.places.get(at)).copied().flatten().map(|(_, peer)| peer)
    }

    /// Takes the index back.
    pub(crate) fn release(&mut self, index: u32) {
        let Some(mut gap) = self.find(index) else { return };
        self.set(gap, None);
        self.used -= 1;
        // Whoever was pushed past the gap moves into it, so that no search stops short.
        let mut at = self.after(gap);
        while let Some((moving, peer)) = self.places.get(at).copied().flatten() {
            if self.distance(self.home(moving), at) >= self.distance(gap, at) {
                self.set(gap, Some((moving, peer)));
                self.set(at, None);
                gap = at;
            }
            at = self.after(at);
        }
    }

    fn find(&self, index: u32) -> Option<usize> {
        let mut at = self.home(index);
        while let Some((there, _)) = self.places.get(at).copied().flatten() {
            if there == index {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    fn put(&mut self, index: u32, peer: PeerId) {
        let mut at = self.home(index);
        while self.places.get(at).is_some_and(Option::is_some) {
            at = self.after(at);
        }
        self.set(at, Some((index, peer)));
        self.used += 1;
    }

    fn grow(&mut self) {
        let twice = vec![None; self.places.len() * 2];
        let places = std::mem::replace(&mut self.places, twice);
        self.used = 0;
        for (index, peer) in places.into_iter().flatten() {
            self.put(index, peer);
        }
    }

    fn set(&mut self, at: usize, place: Option<(u32, PeerId)>) {
        if let Some(there) = self.places.get_mut(at) {
            *there = place;
        }
    }

    const fn home(&self, index: u32) -> usize {
        index as usize & (self.places.len() - 1)
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

/// INVARIANT: a power of two, as is every later size; at least half of the places are free.
const SMALLEST: usize = 16;
const DRAWS: usize = 32;
const MASK: u32 = 0x00ff_ffff;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn claim(indices: &mut Indices, random: &mut dyn Random, peer: PeerId) -> u32 {
        let index = indices.draw(random);
        indices.assign(index, peer);
        index
    }

    /// Answers what it was told to, again and again.
    struct Script(Vec<u32>, usize);

    impl Random for Script {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0[self.1 % self.0.len()].to_le_bytes()[..bytes.len()]);
            self.1 += 1;
        }
    }

    #[test]
    fn a_source_that_repeats_itself_still_ends() {
        let mut indices = Indices::new();
        let mut random = Script(vec![7], 0);
        let claimed: Vec<u32> =
            (0..4).map(|n| claim(&mut indices, &mut random, PeerId::from_number(n))).collect();
        assert_eq!(claimed, [7, 8, 9, 10]);
    }

    #[test]
    fn ten_thousand_peers_have_ten_thousand_indices() {
        let mut indices = Indices::new();
        // A step that is prime to the number of indices; every index comes again after three more.
        let mut random = Script((0..40_000).map(|n: u32| (n - n % 4).wrapping_mul(6_700_417)).collect(), 0);
        let all: BTreeSet<u32> =
            (0..10_000).map(|n| claim(&mut indices, &mut random, PeerId::from_number(n))).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|index| indices.get(*index).is_some() && index >> 24 == 0));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in vec((any::<bool>(), 0_u32..48, 0_usize..64), 1..400)) {
            let mut indices = Indices::new();
            let mut model: BTreeMap<u32, PeerId> = BTreeMap::new();
            for (n, (adds, wish, victim)) in steps.into_iter().enumerate() {
                if adds && model.len() < 40 {
                    // Wishes that share their low bits crowd the same places.
                    let mut random = Script(vec![wish * 16, wish], 0);
                    let peer = PeerId::from_number(n as u32);
                    let index = claim(&mut indices, &mut random, peer);
                    prop_assert!(model.insert(index, peer).is_none());
                } else if let Some((&index, _)) = model.iter().nth(victim % model.len().max(1)) {
                    indices.release(index);
                    model.remove(&index);
                }
                for index in 0..900 {
                    prop_assert_eq!(indices.get(index), model.get(&index).copied());
                }
            }
        }
    }
}
