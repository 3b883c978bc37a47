use std::collections::BTreeSet;

use ztna_model::Time;

use crate::noise::Noise;
use crate::peer::Peer;
use crate::peer_id::PeerId;

/// When a peer next needs the clock, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// When. At or after this time, call [`Tunnel::wake`](crate::Tunnel::wake).
    pub at: Time,
    /// Who.
    pub peer: PeerId,
    /// Why.
    pub why: WakeReason,
}

/// The only four reasons to wake for. New keys and the end of old ones wait for the next packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WakeReason {
    /// Packets came and nothing went back: the other end must hear that they did.
    Keepalive,
    /// Packets went and nothing came back: a new session must be tried.
    MissingAnswer,
    /// A handshake message may be lost: send another.
    Retransmission,
    /// Nobody answers: stop trying.
    GivingUp,
}

/// Every peer's next deadline, in order.
pub(crate) struct Alarms {
    /// INVARIANT: at most one for each peer, the same as its `armed`.
    by_time: BTreeSet<(Time, PeerId)>,
}

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self { by_time: BTreeSet::new() }
    }

    /// Sets a peer's alarm to what it has to do next, if that has moved.
    pub(crate) fn follow<N: Noise>(&mut self, peer: &mut Peer<N>) {
        if peer.take_moved() {
            self.refresh(peer);
        }
    }

    /// Sets a peer's alarm to what it has to do next.
    pub(crate) fn refresh<N: Noise>(&mut self, peer: &mut Peer<N>) {
        let next = peer.next().map(|(at, _)| at);
        if peer.armed != next {
            self.set(peer.id, std::mem::replace(&mut peer.armed, next), next);
        }
    }

    /// Removes the alarm of a peer that is gone.
    pub(crate) fn forget<N>(&mut self, peer: &Peer<N>) {
        self.set(peer.id, peer.armed, None);
    }

    pub(crate) fn first(&self) -> Option<(Time, PeerId)> {
        self.by_time.first().copied()
    }

    fn set(&mut self, peer: PeerId, armed: Option<Time>, next: Option<Time>) {
        if let Some(at) = armed {
            self.by_time.remove(&(at, peer));
        }
        if let Some(at) = next {
            self.by_time.insert((at, peer));
        }
    }
}
