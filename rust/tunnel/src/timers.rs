use std::time::Duration;

use ztna_model::{Time, secs};

use crate::role::Role;
use crate::wake::WakeReason;

/// What one peer waits for, told by what passed and when (WireGuard, section 6).
///
/// These decide what the tunnel does and when; the engine's own timers only keep its stamps fresh. A packet that
/// starts a wait sets its time, later ones do not move it: an answer is missed 15 s after the *first* packet it
/// should have followed, however long the tunnel lay idle before.
#[derive(Default, Debug)]
pub(crate) struct Timers {
    /// Since when packets have come and nothing has gone back.
    owed: Option<Time>,
    /// Since when packets have gone and nothing has come back, and when the last of them went.
    unanswered: Option<(Time, Time)>,
    /// The handshake in progress. Only an initiator has one.
    attempt: Option<Attempt>,
    /// Whether what comes next may have changed since it was last asked for.
    moved: bool,
}

/// A handshake that has not been answered yet.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    began: Time,
    /// When somebody last wanted to send.
    wanted: Time,
    /// When the last initiation went out.
    sent: Time,
    /// When the engine forgets it, and it must be begun anew.
    lapses: Time,
    /// Nobody wants it any more. The engine still knows of it, so what is wanted next goes on with it.
    is_stopped: bool,
}

impl Timers {
    /// A packet was sent.
    pub(crate) fn sent_packet(&mut self, now: Time) {
        self.moved |= self.owed.is_some() || self.unanswered.is_none();
        self.owed = None;
        let (_, latest) = self.unanswered.get_or_insert((now, now));
        *latest = now;
        self.wanted(now);
    }

    /// A packet was asked for, and waits for a session.
    pub(crate) fn wanted(&mut self, now: Time) {
        if let Some(attempt) = &mut self.attempt {
            attempt.wanted = now;
            self.moved = true;
        }
    }

    /// An authenticated datagram without a packet was sent.
    pub(crate) fn sent_nothing(&mut self) {
        self.owed = None;
        self.moved = true;
    }

    /// A packet was received.
    pub(crate) fn received_packet(&mut self, now: Time) {
        self.moved |= self.unanswered.is_some() || self.owed.is_none();
        self.unanswered = None;
        self.owed.get_or_insert(now);
    }

    /// An authenticated datagram without a packet was received.
    pub(crate) fn received_nothing(&mut self) {
        self.unanswered = None;
        self.moved = true;
    }

    /// An initiation was sent, the first of its attempt or one more. The engine will forget the attempt at `lapses`.
    pub(crate) fn sent_initiation(&mut self, lapses: Time, now: Time) {
        // The engine's clock is another: it may be a little late.
        let lapses = if lapses > now { lapses } else { Time::MAX };
        self.moved = true;
        self.owed = None;
        let attempt = match self.attempt {
            Some(attempt) if now < attempt.began + REKEY_ATTEMPT_TIME => {
                let wanted = if attempt.is_stopped { now } else { attempt.wanted };
                Attempt { wanted, is_stopped: false, ..attempt }
            }
            Some(_) | None => {
                let wanted = self.unanswered.map_or(now, |(_, latest)| latest);
                Attempt { began: now, wanted, sent: now, lapses, is_stopped: false }
            }
        };
        self.attempt = Some(Attempt { sent: now, lapses, ..attempt });
    }

    /// The handshake was answered.
    pub(crate) fn answered(&mut self) {
        self.moved = true;
        self.attempt = None;
        self.unanswered = None;
    }

    /// The handshake will not be answered.
    pub(crate) fn gave_up(&mut self) {
        self.moved = true;
        self.unanswered = None;
        if let Some(attempt) = &mut self.attempt {
            attempt.is_stopped = true;
        }
    }

    /// The engine forgot the handshake: the next initiation begins one.
    pub(crate) fn forgot(&mut self, now: Time) {
        self.moved = true;
        self.attempt = self.trying().map(|attempt| Attempt { began: now, lapses: Time::MAX, ..attempt });
    }

