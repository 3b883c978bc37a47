use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ztna_model::{Endpoint, Flow, LeaseId, Protocol, Time, minutes};
use ztna_tunnel::PeerId;

use super::addresses::{Addresses, PeerRanges};
use super::course::Course;

/// How many flows there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) flows: usize,
    pub(crate) flows_per_peer: usize,
}

/// The flows of all devices that go on somewhere, and where.
#[derive(Debug)]
pub(crate) struct Translations {
    limits: Limits,
    addresses: Addresses,
    slots: Vec<Option<Translation>>,
    free: Vec<u32>,
    /// INVARIANT: every translation once, by what the device's packets show.
    inner: BTreeMap<(PeerId, Flow), u32>,
    /// INVARIANT: every translation that the kernel forwards once, by what its packets show on their way out.
    outer: BTreeMap<Flow, u32>,
    /// INVARIANT: every translation's `look_at`, and nothing else.
    looks: BTreeSet<(Time, u32)>,
    of_peer: BTreeMap<PeerId, usize>,
    /// What was found last, each way: packets come in trains.
    latest_inner: Option<(PeerId, Flow, u32)>,
    latest_outer: Option<(Flow, u32)>,
}

/// A flow of a device's that goes on somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Translation {
    /// Whose it is.
    pub(crate) peer: PeerId,
    /// The flow, as the device's packets show it.
    pub(crate) inner: Flow,
    /// The lease that it lives under.
    pub(crate) lease: LeaseId,
    /// Where it goes on.
    pub(crate) way: Way,
    /// How far it is.
    pub(crate) course: Course,
    last: Time,
    /// When it is next looked at: whether it is over.
    look_at: Time,
}

/// Where a flow goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// By the kernel, which sees this flow.
    Kernel(Flow),
    /// By a socket of this process's own: the kernel cannot forward it.
    Userspace,
}

impl Translation {
    /// When it is over unless another packet comes.
    fn deadline(&self) -> Time {
        self.last + self.course.patience(self.inner.protocol)
    }
}

impl Translations {
    pub(crate) const fn new(ranges: PeerRanges, limits: Limits) -> Self {
        Self {
            limits,
            addresses: Addresses::new(ranges),
            slots: Vec::new(),
            free: Vec::new(),
            inner: BTreeMap::new(),
            outer: BTreeMap::new(),
            looks: BTreeSet::new(),
            of_peer: BTreeMap::new(),
            latest_inner: None,
            latest_outer: None,
        }
    }

    /// How many flows the kernel forwards.
    pub(crate) fn by_kernel(&self) -> usize {
        self.outer.len()
    }

    /// Begins a flow of `peer`'s that goes by the kernel to `target`, from an address and a port that nobody else has
    /// there. `None` if there is no room.
    pub(crate) fn open(
        &mut self,
        peer: PeerId,
        inner: Flow,
        target: Endpoint,
        lease: LeaseId,
        now: Time,
    ) -> Option<u32> {
        self.check_room(peer, &inner)?;
        let address = self.addresses.of(peer, target.address)?;
        let outer = self.free_flow(inner, address, target)?;
        let number = self.add(Translation::new(peer, inner, lease, Way::Kernel(outer), now));
        self.outer.insert(outer, number);
        Some(number)
    }

    /// Notes a flow of `peer`'s that goes by a socket.
    pub(crate) fn set_aside(&mut self, peer: PeerId, inner: Flow, lease: LeaseId, now: Time) -> Option<u32> {
        self.check_room(peer, &inner)?;
        Some(self.add(Translation::new(peer, inner, lease, Way::Userspace, now)))
    }

    /// The flow of which `peer` sends such a packet.
    pub(crate) fn of_device(&mut self, peer: PeerId, inner: &Flow, now: Time) -> Option<&mut Translation> {
        let number = match self.latest_inner {
            Some((of, flow, number)) if of == peer && flow == *inner => number,
            Some(_) | None => *self.inner.get(&(peer, *inner))?,
        };
        self.latest_inner = Some((peer, *inner, number));
        self.touched(number, now)
    }

    /// The flow of which the kernel brings such an answer.
    pub(crate) fn of_site(&mut self, answer: &Flow, now: Time) -> Option<&mut Translation> {
        let outer = answer.reversed();
        let number = match self.latest_outer {
            Some((flow, number)) if flow == outer => number,
            Some(_) | None => *self.outer.get(&outer)?,
        };
        self.latest_outer = Some((outer, number));
        self.touched(number, now)
    }

    /// The flow that an error is about, which the kernel brings. It keeps nothing alive.
    pub(crate) fn about(&self, outer: &Flow) -> Option<&Translation> {
        self.at(*self.outer.get(outer)?)
    }

