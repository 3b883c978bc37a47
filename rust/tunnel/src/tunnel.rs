use std::collections::{BTreeMap, VecDeque};

use thiserror::Error;

use ztna_model::{Carrier, Random, Secret, Time, WgPublic};

use crate::boring::{Boring, Machine};
use crate::encapsulate::{EncapsulateError, Encapsulated};
use crate::gate::Gate;
use crate::indices::Indices;
use crate::message::{INITIATION, OVERHEAD};
use crate::noise::Identity;
use crate::outbox::Outbox;
use crate::padding::Padding;
use crate::peer::{MOST_CARRIERS, Peer};
use crate::peer_id::PeerId;
use crate::refusal::Refusals;
use crate::role::Role;
use crate::slots::Slots;
use crate::stats::Stats;
use crate::wake::{Alarms, Wake};

/// One local key and all its peers.
///
/// **Batches.** `now` is the boot clock, read once for each batch of packets in or out: a peer that takes part in a
/// batch gets its clock work done at its first use there, and packets behind it cost no clock read. A `now` must not
/// be older than the one before.
///
/// **The law.** After a batch, and after each call that takes `now`, drain [`poll`](Self::poll); then sleep until
/// [`next_wake`](Self::next_wake) and call [`wake`](Self::wake).
///
/// **Keys.** A key is for one run. A pre-shared key never changes under a key: another one is another peer.
pub struct Tunnel {
    pub(crate) identity: Boring,
    pub(crate) padding: Padding,
    pub(crate) peers: Slots<Peer<Machine>>,
    pub(crate) keys: BTreeMap<WgPublic, PeerId>,
    pub(crate) indices: Indices,
    pub(crate) alarms: Alarms,
    pub(crate) gate: Gate,
    pub(crate) outbox: Outbox,
    /// Peers with a session and packets that waited for it.
    pub(crate) ready: VecDeque<PeerId>,
    pub(crate) refusals: Refusals,
    /// Where a packet is padded that has no room behind it.
    pub(crate) scratch: Vec<u8>,
}

/// A datagram to send: the first `length` bytes of the buffer that was given. One of no bytes opens a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where it goes.
    pub to: Carrier,
    /// Its bytes.
    pub length: usize,
}

/// Why a peer was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AddPeerError {
    /// A peer with this key is there already.
    #[error("there is a peer with this key already")]
    KeyTaken,
    /// The key is the tunnel's own, or one of the few that share no secret with anybody.
    #[error("the key cannot be a peer's")]
    UnusableKey,
    /// There is no room for another peer.
    #[error("there are too many peers")]
    Full,
}

impl Tunnel {
    /// The inner MTU that every network carries: the smallest that IPv6 allows (RFC 8200, section 5).
    pub const DEFAULT_MTU: u16 = 1_280;
    /// How many addresses of one peer are tried.
    pub const MOST_CARRIERS: usize = MOST_CARRIERS;

    /// A tunnel without peers. `mtu` is the longest packet it seals, in bytes.
    pub fn new(secret: &Secret<[u8; 32]>, mtu: u16, now: Time) -> Self {
        Self {
            identity: Boring::new(secret),
            padding: Padding::new(mtu),
            peers: Slots::new(),
            keys: BTreeMap::new(),
            indices: Indices::new(),
            alarms: Alarms::new(),
            gate: Gate::new(now),
            outbox: Outbox::new(),
            ready: VecDeque::new(),
            refusals: Refusals::default(),
            scratch: Vec::new(),
        }
    }

    /// The public half of its key.
    pub fn public(&self) -> WgPublic {
        self.identity.public()
    }

    /// The longest packet it seals, in bytes.
    pub const fn mtu(&self) -> usize {
        self.padding.mtu()
    }

    /// How long the buffer given to [`Self::poll`] must be.
    pub const fn longest_datagram(&self) -> usize {
        let data = self.padding.mtu() + OVERHEAD;
        if data > INITIATION { data } else { INITIATION }
    }

    /// Adds a peer; nothing is sent. `random` gives the 24 bits by which its datagrams are told from others'.
    pub fn add_peer(
        &mut self,
        key: WgPublic,
        psk: Option<Secret<[u8; 32]>>,
        role: Role,
        random: &mut dyn Random,
        now: Time,
    ) -> Result<PeerId, AddPeerError> {
        if self.keys.contains_key(&key) {
            return Err(AddPeerError::KeyTaken);
        }
        if key == self.public() {
            return Err(AddPeerError::UnusableKey);
        }
        let index = self.indices.draw(random);
        let machine = self.identity.machine(&key, psk.as_ref(), index).ok_or(AddPeerError::UnusableKey)?;
        let peer = self
            .peers
            .insert(|id| Peer::new(id, key, role, index, machine, now))
            .ok_or(AddPeerError::Full)?;
        self.indices.assign(index, peer);
        self.keys.insert(key, peer);
        Ok(peer)
    }

