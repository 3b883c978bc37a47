use std::time::Duration;

use ztna_model::{Carrier, Time};

use super::Peer;
use crate::encapsulate::{EncapsulateError, Encapsulated};
use crate::message::{INITIATION, OVERHEAD};
use crate::noise::Noise;
use crate::outbox::Outbox;
use crate::padding::Padded;
use crate::role::Role;
use crate::sessions::Sessions;
use crate::timers::REKEY_AFTER_TIME;

/// What goes to the other end.
impl<N: Noise> Peer<N> {
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

    /// Begins a new session if the one in use has this age.
    pub(super) fn renew(&mut self, age: Duration, now: Time, outbox: &mut Outbox) {
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
    pub(super) fn initiate(&mut self, now: Time, outbox: &mut Outbox) {
        let is_heard = self.is_heard(now);
        if std::mem::take(&mut self.has_forgotten) {
            self.remembers_since = now;
        }
        self.timers.sent_initiation(self.remembers_since + N::MEMORY, now);
        let mut datagram = [0; INITIATION];
        self.initiated = self.noise.initiate(&mut datagram);
        if self.initiated.is_none() {
            return;
        }
        self.stats.last_sent = Some(now);
        let others = self.carriers.iter().copied().filter(|carrier| !is_heard && self.path != Some(*carrier));
        self.path.into_iter().chain(others).for_each(|to| outbox.push(Some(self.id), to, &datagram));
    }

    /// Whether there is no reason to doubt the path.
    fn is_heard(&self, now: Time) -> bool {
        self.sessions.sealing(now).is_some() && !self.timers.is_trying() && !self.timers.is_silent(now)
    }

    /// Sends a keepalive if there is a session. Says whether it did.
    pub(super) fn keepalive(&mut self, now: Time, outbox: &mut Outbox) -> bool {
        self.timers.sent_nothing();
        let mut datagram = [0; OVERHEAD];
        let sealed = self.seal(&[], &mut datagram, now);
        if let Some((_, to)) = sealed {
            self.post(to, &datagram, now, outbox);
        }
        sealed.is_some()
    }

    pub(super) fn post(&mut self, to: Carrier, keepalive: &[u8], now: Time, outbox: &mut Outbox) {
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
}

/// How many packets wait for a session; the oldest makes room.
const MOST_WAITING: usize = 64;
