use crate::limits::Limits;

/// What buffers may still take, and how large the next one should be.
pub(crate) struct Budget {
    flows: usize,
    most: usize,
    total: usize,
    taken: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most = limits.buffer_per_flow.clamp(LEAST, MOST);
        Self { flows: limits.flows as usize, most, total: limits.buffer_total, taken: 0 }
    }

    /// Takes two buffers of one size for the next flow, when there are `live` already; returns the size of each.
    ///
    /// A flow gets a small share of what is left once the smallest buffers of all flows to come are set aside: many
    /// flows make buffers smaller, not impossible.
    pub(crate) fn take(&mut self, live: usize) -> Option<usize> {
        let free = self.total.saturating_sub(self.taken);
        let set_aside = self.flows.saturating_sub(live) * 2 * LEAST;
        let share = free.saturating_sub(set_aside) / SHARES;
        let size = power_of_two_up_to(share).clamp(LEAST, self.most);
        (2 * size <= free).then(|| {
            self.taken += 2 * size;
            size
        })
    }

    /// Gives back what one flow had, `size` bytes in each direction.
    pub(crate) fn give(&mut self, size: usize) {
        self.taken = self.taken.saturating_sub(2 * size);
    }

    /// What is taken, in bytes.
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }
}

const fn power_of_two_up_to(n: usize) -> usize {
    match n.checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 0,
    }
}

/// Six full segments: enough for three of them to report a lost one.
const LEAST: usize = 8 << 10;
/// Far below the largest window that TCP can name (RFC 7323, section 2.3).
const MOST: usize = 16 << 20;
const SHARES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_shrink_before_flows_are_refused() {
        let limits = Limits { flows: 256, buffer_per_flow: 64 << 10, buffer_total: 8 << 20, ..Limits::PHONE };
        let mut budget = Budget::new(&limits);
        let sizes: Vec<usize> = (0..).map_while(|live| budget.take(live)).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert_eq!((sizes[0], sizes[255]), (64 << 10, LEAST));
        assert_eq!(sizes.iter().sum::<usize>() * 2, budget.taken());
        assert!(budget.taken() <= limits.buffer_total);
        budget.give(LEAST);
        assert_eq!(budget.take(400), Some(LEAST));
        assert_eq!(budget.take(400), None);
    }

    #[test]
    fn a_total_too_small_for_all_flows_refuses_the_last_ones() {
        let limits = Limits { flows: 1000, buffer_total: 64 << 10, ..Limits::PHONE };
        let mut budget = Budget::new(&limits);
        assert_eq!((0..).map_while(|live| budget.take(live)).collect::<Vec<_>>(), [LEAST; 4]);
    }
}
