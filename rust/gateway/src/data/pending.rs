use std::collections::BTreeMap;

use ztna_model::{Flow, LeaseId};
use ztna_tunnel::PeerId;

/// Flows of which it is being found out where they go, and their packets until then.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: BTreeMap<u64, Waiting>,
    /// INVARIANT: peer and flow of each, and its number.
    known: BTreeMap<(PeerId, Flow), u64>,
    count: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) peer: PeerId,
    pub(super) flow: Flow,
    pub(super) lease: LeaseId,
    pub(super) packets: Vec<Vec<u8>>,
}

impl Pending {
    /// Lets a packet wait with those of its flow; gives it back if none wait.
    pub(super) fn join(&mut self, peer: PeerId, flow: &Flow, packet: Vec<u8>) -> Option<Vec<u8>> {
        let Some(number) = self.known.get(&(peer, *flow)) else { return Some(packet) };
        if let Some(waiting) =
            self.waiting.get_mut(number).filter(|waiting| waiting.packets.len() < MOST_PACKETS)
        {
            waiting.packets.push(packet);
        }
        None
    }

    /// Begins to wait with a flow's first packet, if there is room. Its number is no other's.
    pub(super) fn begin(&mut self, peer: PeerId, flow: Flow, lease: LeaseId, packet: Vec<u8>) -> Option<u64> {
        let of_peer = self.known.range((peer, LOWEST)..).take_while(|((of, _), _)| *of == peer);
        if self.waiting.len() >= MOST || of_peer.take(MOST_OF_ONE).count() == MOST_OF_ONE {
            return None;
        }
        self.count += 1;
        self.known.insert((peer, flow), self.count);
        self.waiting.insert(self.count, Waiting { peer, flow, lease, packets: vec![packet] });
        Some(self.count)
    }

    /// It waits no longer.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.known.remove(&(waiting.peer, waiting.flow));
        Some(waiting)
    }

    /// Throws away what waits under leases that are over.
    pub(super) fn end_where(&mut self, is_over: impl Fn(LeaseId) -> bool) {
        self.waiting.retain(|_, waiting| !is_over(waiting.lease));
        let Self { waiting, known, .. } = self;
        known.retain(|_, number| waiting.contains_key(number));
    }
}

/// No flow comes before it.
const LOWEST: Flow = crate::translation::FIRST_FLOW;
const MOST: usize = 1_024;
const MOST_OF_ONE: usize = 128;
/// What a device sends before it has heard anything.
const MOST_PACKETS: usize = 8;