    /// Whether what comes next may have changed since this was last asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether a handshake is in progress.
    pub(crate) fn is_trying(&self) -> bool {
        self.trying().is_some()
    }

    /// Since when a handshake has been in progress.
    pub(crate) fn trying_since(&self) -> Option<Time> {
        self.trying().map(|attempt| attempt.began)
    }

    /// Since when packets have gone unanswered.
    pub(crate) fn unanswered_since(&self) -> Option<Time> {
        self.unanswered.map(|(since, _)| since)
    }

    /// What there is to do at this time.
    pub(crate) fn due(&self, role: Role, now: Time) -> Option<WakeReason> {
        // A clock that jumped past the end must not cause one more initiation.
        if self.trying().is_some_and(|attempt| attempt.end() <= now) {
            return Some(WakeReason::GivingUp);
        }
        self.next(role).filter(|(at, _)| *at <= now).map(|(_, why)| why)
    }

    /// What to do next, and when. An idle peer has nothing.
    pub(crate) fn next(&self, role: Role) -> Option<(Time, WakeReason)> {
        let keepalive = self.owed.map(|since| (since + KEEPALIVE_TIMEOUT, WakeReason::Keepalive));
        let handshake = match role {
            Role::Initiator => self.next_handshake(),
            Role::Responder => None,
        };
        [handshake, keepalive].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn next_handshake(&self) -> Option<(Time, WakeReason)> {
        let Some(attempt) = self.trying() else {
            return self.unanswered.map(Self::next_after_silence);
        };
        let again = attempt.lapses.min(attempt.sent + REKEY_TIMEOUT);
        let is_last = again >= attempt.end();
        Some(if is_last {
            (attempt.end(), WakeReason::GivingUp)
        } else {
            (again, WakeReason::Retransmission)
        })
    }

    fn trying(&self) -> Option<Attempt> {
        self.attempt.filter(|attempt| !attempt.is_stopped)
    }

    fn next_after_silence((since, _): (Time, Time)) -> (Time, WakeReason) {
        (since + LONGEST_SILENCE, WakeReason::MissingAnswer)
    }

    /// Whether an answer is missing at this time.
    pub(crate) fn is_silent(&self, now: Time) -> bool {
        self.unanswered.is_some_and(|(since, _)| now >= since + LONGEST_SILENCE)
    }

    /// Whether a missing answer is too old to be worth a handshake: the machine slept through it.
    pub(crate) fn is_stale(&self, now: Time) -> bool {
        self.unanswered.is_some_and(|(_, latest)| now >= latest + REKEY_ATTEMPT_TIME)
    }
}

impl Attempt {
    fn end(self) -> Time {
        self.began.min(self.wanted) + REKEY_ATTEMPT_TIME
    }
}

/// A session of this age gets a successor when a packet is sent.
pub(crate) const REKEY_AFTER_TIME: Duration = secs(120);
/// No session of this age seals or opens anything.
pub(crate) const REJECT_AFTER_TIME: Duration = secs(180);
/// A session of this age gets a successor when a packet is received, while there is still time for it.
pub(crate) const REKEY_ON_RECEIPT: Duration = secs(165);

/// A handshake is given up after this long.
const REKEY_ATTEMPT_TIME: Duration = secs(90);
/// An initiation is sent again after this long.
const REKEY_TIMEOUT: Duration = secs(5);
/// A packet is answered within this, if only by an empty datagram.
const KEEPALIVE_TIMEOUT: Duration = secs(10);
/// A packet that is not answered within this was lost, or its answer was: both of the above, one after the other.
const LONGEST_SILENCE: Duration = secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    use Event::{
        Answered, Forgot, GaveUp, GotNothing, GotPacket, Initiated, SentNothing, SentPacket, Wanted,
    };
    use WakeReason::{GivingUp, Keepalive, MissingAnswer, Retransmission};

    #[derive(Clone, Copy, Debug)]
    enum Event {
        SentPacket,
        SentNothing,
        GotPacket,
        GotNothing,
        Initiated,
        Wanted,
        Answered,
        GaveUp,
        Forgot,
    }