    /// Removes a peer with all that was queued for it. Says whether there was one; its id is void.
    pub fn remove_peer(&mut self, peer: PeerId) -> bool {
        let Some(gone) = self.peers.remove(peer) else { return false };
        self.keys.remove(&gone.key);
        self.indices.release(gone.index);
        self.alarms.forget(&gone);
        self.outbox.forget(peer);
        self.ready.retain(|ready| *ready != peer);
        true
    }

    /// The peer with this key.
    pub fn peer_with(&self, key: &WgPublic) -> Option<PeerId> {
        self.keys.get(key).copied()
    }

    /// The peer's key.
    pub fn key_of(&self, peer: PeerId) -> Option<WgPublic> {
        self.peers.get(peer).map(|peer| peer.key)
    }

    /// Every peer.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().map(|peer| peer.id)
    }

    /// Where handshakes with a peer are tried, best first; the first [`Self::MOST_CARRIERS`] are. Until it is heard
    /// and when it no longer is, all of them at once: the first to bring an answer is the path. Says whether there is
    /// such a peer.
    pub fn set_carriers(&mut self, peer: PeerId, carriers: &[Carrier]) -> bool {
        let peer = self.peers.get_mut(peer);
        peer.map(|peer| peer.set_carriers(carriers)).is_some()
    }

    /// Queues one empty datagram to `to`, which lets the peer's datagrams from there through the networks on this
    /// side. The path is not touched. Says whether there is such a peer.
    pub fn open_path(&mut self, peer: PeerId, to: Carrier) -> bool {
        let known = self.peers.get(peer).is_some();
        if known {
            self.outbox.push(Some(peer), to, &[]);
        }
        known
    }

    /// Tells a peer at once where this end is, after the network changed or to have a session before the first
    /// packet: by a keepalive if there is a session, else, from an initiator, by a handshake.
    pub fn announce(&mut self, peer: PeerId, now: Time) -> Result<(), EncapsulateError> {
        let peer = self.peers.get_mut(peer).ok_or(EncapsulateError::UnknownPeer)?;
        let announced = peer.announce(now, &mut self.outbox);
        self.alarms.follow(peer);
        announced
    }

    /// Forgets the sessions with a peer and shakes hands anew, from an initiator, since the other end has started again
    /// and knows nothing of them. Packets wait meanwhile.
    pub fn reconnect(&mut self, peer: PeerId, now: Time) -> Result<(), EncapsulateError> {
        let peer = self.peers.get_mut(peer).ok_or(EncapsulateError::UnknownPeer)?;
        let reconnected = peer.reconnect(now, &mut self.outbox);
        self.alarms.follow(peer);
        reconnected
    }

    /// The next datagram that the tunnel itself has to send, until there is none: handshakes, cookies, keepalives,
    /// and packets that waited for a session. `out` is [`Self::longest_datagram`] long; what does not fit is dropped.
    pub fn poll(&mut self, out: &mut [u8], now: Time) -> Option<Transmit> {
        self.poll_letter(out).or_else(|| self.poll_waiting(out, now))
    }

    /// When the clock is next needed, for whom and why. An idle tunnel needs none.
    pub fn next_wake(&self) -> Option<Wake> {
        let (at, peer) = self.alarms.first()?;
        let (_, why) = self.peers.get(peer)?.next()?;
        Some(Wake { at, peer, why })
    }

    /// Does what is due at `now`.
    pub fn wake(&mut self, now: Time) {
        while let Some((at, id)) = self.alarms.first()
            && at <= now
            && let Some(peer) = self.peers.get_mut(id)
        {
            peer.wake(now, &mut self.outbox);
            self.alarms.refresh(peer);
        }
    }

    /// Where datagrams to a peer go: where it was last heard.
    #[inline]
    pub fn path(&self, peer: PeerId) -> Option<Carrier> {
        self.peers.get(peer).and_then(Peer::path)
    }

    /// What is known of a peer.
    pub fn stats(&self, peer: PeerId) -> Option<Stats> {
        self.peers.get(peer).map(Peer::stats)
    }

    /// How often datagrams were refused, and why.
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    fn poll_letter(&mut self, out: &mut [u8]) -> Option<Transmit> {
        while let Some(letter) = self.outbox.pop() {
            if let Some(front) = out.get_mut(..letter.bytes().len()) {
                front.copy_from_slice(letter.bytes());
                return Some(Transmit { to: letter.to, length: letter.bytes().len() });
            }
        }
        None
    }

    fn poll_waiting(&mut self, out: &mut [u8], now: Time) -> Option<Transmit> {
        while let Some(id) = self.ready.front().copied() {
            let waiting = self.peers.get_mut(id).and_then(Peer::next_waiting);
            let sealed = waiting.map(|packet| self.encapsulate(id, &packet, out, now));
            if let Some(Ok(Encapsulated::Sealed { length, to })) = sealed {
                return Some(Transmit { to, length });
            }
            self.ready.pop_front();
        }
        None
    }
}
