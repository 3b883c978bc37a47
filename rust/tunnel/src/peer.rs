use std::collections::VecDeque;
use std::time::Duration;

use ztna_model::{Carrier, Time, WgPublic, millis};

use crate::encapsulate::{EncapsulateError, Encapsulated};
use crate::message::{INITIATION, OVERHEAD, RESPONSE, TAG};
use crate::noise::Noise;
use crate::outbox::Outbox;
use crate::padding::Padded;
use crate::peer_id::PeerId;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::sessions::Sessions;
use crate::stats::Stats;
use crate::timers::{REKEY_AFTER_TIME, REKEY_ON_RECEIPT, Timers};
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

    /// Where datagrams go.
    pub(crate) const fn path(&self) -> Option<Carrier> {
        self.path
    }

    /// Whether that may have changed since this was last asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        self.timers.take_moved()
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

    /// Seals a packet, or keeps it until there is a session.
    pub(crate) fn encapsulate(
        &mut self,
        packet: Padded<'_>,
        out: &mut [u8],
        now: Time,
        outbox: &mut Outbox,
    ) -> Result<Encapsulated, EncapsulateError> {
        self.attend(now, outbox);
        self.renew(REKEY_AFTER_TIME, now, outbox);
        let Some((length, to)) = self.seal(packet.bytes, out, now) else {
            return self.keep(packet.packet(), now, outbox);
        };
        self.timers.sent_packet(now);
        self.stats.last_sent = Some(now);
        self.stats.tx_bytes += packet.length as u64;
        Ok(Encapsulated::Sealed { length, to })
    }

    /// Opens data; an empty packet is a keepalive.
    pub(crate) fn open<'a>(
        &mut self,
        (receiver, counter): (u32, u64),
        arrival: Arrival<'_>,
        out: &'a mut [u8],
        outbox: &mut Outbox,
    ) -> Result<&'a mut [u8], Refusal> {
        let Arrival { datagram, from, now } = arrival;
        self.attend(now, outbox);
        self.sessions.judge(receiver, now)?;
        if out.len() + OVERHEAD - TAG < datagram.len() {
            return Err(Refusal::NoRoom);
        }
        let opened = self.noise.open(datagram, out);
        let length = match &opened {
            Ok(packet) => packet.len(),
            Err(Refusal::NotIp) => 0,
            Err(reason) => return Err(*reason),
        };
        if self.sessions.opened(receiver, counter) {
            self.path = Some(from);
        }
        self.received(length, now);
        self.renew(REKEY_ON_RECEIPT, now, outbox);
        opened
    }

    /// Answers an initiation, whose key is this peer's. The path stays: an initiation may be an old one, and the
    /// data that follows shows where the other end is.
    pub(crate) fn answer(
        &mut self,
        remote: u32,
        arrival: Arrival<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        let Arrival { datagram, from, now } = arrival;
        match self.role {
            Role::Initiator => return Err(Refusal::WrongRole),
            Role::Responder => {}
        }
        if self.answered.is_some_and(|last| now.since(last) < BETWEEN_ANSWERS) {
            return Err(Refusal::Busy);
        }
        self.attend(now, outbox);
        let mut response = [0; RESPONSE];
        let local = self.noise.answer(datagram, &mut response)?;
        self.sessions.establish(local, remote, now);
        self.answered = Some(now);
        self.established(now);
        self.timers.received_nothing();
        self.timers.sent_nothing();
        self.stats.last_sent = Some(now);
        outbox.push(Some(self.id), from, &response);
        Ok(())
    }

    /// Takes the answer to our initiation. Says whether packets waited for it.
    pub(crate) fn finish(
        &mut self,
        (local, remote): (u32, u32),
        arrival: Arrival<'_>,
        outbox: &mut Outbox,
    ) -> Result<bool, Refusal> {
        let Arrival { datagram, from, now } = arrival;
        match self.role {
            Role::Initiator => {}
            Role::Responder => return Err(Refusal::WrongRole),
        }
        self.attend(now, outbox);
        let mut keepalive = [0; OVERHEAD];
        self.noise.finish(datagram, &mut keepalive)?;
        self.sessions.establish(local, remote, now);
        self.sessions.seal_with(local);
        self.path = Some(from);
        self.established(now);
        if self.initiated == Some(local) {
            self.timers.answered();
        } else {
            // The last initiation is still under way, and the machine waits for its answer.
            self.timers.received_nothing();
        }
        // The other end waits for one datagram before it trusts the session: a packet will do.
        if self.waiting.is_empty() {
            self.post(from, &keepalive, now, outbox);
        }
        Ok(!self.waiting.is_empty())
    }

    /// Keeps a cookie for the next initiation, which goes out when it would have anyway.
    pub(crate) fn keep_cookie(&mut self, arrival: Arrival<'_>, outbox: &mut Outbox) -> Result<(), Refusal> {
        match self.role {
            Role::Initiator => {}
            Role::Responder => return Err(Refusal::WrongRole),
        }
        if !self.timers.is_trying() {
            return Err(Refusal::Unasked);
        }
        self.attend(arrival.now, outbox);
        self.noise.keep_cookie(arrival.datagram)
    }

    /// Tells the other end where we are: by a keepalive, or by a handshake where there is no session.
    pub(crate) fn announce(&mut self, now: Time, outbox: &mut Outbox) -> Result<(), EncapsulateError> {
        self.attend(now, outbox);
        let told = self.keepalive(now, outbox);
        if told && !self.timers.is_trying() {
            return Ok(());
        }
        self.may_initiate()?;
        self.initiate(now, outbox);
        self.timers.wanted(now);
        Ok(())
    }

    /// Forgets every session and begins a new one.
    pub(crate) fn reconnect(&mut self, now: Time, outbox: &mut Outbox) -> Result<(), EncapsulateError> {
        self.attend(now, outbox);
        self.may_initiate()?;
        self.sessions.lose_all();
        self.initiate(now, outbox);
        self.timers.wanted(now);
        Ok(())
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

    /// Begins a new session if the one in use has this age.
    fn renew(&mut self, age: Duration, now: Time, outbox: &mut Outbox) {
        let is_due = |sessions: &Sessions| sessions.sealing(now).is_some_and(|one| one.age(now) >= age);
        if self.may_initiate().is_ok() && is_due(&self.sessions) && !self.timers.is_trying() {
            self.initiate(now, outbox);
        }
    }

    fn may_initiate(&self) -> Result<(), EncapsulateError> {
        match self.role {
            Role::Responder => Err(EncapsulateError::NoSession),
            Role::Initiator if self.path.is_none() && self.carriers.is_empty() => {
                Err(EncapsulateError::NoCarrier)
            }
            Role::Initiator => Ok(()),
        }
    }

    /// Sends an initiation where the peer was last heard; everywhere if it was not heard yet, or no more.
    fn initiate(&mut self, now: Time, outbox: &mut Outbox) {
        let is_first = !self.timers.is_trying();
        if std::mem::take(&mut self.has_forgotten) {
            self.remembers_since = now;
        }
        self.timers.sent_initiation(self.remembers_since + N::MEMORY, now);
        let mut datagram = [0; INITIATION];
        self.initiated = self.noise.initiate(&mut datagram);
        self.stats.last_sent = Some(now);
        if let Some(path) = self.path {
            outbox.push(Some(self.id), path, &datagram);
        }
        if self.path.is_none() || !is_first {
            let others = self.carriers.iter().filter(|carrier| self.path != Some(**carrier));
            others.for_each(|carrier| outbox.push(Some(self.id), *carrier, &datagram));
        }
    }

    /// Sends a keepalive if there is a session. Says whether it did.
    fn keepalive(&mut self, now: Time, outbox: &mut Outbox) -> bool {
        self.timers.sent_nothing();
        let mut datagram = [0; OVERHEAD];
        let sealed = self.seal(&[], &mut datagram, now);
        if let Some((_, to)) = sealed {
            self.post(to, &datagram, now, outbox);
        }
        sealed.is_some()
    }

    fn post(&mut self, to: Carrier, keepalive: &[u8], now: Time, outbox: &mut Outbox) {
        self.timers.sent_nothing();
        self.stats.last_sent = Some(now);
        outbox.push(Some(self.id), to, keepalive);
    }

    /// Seals with the session in use, if it is young enough.
    fn seal(&mut self, padded: &[u8], out: &mut [u8], now: Time) -> Option<(usize, Carrier)> {
        let remote = self.sessions.sealing(now)?.remote;
        let to = self.path?;
        let sealed = self.noise.seal(padded, out);
        // INVARIANT: the machine sealed with the session that was judged.
        let used = out.get(4..).and_then(<[u8]>::first_chunk);
        if sealed.is_none() || used != Some(&remote.to_le_bytes()) {
            self.sessions.lose_current();
            return None;
        }
        sealed.map(|length| (length, to))
    }

    /// Keeps a packet until there is a session.
    fn keep(
        &mut self,
        packet: &[u8],
        now: Time,
        outbox: &mut Outbox,
    ) -> Result<Encapsulated, EncapsulateError> {
        self.may_initiate()?;
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            self.stats.dropped += 1;
        }
        self.waiting.push_back(packet.into());
        if !self.timers.is_trying() {
            self.initiate(now, outbox);
        }
        self.timers.wanted(now);
        Ok(Encapsulated::Queued)
    }

    fn established(&mut self, now: Time) {
        self.has_forgotten = false;
        self.remembers_since = now;
        self.stats.last_handshake = Some(now);
        self.stats.last_received = Some(now);
    }

    fn received(&mut self, length: usize, now: Time) {
        self.stats.last_received = Some(now);
        if length == 0 {
            self.timers.received_nothing();
        } else {
            self.timers.received_packet(now);
            self.stats.last_packet_received = Some(now);
            self.stats.rx_bytes += length as u64;
        }
    }
}

/// How many addresses of one peer are tried.
pub(crate) const MOST_CARRIERS: usize = 5;

/// How many packets wait for a session; the oldest makes room.
const MOST_WAITING: usize = 64;
/// One peer's handshakes are answered at most this often: what Linux allows.
const BETWEEN_ANSWERS: Duration = millis(20);