    /// Ends the flows of a lease.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) -> Vec<Translation> {
        let meant = |entry: &Translation| entry.lease == lease;
        let numbers = self.inner.values().copied().filter(|number| self.at(*number).is_some_and(meant));
        let numbers: Vec<u32> = numbers.collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Ends a flow.
    pub(crate) fn end(&mut self, peer: PeerId, inner: &Flow) -> Option<Translation> {
        let number = *self.inner.get(&(peer, *inner))?;
        self.remove(number)
    }

    /// Ends the flows that have been silent for too long.
    pub(crate) fn end_idle(&mut self, now: Time) -> Vec<Translation> {
        let mut over = Vec::new();
        while let Some((due, number)) = self.looks.first().copied().filter(|(due, _)| *due <= now) {
            let found = self.slots.get_mut(number as usize).and_then(Option::as_mut);
            match found.filter(|entry| entry.deadline() > now) {
                Some(entry) => {
                    entry.look_at = entry.next_look(now);
                    self.looks.remove(&(due, number));
                    self.looks.insert((entry.look_at, number));
                }
                None => over.extend(self.remove(number)),
            }
        }
        over
    }

    /// When to look for silent ones again, if ever.
    pub(crate) fn next_look(&self) -> Option<Time> {
        self.looks.first().map(|(due, _)| *due)
    }

    /// Forgets the addresses of a peer that has gone, with whatever flows it still has.
    pub(crate) fn release(&mut self, peer: PeerId) {
        let from = (peer, FIRST_FLOW);
        let flows = self.inner.range(from..).take_while(|((of, _), _)| *of == peer);
        let numbers: Vec<u32> = flows.map(|(_, number)| *number).collect();
        for number in numbers {
            self.remove(number);
        }
        self.addresses.release(peer);
    }

    fn check_room(&self, peer: PeerId, inner: &Flow) -> Option<()> {
        let has_room = self.inner.len() < self.limits.flows
            && self.of_peer.get(&peer).is_none_or(|count| *count < self.limits.flows_per_peer)
            && !self.inner.contains_key(&(peer, *inner));
        has_room.then_some(())
    }

    /// The flow from `address` to `target` with the device's own port, or if that is taken with one near it: two names
    /// may stand for one address.
    fn free_flow(&self, inner: Flow, address: IpAddr, target: Endpoint) -> Option<Flow> {
        let wanted = inner.source.port;
        let port = |step: u16| wanted.wrapping_add(step.wrapping_mul(STRIDE)).max(1);
        let flow = |port| Flow {
            protocol: inner.protocol,
            source: Endpoint::new(address, port),
            destination: target,
        };
        (0..MOST_TRIES).map(|step| flow(port(step))).find(|flow| !self.outer.contains_key(flow))
    }

    fn add(&mut self, entry: Translation) -> u32 {
        let (key, look_at) = ((entry.peer, entry.inner), entry.look_at);
        *self.of_peer.entry(entry.peer).or_default() += 1;
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        self.inner.insert(key, number);
        self.looks.insert((look_at, number));
        number
    }

    fn remove(&mut self, number: u32) -> Option<Translation> {
        let gone = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        (self.latest_inner, self.latest_outer) = (None, None);
        self.inner.remove(&(gone.peer, gone.inner));
        match gone.way {
            Way::Kernel(outer) => _ = self.outer.remove(&outer),
            Way::Userspace => {}
        }
        self.looks.remove(&(gone.look_at, number));
        if let Some(count) = self.of_peer.get_mut(&gone.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&gone.peer);
            }
        }
        Some(gone)
    }

    fn touched(&mut self, number: u32, now: Time) -> Option<&mut Translation> {
        let entry = self.slots.get_mut(number as usize)?.as_mut()?;
        entry.last = entry.last.max(now);
        Some(entry)
    }

    fn at(&self, number: u32) -> Option<&Translation> {
        self.slots.get(number as usize)?.as_ref()
    }
}

impl Translation {
    fn new(peer: PeerId, inner: Flow, lease: LeaseId, way: Way, now: Time) -> Self {
        let mut entry = Self { peer, inner, lease, way, course: Course::default(), last: now, look_at: now };
        entry.look_at = entry.next_look(now);
        entry
    }

    /// A connection that has ended is over sooner than one that lives, so it is not left alone for hours.
    fn next_look(&self, now: Time) -> Time {
        self.deadline().min(now + LOOK_AT_LEAST)
    }
}

/// No flow comes before it.
pub(crate) const FIRST_FLOW: Flow = {
    let none = Endpoint::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
    Flow { protocol: Protocol::Tcp, source: none, destination: none }
};
/// Far enough apart that a row of ports that are taken is left soon.
const STRIDE: u16 = 4_099;
const MOST_TRIES: u16 = 256;
const LOOK_AT_LEAST: Duration = minutes(1);
