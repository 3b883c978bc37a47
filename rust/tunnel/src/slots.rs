use std::collections::VecDeque;

use crate::peer_id::{GENERATIONS, PeerId, SLOTS};

/// Values under ids that are never confused: a stale id finds nothing.
pub(crate) struct Slots<T> {
    entries: Vec<Entry<T>>,
    vacant: VecDeque<u32>,
}

/// INVARIANT: `generation` is that of the value inside, or of the next one.
struct Entry<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), vacant: VecDeque::new() }
    }

    /// Puts in what `make` makes of its id, unless every slot is taken.
    pub(crate) fn insert(&mut self, make: impl FnOnce(PeerId) -> T) -> Option<PeerId> {
        let slot = self.vacant.pop_front().or_else(|| self.grow())?;
        let entry = self.entries.get_mut(slot as usize)?;
        let id = PeerId::new(slot, entry.generation);
        entry.value = Some(Box::new(make(id)));
        Some(id)
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&T> {
        let entry = self.entries.get(id.slot()).filter(|entry| entry.generation == id.generation())?;
        entry.value.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot()).filter(|entry| entry.generation == id.generation())?;
        entry.value.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Box<T>> {
        let entry = self.entries.get_mut(id.slot()).filter(|entry| entry.generation == id.generation())?;
        let value = entry.value.take()?;
        entry.generation += 1;
        if entry.generation < GENERATIONS {
            self.vacant.push_back(id.slot() as u32);
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.value.as_deref())
    }

    fn grow(&mut self) -> Option<u32> {
        let slot = u32::try_from(self.entries.len()).ok().filter(|slot| *slot < SLOTS)?;
        self.entries.push(Entry { generation: 0, value: None });
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_never_reaches_another_value() {
        let mut slots = Slots::new();
        let mut stale = Vec::new();
        for round in 0..u64::from(GENERATIONS) + 2 {
            let id = slots.insert(|_| round).unwrap();
            assert!(stale.iter().rev().take(3).all(|old| *old != id && slots.get(*old).is_none()));
            assert_eq!(slots.get(id), Some(&round));
            assert_eq!(slots.remove(id), Some(Box::new(round)));
            assert_eq!(slots.remove(id), None);
            stale.push(id);
        }
        stale.sort_unstable();
        stale.dedup();
        assert_eq!(stale.len(), GENERATIONS as usize + 2);
        assert_eq!(slots.entries.len(), 2, "an exhausted slot is retired");
    }

    #[test]
    fn slots_are_dense() {
        let mut slots = Slots::new();
        let ids: Vec<PeerId> = (0..100).map(|n| slots.insert(|_| n).unwrap()).collect();
        for id in &ids {
            slots.remove(*id);
        }
        let again: Vec<usize> = (0..100).map(|n| slots.insert(|_| n).unwrap().slot()).collect();
        assert_eq!(again, (0..100).collect::<Vec<_>>());
        assert_eq!(slots.iter().count(), 100);
    }
}
