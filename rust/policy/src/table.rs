use std::fmt;

use thiserror::Error;
use ztna_model::{DenyReason, Flow, LeaseId, Time};

use crate::destinations::{Destinations, Rank};
use crate::flows::{Absent, Entry, Flows, Seen};
use crate::key::{HashKey, Key};
use crate::limits::Limits;
use crate::rule::{Effect, Rule, Scope, Via};
use crate::rules::Rules;
use crate::verdict::{Ended, Slot, Usage, Verdict};

/// The rules and the live flows of one data thread: every packet passes here, or does not pass.
///
/// One law: begin each batch of packets with [`Table::begin_batch`]. In between no time passes.
pub struct Table {
    secret: HashKey,
    limits: Limits,
    now: Time,
    second: u32,
    rules: Rules,
    destinations: Destinations,
    flows: Flows,
}

/// Why a rule was not taken.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum InsertError {
    /// The table holds all the rules it may.
    #[error("there are {0} rules already")]
    TooManyRules(u32),
    /// A lease came again and says something else than before: only its deadline may differ.
    #[error("lease `{0}` came again with other terms")]
    OtherTerms(LeaseId),
}

impl Table {
    /// An empty table, which denies everything. The key must be random and secret: attackers choose flows, and must
    /// not be able to choose ones that collide.
    pub fn new(hash_key: [u8; 16], limits: Limits) -> Self {
        Self {
            secret: HashKey::new(hash_key),
            limits,
            now: Time::ZERO,
            second: 0,
            rules: Rules::with_room(limits.rules),
            destinations: Destinations::with_room(limits.rules),
            flows: Flows::with_room(limits.flows),
        }
    }

    /// Begins a batch of packets at `now`: ends the rules that are over by then, and hands them out with their flows.
    /// Costs next to nothing when there are none.
    #[must_use = "the flows of rules that ended want to be reset"]
    pub fn begin_batch(&mut self, now: Time) -> Vec<Ended> {
        self.now = self.now.max(now);
        let second = (self.now.as_nanos() / NANOS) as u32;
        if second != self.second {
            self.second = second;
            self.close_idle();
        }
        let mut ended = Vec::new();
        while let Some(index) = self.rules.due(self.now)
            && let Some(over) = self.end_at(index, DenyReason::LeaseExpired)
        {
            ended.push(over);
        }
        ended
    }

    /// When the next rule is over, if ever: a table without packets wants to be told the time by then.
    pub fn next_deadline(&self) -> Option<Time> {
        Some(self.rules.earliest()).filter(|deadline| *deadline < Time::MAX)
    }

    /// Judges a packet of `bytes` bytes from the device's side. If it may pass and belongs to no flow yet, it opens
    /// one: from here on the answers may pass too.
    #[inline]
    pub fn outgoing(&mut self, scope: Scope, flow: &Flow, bytes: usize) -> Verdict {
        let Some(key) = Key::outgoing(scope, flow) else { return UNREADABLE };
        let (number, &Entry { slot, .. }) = match self.flows.find(&self.secret, key) {
            Ok(found) => found,
            Err(absent) => return self.first(flow, key, absent, bytes),
        };
        let Some(live) = self.rules.live(slot, self.now) else { return NOTHING };
        live.from_device.count(bytes);
        live.last_from_device = self.now;
        self.flows.touch(number, self.second);
        Verdict::Allow(slot)
    }

    /// Judges a packet of `bytes` bytes from the resource's side, which came through `via`: it may pass only as part
    /// of a live flow that goes that way. Nothing on that side can open one.
    #[inline]
    pub fn returning(&mut self, scope: Scope, via: Via, flow: &Flow, bytes: usize) -> Verdict {
        let Some(key) = Key::returning(scope, flow) else { return UNREADABLE };
        let Some((number, slot)) = self.answered(key, via) else { return NOTHING };
        let Some(live) = self.rules.live(slot, self.now) else { return NOTHING };
        live.to_device.count(bytes);
        self.flows.touch(number, self.second);
        Verdict::Allow(slot)
    }

