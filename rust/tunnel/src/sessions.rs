use std::time::Duration;

use ztna_model::Time;

use crate::refusal::Refusal;
use crate::timers::REJECT_AFTER_TIME;

/// The sessions the engine holds for one peer, and when each began by the clock of our callers.
///
/// The engine ages its sessions by stamps of its own, which are only as fresh as the last time it looked at its
/// clock. Whether a session may still be used is decided here.
#[derive(Default, Debug)]
pub(crate) struct Sessions {
    /// By the lowest bits of the local index, as the engine keeps them.
    ring: [Option<Session>; RING],
    /// The local index of the session that packets are sealed with.
    current: Option<u32>,
}

/// One pair of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// What the other end puts on datagrams to us.
    local: u32,
    /// What we put on datagrams to the other end.
    pub(crate) remote: u32,
    born: Time,
    /// The highest counter opened so far.
    newest: Option<u64>,
}

impl Session {
    /// How old it is.
    pub(crate) const fn age(&self, now: Time) -> Duration {
        now.since(self.born)
    }

    fn is_live(&self, now: Time) -> bool {
        self.age(now) < REJECT_AFTER_TIME
    }
}

impl Sessions {
    /// A handshake led to a session. An initiator seals with it at once; a responder once it has opened something
    /// with it, since only then is it known that the other end has the keys.
    pub(crate) fn establish(&mut self, local: u32, remote: u32, now: Time) {
        if let Some(place) = self.ring.get_mut(place(local)) {
            *place = Some(Session { local, remote, born: now, newest: None });
        }
    }

    /// Whether a datagram for the session `local` may be opened.
    pub(crate) fn judge(&self, local: u32, now: Time) -> Result<(), Refusal> {
        let session = self.find(local).ok_or(Refusal::UnknownIndex)?;
        if session.is_live(now) { Ok(()) } else { Err(Refusal::Expired) }
    }

    /// A datagram was opened with the session `local`. Says whether it is the newest of the newest session, which
    /// is what the path follows: one that was overtaken on the way tells where the other end *was*.
    pub(crate) fn opened(&mut self, local: u32, counter: u64) -> bool {
        if self.current != Some(local) {
            self.seal_with(local);
        }
        let is_current = self.current == Some(local);
        let Some(session) = self.ring.get_mut(place(local)).and_then(Option::as_mut) else { return false };
        let is_newest = session.newest.is_none_or(|newest| counter > newest);
        if is_newest {
            session.newest = Some(counter);
        }
        is_newest && is_current
    }

    /// Seals with `local` from here on, unless a later session is in use.
    pub(crate) fn seal_with(&mut self, local: u32) {
        let Some(candidate) = self.find(local) else { return };
        if self.current().is_none_or(|current| candidate.born >= current.born) {
            self.current = Some(local);
        }
    }

    /// The session to seal with, if it is young enough.
    pub(crate) fn sealing(&self, now: Time) -> Option<&Session> {
        self.current().filter(|session| session.is_live(now))
    }

    /// The engine no longer has the session to seal with.
    pub(crate) fn lose_current(&mut self) {
        self.current = None;
    }

    /// No session is used any more.
    pub(crate) fn lose_all(&mut self) {
        *self = Self::default();
    }

    fn current(&self) -> Option<&Session> {
        self.current.and_then(|local| self.find(local))
    }

    fn find(&self, local: u32) -> Option<&Session> {
        self.ring.get(place(local)).and_then(Option::as_ref).filter(|session| session.local == local)
    }
}

const fn place(local: u32) -> usize {
    local as usize % RING
}

/// How many sessions the engine keeps for one peer.
const RING: usize = 8;

#[cfg(test)]
mod tests {
    use ztna_model::{millis, secs};

    use super::*;

    #[test]
    fn nothing_is_used_from_180_seconds_on() {
        let mut sessions = Sessions::default();
        let born = Time::ZERO + secs(1_000);
        sessions.establish(0x101, 7, born);
        sessions.seal_with(0x101);
        let last = born + secs(180) - millis(1);
        assert_eq!(sessions.judge(0x101, last), Ok(()));
        assert!(sessions.sealing(last).is_some());
        assert_eq!(sessions.judge(0x101, born + secs(180)), Err(Refusal::Expired));
        assert!(sessions.sealing(born + secs(180)).is_none());
        assert_eq!(sessions.judge(0x109, born), Err(Refusal::UnknownIndex), "same place, other session");
    }

    #[test]
    fn a_responder_seals_with_what_it_has_opened() {
        let mut sessions = Sessions::default();
        sessions.establish(1, 7, Time::ZERO);
        assert!(sessions.sealing(Time::ZERO).is_none());
        assert!(sessions.opened(1, 0));
        assert_eq!(sessions.sealing(Time::ZERO).map(|session| session.remote), Some(7));
        sessions.establish(2, 8, Time::ZERO + secs(120));
        assert!(sessions.opened(1, 1), "the old one is still in use");
        assert!(sessions.opened(2, 0));
        assert!(!sessions.opened(1, 2), "overtaken by the new one");
        assert_eq!(sessions.sealing(Time::ZERO + secs(120)).map(|session| session.remote), Some(8));
    }

    #[test]
    fn only_the_newest_datagram_moves_the_path() {
        let mut sessions = Sessions::default();
        sessions.establish(1, 7, Time::ZERO);
        let moved: Vec<bool> =
            [0, 1, 3, 2, 4].into_iter().map(|counter| sessions.opened(1, counter)).collect();
        assert_eq!(moved, [true, true, true, false, true]);
    }
}
