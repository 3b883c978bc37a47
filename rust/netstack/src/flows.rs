use std::collections::BTreeMap;

use ztna_model::{Flow, Random};

use crate::budget::{Budget, Holding};
use crate::index::Index;
use crate::key::Keys;
use crate::limits::Limits;
use crate::slot::{Body, Slot};
use crate::spare::{Spare, Spares};
use crate::stream::{Scope, StreamId};
use crate::tcp::Tcp;
use crate::told::Told;

/// All flows: found by number, by name, or by what a packet says.
pub(crate) struct Flows {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: Index,
    keys: Keys,
    tallies: BTreeMap<Scope, Tally>,
    live: Holding,
    opened: u64,
    // The flow that was found last: packets come in trains.
    recent: u32,
    limits: Limits,
    budget: Budget,
    spares: Spares,
}

/// What one scope has.
#[derive(Clone, Copy, Default)]
struct Tally {
    live: Holding,
    waiting: u32,
}

/// No room is left for a flow.
pub(crate) struct Full;

impl Flows {
    pub(crate) fn new(limits: Limits, random: &mut dyn Random) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: Index::new(),
            keys: Keys::new(random),
            tallies: BTreeMap::new(),
            live: Holding::default(),
            opened: 0,
            recent: 0,
            limits,
            budget: Budget::new(&limits),
            spares: Spares::new(limits.buffer_total),
        }
    }

    /// What they have together.
    pub(crate) const fn live(&self) -> Holding {
        self.live
    }

    /// What buffers without a flow come to, in bytes.
    pub(crate) const fn kept(&self) -> usize {
        self.spares.promised()
    }

    /// The size of each of the two buffers of the next flow of `scope`.
    pub(crate) fn next_buffers(&self, scope: Scope) -> Option<usize> {
        self.budget.next(self.live, self.tally(scope).live)
    }

    /// A socket with two buffers of `size` bytes: one that was used before, if there is one.
    pub(crate) fn socket(&mut self, size: usize) -> Spare {
        self.spares.take(size, self.live.buffers).unwrap_or_else(|| Spare::new(size))
    }

    /// The number of the flow that a packet belongs to.
    #[inline]
    pub(crate) fn find(&mut self, scope: Scope, arriving: &Flow) -> Option<u32> {
        let is_meant = |number: u32| {
            let slot = self.slots.get(number as usize);
            slot.is_some_and(|slot| {
                slot.arriving == *arriving && slot.scope == scope && !matches!(slot.body, Body::Gone)
            })
        };
        if !is_meant(self.recent) {
            self.recent = self.index.find(self.keys.place(scope, arriving), is_meant)?;
        }
        Some(self.recent)
    }

    /// The flow with this number.
    #[inline]
    pub(crate) fn slot(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(number as usize)
    }

    /// The flow with this name.
    #[inline]
    pub(crate) fn named(&mut self, stream: StreamId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(stream.index as usize)?;
        (slot.named && slot.generation == stream.generation).then_some(slot)
    }

    /// The name of the flow with this number.
    pub(crate) fn name(&self, number: u32) -> StreamId {
        let generation = self.slots.get(number as usize).map_or(0, |slot| slot.generation);
        StreamId { index: number, generation }
    }

    /// All numbers that are or were in use.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    /// An unpredictable number for a flow, another one each time.
    pub(crate) fn seed(&mut self, scope: Scope, arriving: &Flow) -> u64 {
        self.opened += 1;
        self.keys.number(scope, arriving, self.opened)
    }

    /// Whether one more flow may come in, to wait for an answer.
    pub(crate) fn has_room_to_wait(&self, scope: Scope) -> bool {
        self.tally(scope).waiting < self.limits.waiting_per_scope && self.has_room(scope)
    }

    /// Whether there may be one more flow.
    pub(crate) fn has_room(&self, scope: Scope) -> bool {
        let live = self.tally(scope).live;
        live.flows < self.limits.flows_per_scope && self.live.flows < self.limits.flows
    }

    /// Makes a connection of a flow that has no buffers yet.
    pub(crate) fn connect(&mut self, number: u32, tcp: Tcp) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        self.live.buffers += 2 * tcp.buffer();
        if let Some(tally) = self.tallies.get_mut(&slot.scope) {
            tally.live.buffers += 2 * tcp.buffer();
        }
        slot.body = Body::Tcp(tcp);
    }

    /// Adds a flow that is not there, and returns its number.
    pub(crate) fn open(&mut self, scope: Scope, arriving: Flow, ours: bool, body: Body) -> Result<u32, Full> {
        if !self.has_room(scope) {
            return Err(Full);
        }
        let buffer = body.buffer();
        let number = self.place(Slot::new(scope, arriving, ours, body));
        self.index.insert(self.keys.place(scope, &arriving), number);
        self.live = self.live.with(buffer);
        let tally = self.tallies.entry(scope).or_default();
        tally.live = tally.live.with(buffer);
        tally.waiting += u32::from(!ours);
        Ok(number)
    }

    /// Counts a flow no longer among those that wait.
    pub(crate) fn answered(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        if std::mem::take(&mut slot.waiting)
            && let Some(tally) = self.tallies.get_mut(&slot.scope)
        {
            tally.waiting -= 1;
        }
    }

    /// Ends a flow and gives back what it held. What is still to be said about it is kept.
    pub(crate) fn close(&mut self, number: u32) {
        self.end(number, Body::Gone);
        self.forget(number);
    }

    /// Ends a connection and gives back what it held, but keeps its last acknowledgement at hand.
    pub(crate) fn linger(&mut self, number: u32, told: Told) {
        self.end(number, Body::Lingering(told));
    }

    /// Ends a flow whose peer has begun it, and is to be told no.
    pub(crate) fn turn_away(&mut self, number: u32) {
        let Some(body) = self.end(number, Body::Gone) else { return };
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        slot.body = match body {
            Body::Wanted(syn) => Body::Unwanted(syn),
            Body::Udp(_) => Body::Prohibited,
            Body::Unwanted(_) | Body::Tcp(_) | Body::Prohibited | Body::Lingering(_) | Body::Gone => return,
        };
    }

    /// Makes room for another flow between the same ends.
    pub(crate) fn forget(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        slot.body = Body::Gone;
        self.index.remove(self.keys.place(slot.scope, &slot.arriving), number);
    }

    /// Forgets a connection that still lingers under this name.
    pub(crate) fn forget_lingering(&mut self, stream: StreamId) {
        let slot = self.slots.get(stream.index as usize);
        let is_same = slot.is_some_and(|slot| slot.generation == stream.generation);
        if is_same && slot.is_some_and(|slot| matches!(slot.body, Body::Lingering(_))) {
            self.forget(stream.index);
            self.release(stream.index);
        }
    }

    /// Lets the number be used again, once nothing stands behind it any more.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        let idle = !slot.ready && !slot.telling && !slot.free;
        if idle && slot.news.is_empty() && matches!(slot.body, Body::Gone) {
            slot.free = true;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(number);
        }
    }

    /// Gives a living flow another body and no longer counts it; returns the body that it had, unless what it held can
    /// be used again.
    fn end(&mut self, number: u32, body: Body) -> Option<Body> {
        self.answered(number);
        let slot = self.slots.get_mut(number as usize).filter(|slot| slot.body.is_alive())?;
        let body = std::mem::replace(&mut slot.body, body);
        self.live = self.live.without(body.buffer());
        if let Some(tally) = self.tallies.get_mut(&slot.scope) {
            tally.live = tally.live.without(body.buffer());
            if tally.live.flows == 0 {
                self.tallies.remove(&slot.scope);
            }
        }
        if let Body::Tcp(tcp) = body {
            tcp.into_spare().into_iter().for_each(|spare| self.spares.keep(spare, self.live.buffers));
            return None;
        }
        Some(body)
    }

    fn tally(&self, scope: Scope) -> Tally {
        self.tallies.get(&scope).copied().unwrap_or_default()
    }

    fn place(&mut self, mut slot: Slot) -> u32 {
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(place) => {
                slot.generation = place.generation;
                *place = slot;
            }
            None => self.slots.push(slot),
        }
        number
    }
}
