use std::time::Duration;

use ztna_model::{Time, millis};

use super::{Arrival, Peer};
use crate::message::{OVERHEAD, RESPONSE, TAG};
use crate::noise::Noise;
use crate::outbox::Outbox;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::timers::REKEY_ON_RECEIPT;

/// What comes from the other end.
impl<N: Noise> Peer<N> {
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

/// One peer's handshakes are answered at most this often: what Linux allows.
const BETWEEN_ANSWERS: Duration = millis(20);
