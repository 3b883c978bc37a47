/// A queue of numbered things, threaded through [`Links`].
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// The longest in the queue.
    pub(crate) const fn first(&self) -> Option<u32> {
        if self.first == NONE { None } else { Some(self.first) }
    }
}

/// For each thing its neighbours in the one chain it is in: joining and leaving cost the same wherever it stands.
pub(crate) struct Links(Vec<Link>);

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

impl Links {
    /// Room for the things numbered below `most`.
    pub(crate) fn with_room(most: u32) -> Self {
        Self(Vec::with_capacity(most as usize))
    }

    /// What [`Links::with_room`] takes, in bytes.
    pub(crate) const fn bytes(most: u32) -> usize {
        most as usize * size_of::<Link>()
    }

    /// Puts thing `number`, which is in no chain, at the end of `chain`.
    pub(crate) fn join(&mut self, chain: &mut Chain, number: u32) {
        let link = Link { before: chain.last, after: NONE };
        match self.0.get_mut(number as usize) {
            Some(place) => *place = link,
            None => self.0.resize(number as usize + 1, link),
        }
        match self.0.get_mut(chain.last as usize) {
            Some(last) => last.after = number,
            None => chain.first = number,
        }
        chain.last = number;
    }

    /// Takes thing `number` out of `chain`, which it is in.
    pub(crate) fn leave(&mut self, chain: &mut Chain, number: u32) {
        let Some(&Link { before, after }) = self.0.get(number as usize) else { return };
        match self.0.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => chain.first = after,
        }
        match self.0.get_mut(after as usize) {
            Some(after) => after.before = before,
            None => chain.last = before,
        }
    }
}

// No thing: beyond every room.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_order_like_plain_vectors(steps in prop::collection::vec((0u32..8, 0usize..3), 0..200)) {
            let (mut links, mut chains, mut plain) = (Links::with_room(8), [Chain::EMPTY; 2], [vec![], vec![]]);
            for (number, to) in steps {
                for (chain, plain) in chains.iter_mut().zip(&mut plain) {
                    if let Some(at) = plain.iter().position(|known| *known == number) {
                        links.leave(chain, number);
                        plain.remove(at);
                    }
                }
                if to < 2 {
                    links.join(&mut chains[to], number);
                    plain[to].push(number);
                }
                for (chain, plain) in chains.iter().zip(&plain) {
                    let forward = |at: &u32| links.0.get(links.0[*at as usize].after as usize).map(|_| links.0[*at as usize].after);
                    prop_assert_eq!(&std::iter::successors(chain.first(), forward).collect::<Vec<_>>(), plain);
                    prop_assert_eq!(chain.last, plain.last().copied().unwrap_or(NONE));
                }
            }
        }
    }
}
