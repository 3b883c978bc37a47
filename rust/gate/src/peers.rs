use std::collections::{BTreeMap, BTreeSet};

use ztna_api::gateway::LeaseError;
use ztna_model::{Lease, LeaseId, Match, SessionId, Synthetic};
use ztna_tunnel::PeerId;

/// Who holds which leases: a session by one WireGuard peer, and a peer for one session.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_id: BTreeMap<PeerId, Peer>,
    by_session: BTreeMap<SessionId, PeerId>,
    // INVARIANT: every peer without a lease is in here. Not every one in here is without.
    idle: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Peer {
    sid: SessionId,
    leases: BTreeSet<LeaseId>,
    /// The stand-ins in use, and by which leases.
    stand_ins: BTreeSet<(Synthetic, LeaseId)>,
}

impl Peers {
    /// The peer by which a session holds leases.
    pub(crate) fn of(&self, sid: SessionId) -> Option<PeerId> {
        self.by_session.get(&sid).copied().filter(|peer| self.holds(*peer))
    }

    /// How many sessions hold leases.
    pub(crate) fn sessions(&self) -> usize {
        self.by_session.values().filter(|peer| self.holds(**peer)).count()
    }

    /// The leases of a session.
    pub(crate) fn leases_of(&self, sid: SessionId) -> impl Iterator<Item = LeaseId> {
        self.peer_of(sid).into_iter().flat_map(|peer| peer.leases.iter().copied())
    }

    /// The leases that a peer holds.
    pub(crate) fn leases_held_by(&self, peer: PeerId) -> impl Iterator<Item = LeaseId> {
        self.by_id.get(&peer).into_iter().flat_map(|peer| peer.leases.iter().copied())
    }

    /// How many leases a session holds.
    pub(crate) fn count_of(&self, sid: SessionId) -> usize {
        self.peer_of(sid).map_or(0, |peer| peer.leases.len())
    }

    /// A lease of the session that uses this stand-in already. All that do mean the same name.
    pub(crate) fn user_of(&self, sid: SessionId, stand_in: &Synthetic) -> Option<LeaseId> {
        let from = (*stand_in, LeaseId([0; 16]));
        let (found, lease) = self.peer_of(sid)?.stand_ins.range(from..).next()?;
        (found == stand_in).then_some(*lease)
    }

    /// Whether the session may hold a lease under the key that `holder` has, if any peer has it. What a peer held
    /// before no longer matters.
    pub(crate) fn check_key(&self, sid: SessionId, holder: Option<PeerId>) -> Result<(), LeaseError> {
        let ours = self.of(sid);
        if holder.is_some_and(|holder| Some(holder) != ours && self.holds(holder)) {
            return Err(LeaseError::KeyTaken);
        }
        if ours.is_some() && ours != holder {
            return Err(LeaseError::SecondKey);
        }
        Ok(())
    }

    /// Makes `peer` the session's, where nobody holds anything by it. It stays for as long as it holds something.
    pub(crate) fn seat(&mut self, sid: SessionId, peer: PeerId) {
        if self.of(sid) == Some(peer) {
            return;
        }
        self.forget(peer);
        self.by_id.insert(peer, Peer { sid, leases: BTreeSet::new(), stand_ins: BTreeSet::new() });
        self.by_session.insert(sid, peer);
        self.idle.insert(peer);
    }

    /// Notes that `peer`, which has a seat, holds `lease`.
    pub(crate) fn add(&mut self, peer: PeerId, lease: &Lease) {
        let Some(Peer { leases, stand_ins, .. }) = self.by_id.get_mut(&peer) else { return };
        leases.insert(lease.id);
        stand_ins.extend(stand_in(lease).map(|stand_in| (stand_in, lease.id)));
    }

    /// Notes that `peer` no longer holds `lease`.
    pub(crate) fn remove(&mut self, peer: PeerId, lease: &Lease) {
        let Some(Peer { leases, stand_ins, .. }) = self.by_id.get_mut(&peer) else { return };
        leases.remove(&lease.id);
        if let Some(stand_in) = stand_in(lease) {
            stand_ins.remove(&(stand_in, lease.id));
        }
        if leases.is_empty() {
            self.idle.insert(peer);
        }
    }

    /// Forgets the peers that hold nothing, and says which these were.
    pub(crate) fn take_idle(&mut self) -> Vec<PeerId> {
        let mut idle: Vec<PeerId> = std::mem::take(&mut self.idle).into_iter().collect();
        idle.retain(|peer| !self.holds(*peer));
        idle.iter().for_each(|peer| self.forget(*peer));
        idle
    }

    fn holds(&self, peer: PeerId) -> bool {
        self.by_id.get(&peer).is_some_and(|peer| !peer.leases.is_empty())
    }

    fn peer_of(&self, sid: SessionId) -> Option<&Peer> {
        self.by_id.get(self.by_session.get(&sid)?)
    }

    fn forget(&mut self, peer: PeerId) {
        let Some(Peer { sid, .. }) = self.by_id.remove(&peer) else { return };
        if self.by_session.get(&sid) == Some(&peer) {
            self.by_session.remove(&sid);
        }
    }
}

fn stand_in(lease: &Lease) -> Option<Synthetic> {
    match &lease.rule.covers {
        Match::Name { synthetic, .. } => Some(*synthetic),
        Match::Prefix(_) => None,
    }
}
