use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ztna_model::Time;

/// When each flow next wants the clock, the earliest first.
///
/// Most deadlines only move later, packet by packet, so moving one later or away costs nothing: its entry stays where
/// it is, and is put right when it has become the earliest.
#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Time, u32)>>,
    flows: Vec<Deadline>,
}

#[derive(Clone, Copy, Default)]
struct Deadline {
    at: Option<Time>,
    // INVARIANT: while this is some time, the heap has an entry for the flow at that time, and it is not after `at`.
    entry: Option<Time>,
}

impl Deadlines {
    /// Makes `at` the deadline of `flow`, whatever it was before.
    pub(crate) fn set(&mut self, flow: u32, at: Option<Time>) {
        let index = flow as usize;
        if index >= self.flows.len() {
            self.flows.resize(index + 1, Deadline::default());
        }
        let Some(deadline) = self.flows.get_mut(index) else { return };
        deadline.at = at;
        if let Some(at) = at
            && deadline.entry.is_none_or(|entry| at < entry)
        {
            deadline.entry = Some(at);
            self.push(at, flow);
        }
    }

    /// The earliest deadline, and whose it is.
    pub(crate) fn first(&mut self) -> Option<(Time, u32)> {
        while let Some(&Reverse((time, flow))) = self.heap.peek() {
            let deadline = self.flows.get_mut(flow as usize)?;
            if deadline.entry == Some(time) && deadline.at == Some(time) {
                return Some((time, flow));
            }
            self.heap.pop();
            if deadline.entry == Some(time) {
                deadline.entry = deadline.at;
                if let Some(at) = deadline.at {
                    self.heap.push(Reverse((at, flow)));
                }
            }
        }
        None
    }

    /// Takes out a flow whose deadline has come.
    pub(crate) fn due(&mut self, now: Time) -> Option<u32> {
        // The earliest entry is never after its deadline, so a look at it is enough most of the time.
        self.heap.peek().filter(|Reverse((time, _))| *time <= now)?;
        let (_, flow) = self.first().filter(|(time, _)| *time <= now)?;
        self.set(flow, None);
        Some(flow)
    }

    fn push(&mut self, at: Time, flow: u32) {
        // Entries that nobody stands behind any more would pile up as flows come and go.
        if self.heap.len() > 2 * self.flows.len() + 64 {
            let flows = &self.flows;
            self.heap.retain(|Reverse((time, flow))| {
                flows.get(*flow as usize).is_some_and(|deadline| deadline.entry == Some(*time))
            });
        }
        self.heap.push(Reverse((at, flow)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((0_u32..20, prop::option::of(0_u64..50), any::<bool>()), 0..400)) {
            let mut deadlines = Deadlines::default();
            let mut plain = BTreeMap::new();
            for (flow, at, pop) in steps {
                let at = at.map(Time::from_millis);
                deadlines.set(flow, at);
                match at {
                    Some(at) => plain.insert(flow, at),
                    None => plain.remove(&flow),
                };
                let earliest = plain.values().min().copied();
                prop_assert_eq!(deadlines.first().map(|(time, _)| time), earliest);
                if pop && let Some(earliest) = earliest {
                    let flow = deadlines.due(earliest).unwrap();
                    prop_assert_eq!(plain.remove(&flow), Some(earliest));
                }
                prop_assert!(deadlines.heap.len() <= 2 * 20 + 65);
            }
        }
    }
}