    /// Notes what TCP's flags say of a flow, as the device's packets show it: that it has begun to end (FIN, RST), or
    /// begins anew. One that has begun to end makes room after a short silence, not a long one.
    pub fn set_ending(&mut self, scope: Scope, flow: &Flow, is_ending: bool) {
        if let Some(key) = Key::outgoing(scope, flow)
            && let Ok((number, entry)) = self.flows.find(&self.secret, key)
            && entry.seen.is_ending() != is_ending
        {
            self.flows.set_ending(number, is_ending);
        }
    }

    /// Judges an ICMP error from the resource's side, which came through `via` and is about the packet `inner` that
    /// the device is said to have sent: it may pass only if such a flow is live and goes that way. It keeps nothing
    /// alive and counts for nothing.
    pub fn returning_error(&mut self, scope: Scope, via: Via, inner: &Flow) -> Verdict {
        let Some(key) = Key::outgoing(scope, inner) else { return UNREADABLE };
        let slot = self.answered(key, via).map(|(_, slot)| slot);
        match slot.filter(|slot| self.rules.live(*slot, self.now).is_some()) {
            Some(slot) => Verdict::Allow(slot),
            None => NOTHING,
        }
    }

    /// Adds a rule. The same lease again keeps its slot, its usage and its flows, and may have another deadline; a
    /// rule that only asks or explains, and so has no flows, may be replaced by anything.
    pub fn insert(&mut self, rule: Rule) -> Result<Slot, InsertError> {
        if let Some(index) = self.rules.index_of(rule.lease)
            && let Some((slot, known)) = self.rules.at(index)
        {
            let deadline = rule.deadline;
            if rule == (Rule { deadline, ..known.clone() }) {
                self.rules.extend(index, deadline);
                return Ok(slot);
            }
            if known.effect == Effect::Allow {
                return Err(InsertError::OtherTerms(rule.lease));
            }
            self.end_at(index, DenyReason::NoRule);
        }
        let full = InsertError::TooManyRules(self.limits.rules);
        let slot = self.rules.add(rule, self.now).ok_or(full)?;
        if let Some((_, rule)) = self.rules.at(slot.index) {
            self.destinations.add(&self.secret, rule, slot.index);
        }
        Ok(slot)
    }

    /// Gives a rule another deadline, later or earlier; `None` if there is no such rule.
    pub fn extend(&mut self, lease: LeaseId, deadline: Time) -> Option<Slot> {
        let index = self.rules.index_of(lease)?;
        self.rules.extend(index, deadline);
        self.slot(lease)
    }

    /// Ends a rule and its flows: no further packet passes under it.
    #[must_use = "the flows of rules that ended want to be reset"]
    pub fn end(&mut self, lease: LeaseId, reason: DenyReason) -> Option<Ended> {
        self.end_at(self.rules.index_of(lease)?, reason)
    }

    /// Ends all rules of one scope and their flows.
    #[must_use = "the flows of rules that ended want to be reset"]
    pub fn end_scope(&mut self, scope: Scope, reason: DenyReason) -> Vec<Ended> {
        let indices = self.rules.of_scope(scope);
        indices.into_iter().filter_map(|index| self.end_at(index, reason)).collect()
    }

    /// Ends one flow, given as the device's packets show it, before its time: the caller has seen its end. Whether
    /// there was such a flow.
    pub fn close(&mut self, scope: Scope, flow: &Flow) -> bool {
        let Some(key) = Key::outgoing(scope, flow) else { return false };
        let Ok((number, &Entry { slot, .. })) = self.flows.find(&self.secret, key) else { return false };
        self.close_at(number, scope, slot)
    }

    /// The rule at `slot`, if it is still the one that was there.
    pub fn rule(&self, slot: Slot) -> Option<&Rule> {
        self.rules.rule(slot)
    }

    /// The rule under which a flow lives, given as the device's packets show it. It counts for nothing.
    pub fn under(&mut self, scope: Scope, flow: &Flow) -> Option<Slot> {
        let key = Key::outgoing(scope, flow)?;
        self.flows.find(&self.secret, key).ok().map(|(_, entry)| entry.slot)
    }

    /// Where the rule of `lease` is.
    pub fn slot(&self, lease: LeaseId) -> Option<Slot> {
        self.rules.at(self.rules.index_of(lease)?).map(|(slot, _)| slot)
    }

