use crate::limits::Limits;

/// How large the buffers of the next flow should be.
pub(crate) struct Budget {
    most: usize,
    all: Purse,
    scope: Purse,
}

/// What some flows have together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Holding {
    /// How many they are.
    pub(crate) flows: u32,
    /// What their buffers come to, in bytes.
    pub(crate) buffers: usize,
}

/// What some flows may have together.
#[derive(Clone, Copy)]
struct Purse {
    flows: u32,
    buffers: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let all = Purse { flows: limits.flows, buffers: limits.buffer_total };
        let flows = limits.flows_per_scope.min(limits.flows);
        let each = limits.buffer_total / limits.flows.max(1) as usize;
        // As many flows as one scope may have, so large a part of the buffers.
        let buffers = if flows == limits.flows { limits.buffer_total } else { each * flows as usize };
        Self { most: limits.buffer_per_flow.clamp(LEAST, MOST), all, scope: Purse { flows, buffers } }
    }

    /// The size of each of the two buffers of the next flow, when all flows and those of its scope have so much.
    ///
    /// A flow gets a small share of what is left once the smallest buffers of all flows to come are set aside: many
    /// flows make buffers smaller, not impossible, and one scope cannot make those of others small.
    pub(crate) fn next(&self, all: Holding, scope: Holding) -> Option<usize> {
        let share = self.all.share(all).min(self.scope.share(scope));
        let size = power_of_two_up_to(share).clamp(LEAST, self.most);
        (all.buffers + 2 * size <= self.all.buffers).then_some(size)
    }
}

impl Holding {
    /// With one more flow, which has two buffers of `size` bytes.
    pub(crate) const fn with(self, size: usize) -> Self {
        Self { flows: self.flows + 1, buffers: self.buffers + 2 * size }
    }

    /// Without one of them, which has two buffers of `size` bytes.
    pub(crate) const fn without(self, size: usize) -> Self {
        Self { flows: self.flows - 1, buffers: self.buffers - 2 * size }
    }
}

impl Purse {
    fn share(&self, holding: Holding) -> usize {
        let to_come = self.flows.saturating_sub(holding.flows) as usize;
        self.buffers.saturating_sub(holding.buffers + to_come * 2 * LEAST) / SHARES
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

    /// The sizes of buffers as `scopes` take turns in beginning flows, until one is refused.
    fn sizes(limits: Limits, scopes: usize) -> Vec<usize> {
        let budget = Budget::new(&limits);
        let (mut all, mut each) = (Holding::default(), vec![Holding::default(); scopes]);
        let mut sizes = Vec::new();
        for turn in 0.. {
            let scope = &mut each[turn % scopes];
            let Some(size) = budget.next(all, *scope) else { break };
            (all, *scope) = (all.with(size), scope.with(size));
            assert!(all.buffers <= limits.buffer_total);
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn buffers_shrink_before_flows_are_refused() {
        let sizes = sizes(Limits::PHONE, 1);
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert_eq!((sizes[0], sizes[255]), (Limits::PHONE.buffer_per_flow, LEAST));
    }

    #[test]
    fn one_scope_leaves_large_buffers_to_others() {
        let budget = Budget::new(&Limits::GATEWAY);
        let (mut all, mut greedy) = (Holding::default(), Holding::default());
        for _ in 0..Limits::GATEWAY.flows_per_scope {
            let size = budget.next(all, greedy).unwrap();
            (all, greedy) = (all.with(size), greedy.with(size));
        }
        assert_eq!(budget.next(all, greedy), Some(LEAST));
        assert_eq!(budget.next(all, Holding::default()), Some(Limits::GATEWAY.buffer_per_flow));
    }

    #[test]
    fn a_total_too_small_for_all_flows_refuses_the_last_ones() {
        let limits = Limits { flows: 1000, flows_per_scope: 1000, buffer_total: 64 << 10, ..Limits::PHONE };
        assert_eq!(sizes(limits, 3), [LEAST; 4]);
    }
}
