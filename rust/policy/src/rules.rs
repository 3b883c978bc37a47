use std::collections::{BTreeMap, BTreeSet};

use ztna_model::{LeaseId, Time};

use crate::chain::Chain;
use crate::rule::{Rule, Scope, Via};
use crate::verdict::{Slot, Traffic, Usage};

/// The rules of a table, each in its slot, and who has how many flows.
///
/// What every packet touches is kept apart from what only a new flow needs.
pub(crate) struct Rules {
    // INVARIANT: as long as `rules`; where that has `None`, `deadline` is zero and the slot's generation is the next.
    live: Vec<Live>,
    rules: Vec<Option<Rule>>,
    free: Vec<u32>,
    most: u32,
    by_lease: BTreeMap<LeaseId, u32>,
    by_scope: BTreeMap<Scope, Account>,
    by_deadline: BTreeSet<(Time, u32)>,
    // The first of `by_deadline`, at hand for every batch.
    earliest: Time,
}

/// What a packet under a rule reads and counts: one cache line.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Live {
    deadline: Time,
    generation: u32,
    /// Flows alive.
    pub(crate) flows: u32,
    /// These flows, oldest first.
    pub(crate) chain: Chain,
    pub(crate) from_device: Traffic,
    pub(crate) to_device: Traffic,
    pub(crate) last_from_device: Time,
}

/// What one scope has.
#[derive(Default)]
struct Account {
    rules: BTreeSet<u32>,
    flows: u32,
}

impl Rules {
    /// Room for `most` rules.
    pub(crate) fn with_room(most: u32) -> Self {
        Self {
            live: Vec::with_capacity(most as usize),
            rules: Vec::with_capacity(most as usize),
            free: Vec::with_capacity(most as usize),
            most,
            by_lease: BTreeMap::new(),
            by_scope: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            earliest: Time::MAX,
        }
    }

    /// What [`Rules::with_room`] takes, in bytes.
    pub(crate) const fn bytes(most: u32) -> usize {
        most as usize * (size_of::<Live>() + size_of::<Option<Rule>>() + size_of::<u32>())
    }

    /// Puts `rule`, whose lease is not here, into a slot, if one is left.
    pub(crate) fn add(&mut self, rule: Rule, now: Time) -> Option<Slot> {
        let index = self.vacancy()?;
        let (live, place) = (self.live.get_mut(index as usize)?, self.rules.get_mut(index as usize)?);
        *live = Live { deadline: rule.deadline, last_from_device: now, ..Live::vacant(live.generation) };
        let slot = Slot { index, generation: live.generation, via: rule.via };
        self.by_lease.insert(rule.lease, index);
        self.by_scope.entry(rule.scope).or_default().rules.insert(index);
        self.by_deadline.insert((rule.deadline, index));
        self.earliest = self.earliest.min(rule.deadline);
        *place = Some(rule);
        Some(slot)
    }

    /// A slot that no rule lies in.
    fn vacancy(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = u32::try_from(self.rules.len()).ok().filter(|index| *index < self.most)?;
        self.rules.push(None);
        self.live.push(Live::vacant(0));
        Some(index)
    }

    /// Takes a rule out of its slot. From here on the slot is dead, whoever still knows it.
    pub(crate) fn remove(&mut self, index: u32) -> Option<(Rule, Live)> {
        let rule = self.rules.get_mut(index as usize)?.take()?;
        let live = self.live.get_mut(index as usize)?;
        let vacant = Live::vacant(live.generation.wrapping_add(1));
        let live = std::mem::replace(live, vacant);
        self.free.push(index);
        self.by_lease.remove(&rule.lease);
        self.by_deadline.remove(&(rule.deadline, index));
        self.earliest = self.by_deadline.first().map_or(Time::MAX, |(deadline, _)| *deadline);
        self.leave_account(rule.scope, index, live.flows);
        Some((rule, live))
    }