    /// Every rule, by lease id.
    pub fn rules(&self) -> impl Iterator<Item = (Slot, &Rule)> {
        self.rules.all()
    }

    /// What has passed under the rule of `lease`.
    pub fn usage(&self, lease: LeaseId) -> Option<Usage> {
        self.rules.usage(self.rules.index_of(lease)?)
    }

    /// How many flows are alive.
    pub const fn flows(&self) -> u32 {
        self.flows.count()
    }

    /// Judges a packet that belongs to no live flow.
    #[inline(never)]
    fn first(&mut self, flow: &Flow, key: Key, absent: Absent, bytes: usize) -> Verdict {
        let is_live = |index| self.rules.is_live(index, self.now);
        let found =
            self.destinations.find(&self.secret, key.scope(), flow.protocol, &flow.destination, is_live);
        let Some(arm) = found else { return NOTHING };
        match arm.rank {
            Rank::Allow => {
                let Some(slot) = self.rules.slot(arm.rule, arm.via) else { return NOTHING };
                self.open(absent, Entry { key, slot, seen: Seen::at(self.second) }, arm.flows, bytes)
            }
            Rank::Ask => self.rules.slot(arm.rule, arm.via).map_or(NOTHING, Verdict::Ask),
            Rank::Deny => match self.rules.at(arm.rule).map(|(_, rule)| rule.effect) {
                Some(Effect::Deny(reason)) => Verdict::Deny(reason),
                Some(Effect::Allow | Effect::Ask) | None => NOTHING,
            },
        }
    }

    /// Opens a flow, unless that would be one too many for its rule, its scope or the table. Idle ones are gone
    /// already; none that is alive makes room.
    fn open(&mut self, absent: Absent, entry: Entry, cap: u32, bytes: usize) -> Verdict {
        let Some((account, live)) = self.rules.account(entry.key.scope(), entry.slot) else { return NOTHING };
        let fits = live.flows < cap && *account < self.limits.flows_per_scope;
        if !fits || !self.flows.open(absent, entry, &mut live.chain) {
            return Verdict::Deny(DenyReason::TooManyFlows);
        }
        *account += 1;
        live.flows += 1;
        live.from_device.count(bytes);
        live.last_from_device = self.now;
        Verdict::Allow(entry.slot)
    }

    /// The live flow with this key, if its answers come through `via`.
    #[inline(always)]
    fn answered(&mut self, key: Key, via: Via) -> Option<(u32, Slot)> {
        let (number, entry) = self.flows.find(&self.secret, key).ok()?;
        (entry.slot.via() == via).then_some((number, entry.slot))
    }

    fn end_at(&mut self, index: u32, reason: DenyReason) -> Option<Ended> {
        let (slot, _) = self.rules.at(index)?;
        let (rule, mut live) = self.rules.remove(index)?;
        self.destinations.remove(&self.secret, &rule, index);
        let usage = live.usage();
        let mut flows = Vec::with_capacity(live.flows as usize);
        while let Some(number) = live.chain.first()
            && let Some(flow) = self.flows.close(&self.secret, number, &mut live.chain)
        {
            flows.push(flow);
        }
        Some(Ended { rule, slot, reason, flows, usage })
    }

    fn close_idle(&mut self) {
        while let Some((number, &Entry { key, slot, .. })) = self.flows.idle(self.second)
            && self.close_at(number, key.scope(), slot)
        {}
    }

    fn close_at(&mut self, number: u32, scope: Scope, slot: Slot) -> bool {
        let Some((account, live)) = self.rules.account(scope, slot) else { return false };
        let closed = self.flows.close(&self.secret, number, &mut live.chain).is_some();
        *account = account.saturating_sub(1);
        live.flows = live.flows.saturating_sub(1);
        closed
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("now", &self.now).field("flows", &self.flows()).finish_non_exhaustive()
    }
}

const NOTHING: Verdict = Verdict::Deny(DenyReason::NoRule);
const UNREADABLE: Verdict = Verdict::Deny(DenyReason::UnreadablePacket);
const NANOS: u64 = 1_000_000_000;