    type Row = (&'static [(u64, Event)], Option<(u64, WakeReason)>);

    fn check(role: Role, events: &[(u64, Event)], expected: Option<(u64, WakeReason)>) {
        let mut timers = Timers::default();
        for (at, event) in events {
            let now = Time::ZERO + secs(*at);
            match event {
                SentPacket => timers.sent_packet(now),
                SentNothing => timers.sent_nothing(),
                GotPacket => timers.received_packet(now),
                GotNothing => timers.received_nothing(),
                Initiated => timers.sent_initiation(Time::ZERO + secs(200), now),
                Forgot => timers.forgot(now),
                Wanted => timers.wanted(now),
                Answered => timers.answered(),
                GaveUp => timers.gave_up(),
            }
        }
        let expected = expected.map(|(at, why)| (Time::ZERO + secs(at), why));
        assert_eq!(timers.next(role), expected, "{role:?} {events:?}");
    }

    #[test]
    fn an_initiator() {
        let rows: &[Row] = &[
            (&[], None),
            (&[(7, SentPacket)], Some((22, MissingAnswer))),
            (&[(7, SentPacket), (9, SentPacket)], Some((22, MissingAnswer))),
            (&[(7, SentPacket), (9, GotNothing)], None),
            (&[(7, SentPacket), (9, GotPacket)], Some((19, Keepalive))),
            (&[(7, GotPacket), (9, GotPacket)], Some((17, Keepalive))),
            (&[(7, GotPacket), (9, SentNothing)], None),
            (&[(7, GotPacket), (9, SentPacket)], Some((24, MissingAnswer))),
            (&[(7, GotPacket), (60, SentPacket), (61, GotPacket)], Some((71, Keepalive))),
            (&[(7, Initiated)], Some((12, Retransmission))),
            (&[(7, Initiated), (12, Initiated)], Some((17, Retransmission))),
            (&[(7, Initiated), (92, Initiated)], Some((97, GivingUp))),
            (&[(7, Initiated), (90, Wanted), (92, Initiated)], Some((97, GivingUp))),
            (&[(7, Initiated), (8, GotPacket)], Some((12, Retransmission))),
            (&[(7, Initiated), (8, Answered)], None),
            (&[(7, Initiated), (8, SentPacket), (9, Answered)], None),
            (&[(7, Initiated), (8, GaveUp)], None),
            (&[(7, Initiated), (8, GotPacket), (9, GaveUp)], Some((18, Keepalive))),
            // Given up before its time: what is wanted then goes on with it, and ends with it.
            (&[(7, Initiated), (8, GaveUp), (92, Initiated)], Some((97, GivingUp))),
            (&[(7, Initiated), (8, GaveUp), (97, Initiated)], Some((102, Retransmission))),
            (&[(7, Initiated), (8, GaveUp), (97, Forgot)], None),
            // The engine forgets it at 200 s.
            (&[(190, Initiated), (195, Initiated)], Some((200, Retransmission))),
            (&[(197, Initiated)], Some((200, Retransmission))),
            (&[(197, Initiated), (200, Forgot)], Some((202, Retransmission))),
            (&[(197, Initiated), (200, Initiated)], Some((205, Retransmission))),
            // The answer that was missed counts from the last packet, not from the handshake it led to.
            (&[(0, SentPacket), (4, SentPacket), (15, Initiated), (90, Initiated)], Some((94, GivingUp))),
            (&[(0, SentPacket), (15, Initiated), (90, SentPacket), (104, Initiated)], Some((105, GivingUp))),
        ];
        for (events, expected) in rows {
            check(Role::Initiator, events, *expected);
        }
    }

    #[test]
    fn a_responder_only_ever_owes_a_keepalive() {
        let rows: &[Row] = &[
            (&[(7, SentPacket)], None),
            (&[(7, GotPacket)], Some((17, Keepalive))),
            (&[(7, GotPacket), (8, SentPacket)], None),
        ];
        for (events, expected) in rows {
            check(Role::Responder, events, *expected);
        }
    }
}
