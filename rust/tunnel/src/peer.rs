mod arriving; // data, answers, cookies
mod leaving; // packets, keepalives, handshakes

use std::collections::VecDeque;

use ztna_model::{Carrier, Time, WgPublic};

use crate::noise::Noise;
use crate::outbox::Outbox;
use crate::peer_id::PeerId;
use crate::role::Role;
use crate::sessions::Sessions;
use crate::stats::Stats;
use crate::timers::Timers;
use crate::wake::WakeReason;

/// The other end of one tunnel: its state machine, its timers, its path and what waits for it.
pub(crate) struct Peer<N> {
    pub(crate) id: PeerId,
    pub(crate) key: WgPublic,
    role: Role,
    /// Its 24 bits of every index.
    pub(crate) index: u32,
    noise: N,
    /// The batch in which the machine was last told the time.
    stamped: Option<Time>,
    sessions: Sessions,
    timers: Timers,
    /// Where it may be found, best first.
    carriers: Vec<Carrier>,
    /// Where it was last heard.
    path: Option<Carrier>,
    /// Packets that wait for a session.
    waiting: VecDeque<Box<[u8]>>,
    /// The local index of our last initiation.
    initiated: Option<u32>,
    /// When its last initiation was answered.
    answered: Option<Time>,
    /// Since when the machine counts its memory, and whether it has run out.
    remembers_since: Time,
    has_forgotten: bool,
    stats: Stats,
    /// The alarm that is set for it.
    pub(crate) armed: Option<Time>,
}

/// A datagram as it arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'d> {
    pub(crate) datagram: &'d [u8],
    pub(crate) from: Carrier,
    pub(crate) now: Time,
}

impl<N: Noise> Peer<N> {
    pub(crate) fn new(id: PeerId, key: WgPublic, role: Role, index: u32, noise: N, now: Time) -> Self {
        Self {
            id,
            key,
            role,
            index,
            noise,
            stamped: None,
            sessions: Sessions::default(),
            timers: Timers::default(),
            carriers: Vec::new(),
            path: None,
            waiting: VecDeque::new(),
            initiated: None,
            answered: None,
            remembers_since: now,
            has_forgotten: false,
            stats: Stats::default(),
            armed: None,
        }
    }

    pub(crate) fn set_carriers(&mut self, carriers: &[Carrier]) {
        self.carriers = carriers.iter().copied().take(MOST_CARRIERS).collect();
    }

    /// What to do next, and when.
    pub(crate) fn next(&self) -> Option<(Time, WakeReason)> {
        self.timers.next(self.role)
    }

    /// Whether that may have changed since this was last asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        self.timers.take_moved()
    }

    /// Where datagrams go.
    pub(crate) const fn path(&self) -> Option<Carrier> {
        self.path
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            path: self.path,
            unanswered_since: self.timers.unanswered_since(),
            trying_since: self.timers.trying_since(),
            waiting: self.waiting.len(),
            ..self.stats
        }
    }

    /// Called before anything else is done with the peer: at the first use in a batch it tells the machine the time
    /// and does what is due.
    pub(crate) fn attend(&mut self, now: Time, outbox: &mut Outbox) {
        if self.stamped == Some(now) {
            return;
        }
        self.stamped = Some(now);
        let held = self.noise.stamp();
        if !held.session {
            self.sessions.lose_current();
        }
        if !held.handshake {
            self.forget(now, outbox);
        }
        self.act(now, outbox);
    }

    /// Its alarm went off.
    pub(crate) fn wake(&mut self, now: Time, outbox: &mut Outbox) {
        self.attend(now, outbox);
        self.act(now, outbox);
    }

    /// The next packet that waited for a session.
    pub(crate) fn next_waiting(&mut self) -> Option<Box<[u8]>> {
        self.waiting.pop_front()
    }

    /// Does what is due. Each act moves what comes next to a later time.
    fn act(&mut self, now: Time, outbox: &mut Outbox) {
        while let Some(why) = self.timers.due(self.role, now) {
            match why {
                WakeReason::Keepalive => {
                    self.keepalive(now, outbox);
                }
                WakeReason::MissingAnswer if self.timers.is_stale(now) => self.timers.gave_up(),
                WakeReason::MissingAnswer | WakeReason::Retransmission => self.initiate(now, outbox),
                WakeReason::GivingUp => self.give_up(),
            }
        }
    }

    fn give_up(&mut self) {
        self.timers.gave_up();
        self.sessions.lose_all();
        self.stats.dropped += self.waiting.len() as u64;
        self.waiting = VecDeque::new();
    }

    /// The machine forgot everything, by rules of its own. Our handshake may not be over.
    fn forget(&mut self, now: Time, outbox: &mut Outbox) {
        self.sessions.lose_all();
        self.has_forgotten = true;
        if self.timers.due(self.role, now) == Some(WakeReason::GivingUp) {
            self.give_up();
        }
        self.timers.forgot(now);
        if self.timers.is_trying() {
            self.initiate(now, outbox);
        }
    }
}

/// How many addresses of one peer are tried.
pub(crate) const MOST_CARRIERS: usize = 5;
