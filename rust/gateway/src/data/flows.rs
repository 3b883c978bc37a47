use std::collections::{BTreeMap, VecDeque};

use ztna_model::{Flow, LeaseId};
use ztna_netstack::StreamId;
use ztna_tunnel::PeerId;

use crate::order::SiteSocket;

/// The flows of all devices, and where each goes on.
#[derive(Default)]
pub(super) struct Flows {
    slots: Vec<Option<Forwarded>>,
    live: usize,
    /// INVARIANT: peer and flow of each slot, and the latest that has them.
    known: BTreeMap<(PeerId, Flow), StreamId>,
    /// Flows that may have bytes to move, each once.
    busy: VecDeque<StreamId>,
}

/// One flow of a device.
pub(super) struct Forwarded {
    /// Its name in the netstack.
    pub(super) stream: StreamId,
    /// Whose it is.
    pub(super) peer: PeerId,
    /// The flow, as the device's packets show it.
    pub(super) flow: Flow,
    /// The lease that it lives under.
    pub(super) lease: LeaseId,
    /// Where it goes on, once it is connected.
    pub(super) site: Option<SiteSocket>,
    /// Whether the site has finished, and been read to its end.
    pub(super) site_ended: bool,
    busy: bool,
}

impl Forwarded {
    pub(super) const fn new(stream: StreamId, peer: PeerId, flow: Flow, lease: LeaseId) -> Self {
        Self { stream, peer, flow, lease, site: None, site_ended: false, busy: false }
    }
}

impl Flows {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    pub(super) fn add(&mut self, forwarded: Forwarded) {
        let index = forwarded.stream.index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (key, stream) = ((forwarded.peer, forwarded.flow), forwarded.stream);
        match slot.replace(forwarded) {
            Some(before) => self.forget(&before),
            None => self.live += 1,
        }
        self.known.insert(key, stream);
    }

    /// The flow with this name.
    pub(super) fn find(&mut self, stream: StreamId) -> Option<&mut Forwarded> {
        self.at(stream.index()).filter(|found| found.stream == stream)
    }

    /// The flow whose name has this number.
    pub(super) fn at(&mut self, index: usize) -> Option<&mut Forwarded> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Takes a flow out.
    pub(super) fn remove(&mut self, stream: StreamId) -> Option<Forwarded> {
        let slot = self.slots.get_mut(stream.index())?;
        let gone = slot.take_if(|found| found.stream == stream);
        self.live -= usize::from(gone.is_some());
        gone.iter().for_each(|gone| self.forget(gone));
        gone
    }

    /// Takes out all flows for which `is_meant` holds.
    pub(super) fn remove_where(&mut self, mut is_meant: impl FnMut(&Forwarded) -> bool) -> Vec<Forwarded> {
        let meant = self.slots.iter_mut().filter_map(|slot| slot.take_if(|found| is_meant(found)));
        let gone: Vec<Forwarded> = meant.collect();
        self.live -= gone.len();
        gone.iter().for_each(|gone| self.forget(gone));
        gone
    }

    /// Whether a flow of `peer` shows itself in such packets.
    pub(super) fn has(&self, peer: PeerId, flow: &Flow) -> bool {
        self.known.contains_key(&(peer, *flow))
    }

    fn forget(&mut self, gone: &Forwarded) {
        let key = (gone.peer, gone.flow);
        if self.known.get(&key) == Some(&gone.stream) {
            self.known.remove(&key);
        }
    }

    /// Puts a flow among those that may have bytes to move.
    pub(super) fn mark_busy(&mut self, stream: StreamId) {
        if let Some(found) = self.find(stream)
            && !std::mem::replace(&mut found.busy, true)
        {
            self.busy.push_back(stream);
        }
    }

    /// How many may have bytes to move.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// The next that may have bytes to move; it is no longer marked so.
    pub(super) fn next_busy(&mut self) -> Option<StreamId> {
        while let Some(stream) = self.busy.pop_front() {
            if let Some(found) = self.find(stream) {
                found.busy = false;
                return Some(stream);
            }
        }
        None
    }
}