    fn leave_account(&mut self, scope: Scope, index: u32, flows: u32) {
        if let Some(account) = self.by_scope.get_mut(&scope) {
            account.rules.remove(&index);
            account.flows = account.flows.saturating_sub(flows);
            if account.rules.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
    }

    /// Sets another deadline, earlier or later.
    pub(crate) fn extend(&mut self, index: u32, deadline: Time) {
        let (Some(live), Some(Some(rule))) =
            (self.live.get_mut(index as usize), self.rules.get_mut(index as usize))
        else {
            return;
        };
        self.by_deadline.remove(&(rule.deadline, index));
        self.by_deadline.insert((deadline, index));
        (live.deadline, rule.deadline) = (deadline, deadline);
        self.earliest = self.by_deadline.first().map_or(Time::MAX, |(deadline, _)| *deadline);
    }

    /// What packets under `slot` touch, if its rule is there and not over.
    #[inline]
    pub(crate) fn live(&mut self, slot: Slot, now: Time) -> Option<&mut Live> {
        self.live
            .get_mut(slot.index())
            .filter(|live| live.generation == slot.generation && live.deadline > now)
    }

    /// Whether the rule at `index` is there and not over.
    pub(crate) fn is_live(&self, index: u32, now: Time) -> bool {
        self.live.get(index as usize).is_some_and(|live| live.deadline > now)
    }

    /// How many flows `scope` has, and what packets under `slot` touch, even if its rule is overdue: for counting flows
    /// as they come and go.
    pub(crate) fn account(&mut self, scope: Scope, slot: Slot) -> Option<(&mut u32, &mut Live)> {
        let live = self.live.get_mut(slot.index()).filter(|live| live.generation == slot.generation)?;
        Some((&mut self.by_scope.get_mut(&scope)?.flows, live))
    }

    pub(crate) fn rule(&self, slot: Slot) -> Option<&Rule> {
        self.at(slot.index).filter(|(found, _)| *found == slot).map(|(_, rule)| rule)
    }

    /// The slot at `index`, whose rule goes through `via`.
    pub(crate) fn slot(&self, index: u32, via: Via) -> Option<Slot> {
        self.live.get(index as usize).map(|live| Slot { index, generation: live.generation, via })
    }

    pub(crate) fn at(&self, index: u32) -> Option<(Slot, &Rule)> {
        let generation = self.live.get(index as usize)?.generation;
        let rule = self.rules.get(index as usize)?.as_ref()?;
        Some((Slot { index, generation, via: rule.via }, rule))
    }

    pub(crate) fn index_of(&self, lease: LeaseId) -> Option<u32> {
        self.by_lease.get(&lease).copied()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Slot, &Rule)> {
        self.by_lease.values().filter_map(|index| self.at(*index))
    }

    pub(crate) fn of_scope(&self, scope: Scope) -> Vec<u32> {
        self.by_scope.get(&scope).map_or_else(Vec::new, |account| account.rules.iter().copied().collect())
    }

    /// A rule whose deadline has come, the longest overdue first.
    #[inline]
    pub(crate) fn due(&self, now: Time) -> Option<u32> {
        if now < self.earliest { None } else { self.by_deadline.first().map(|(_, index)| *index) }
    }

    pub(crate) const fn earliest(&self) -> Time {
        self.earliest
    }

    pub(crate) fn usage(&self, index: u32) -> Option<Usage> {
        self.live.get(index as usize).map(Live::usage)
    }
}

impl Live {
    const fn vacant(generation: u32) -> Self {
        Self {
            deadline: Time::ZERO,
            generation,
            flows: 0,
            chain: Chain::EMPTY,
            from_device: Traffic { packets: 0, bytes: 0 },
            to_device: Traffic { packets: 0, bytes: 0 },
            last_from_device: Time::ZERO,
        }
    }

    pub(crate) const fn usage(&self) -> Usage {
        Usage {
            from_device: self.from_device,
            to_device: self.to_device,
            last_from_device: self.last_from_device,
            flows: self.flows,
        }
    }
}
