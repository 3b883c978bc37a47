use std::time::Duration;

use ztna_api::device::{Hello, IsYours, Mine, Notice, NoticeEvent};
use ztna_api::discovery::Versions;
use ztna_model::{EndReason, LinkId, SessionId, secs};

use super::Phase;
use crate::input::StreamId;
use crate::ledger::Change;
use crate::output::{Alarm, Output};
use crate::pdp::Pdp;
use crate::rows::Links;
use crate::timers::Timer;

/// How a hello fits the chain of a session's streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fits {
    /// It is the session's first.
    First,
    /// It follows the stream before, or repeats its own hello.
    Follows,
    /// Somebody else has followed already: two devices use one key.
    Cloned,
}

impl Fits {
    /// `spoken` is the link on which something was said since its welcome: whoever said it has no hello to repeat.
    fn of(links: Option<&Links>, spoken: Option<LinkId>, hello: &Hello) -> Self {
        let Some(links) = links else { return Self::First };
        let follows = hello.prev == Some(links.current) && hello.next != links.current;
        let repeats =
            hello.next == links.current && hello.prev == links.prev && spoken != Some(links.current);
        if follows || repeats { Self::Follows } else { Self::Cloned }
    }
}

impl Pdp {
    pub(super) fn hello(&mut self, stream: StreamId, hello: Hello) {
        let Some(known) = self.devices.streams.get(&stream) else { return };
        let (sid, silent) = (known.sid, known.phase == Phase::Silent);
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()) else {
            return self.close_stream(stream);
        };
        if !silent || hello.org != self.rows.org || Versions::OURS.agree(hello.versions).is_none() {
            return self.close_stream(stream);
        }
        let spoken = self.devices.lives.get(&sid).and_then(|life| life.spoken);
        match Fits::of(session.links.as_ref(), spoken, &hello) {
            Fits::Cloned => self.cloned(sid),
            Fits::First => {
                self.replace_stream(sid);
                self.link(stream, sid, hello);
            }
            Fits::Follows => self.claim(stream, sid, hello),
        }
    }

    /// The device speaks on a stream that was welcomed, so its link has arrived there.
    pub(super) fn has_spoken(&mut self, sid: SessionId) {
        let links = self.rows.sessions.get(&sid).and_then(|session| session.links);
        self.devices.lives.entry(sid).or_default().spoken = links.map(|links| links.current);
    }

    /// A stream wants to be the session's one: the current one is asked, if there is one.
    fn claim(&mut self, stream: StreamId, sid: SessionId, hello: Hello) {
        let life = self.devices.lives.entry(sid).or_default();
        let (current, claimant) = (life.current, life.claimant);
        let rival = claimant.and_then(|other| self.devices.streams.get(&other)).map(|other| &other.phase);
        if let Some(Phase::Claiming(other)) = rival {
            if other.next != hello.next {
                return self.cloned(sid);
            }
            // The same hello on a fresh connection: the device gave up on the one before.
            claimant.into_iter().for_each(|other| self.close_stream(other));
        }
        let Some(current) = current.filter(|current| self.devices.streams.contains_key(current)) else {
            return self.link(stream, sid, hello);
        };
        let next = hello.next;
        self.devices.lives.entry(sid).or_default().claimant = Some(stream);
        if let Some(known) = self.devices.streams.get_mut(&stream) {
            known.phase = Phase::Claiming(hello);
        }
        self.tell(current, IsYours { next });
        self.timers.set(self.clock.boot() + PATIENCE, Timer::Claim(stream));
    }

    /// The current stream says whether the claimant's link is its own.
    pub(super) fn mine(&mut self, stream: StreamId, mine: Mine) {
        let Some(sid) = self.devices.streams.get(&stream).map(|known| known.sid) else { return };
        let Some(life) = self.devices.lives.get(&sid).filter(|life| life.current == Some(stream)) else {
            return;
        };
        let Some((claimant, Phase::Claiming(hello))) = life
            .claimant
            .and_then(|id| self.devices.streams.get(&id).map(|claimant| (id, claimant.phase.clone())))
        else {
            return;
        };
        if hello.next != mine.next {
            return;
        }
        if mine.mine { self.hand_over(claimant) } else { self.cloned(sid) }
    }

    /// The current stream was silent: it is dead, or so is its connection.
    pub(crate) fn claim_unanswered(&mut self, claimant: StreamId) {
        self.hand_over(claimant);
    }

    fn hand_over(&mut self, claimant: StreamId) {
        let Some(known) = self.devices.streams.get(&claimant) else { return };
        let (sid, Phase::Claiming(hello)) = (known.sid, known.phase.clone()) else { return };
        self.replace_stream(sid);
        self.link(claimant, sid, hello);
    }

    /// Closes the session's current stream, whose place another one takes.
    fn replace_stream(&mut self, sid: SessionId) {
        let current = self.devices.lives.get_mut(&sid).and_then(|life| life.current.take());
        if let Some(current) = current {
            self.devices.streams.remove(&current);
            self.out.push_back(Output::Close(current));
        }
    }

    pub(crate) fn device_closed(&mut self, stream: StreamId) {
        let Some(closed) = self.devices.streams.remove(&stream) else { return };
        let Some(life) = self.devices.lives.get_mut(&closed.sid) else { return };
        if life.claimant == Some(stream) {
            life.claimant = None;
        }
        if life.current == Some(stream) {
            life.current = None;
            if let Some(claimant) = life.claimant {
                self.hand_over(claimant);
            }
        }
    }

    /// Two devices use one key: the session ends, sign-ins begun before are void, and the person's other devices say so.
    pub(crate) fn cloned(&mut self, sid: SessionId) {
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() else {
            return;
        };
        self.out.push_back(Output::Alarm(Alarm::Cloned { sid }));
        let mut change = Change::default();
        self.end_session(&session, EndReason::Cloned, &mut change);
        self.move_not_before(&session.person, &mut change);
        self.enforce(change, |_, _| ());
        let name = self.rows.devices.get(&session.device).map(|device| device.name.clone());
        let event = NoticeEvent::DeviceCloned { name: name.unwrap_or_default() };
        self.tell_other_devices(&session.person, session.device, Notice { event });
    }
}

/// How long the current stream may take to answer for itself.
const PATIENCE: Duration = secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_5_which_hello_follows_which() {
        let link = |n: u8| LinkId([n; 16]);
        let hello = |prev: Option<u8>, next: u8| Hello {
            org: "https://acme.example".parse().unwrap(),
            versions: Versions::OURS,
            prev: prev.map(link),
            next: link(next),
            software: String::new(),
            platform: String::new(),
        };
        let links = Links { prev: Some(link(1)), current: link(2) };
        let rows = [
            ("a session's first", None, None, hello(None, 1), Fits::First),
            ("the next", Some(links), None, hello(Some(2), 3), Fits::Follows),
            ("a retry", Some(links), None, hello(Some(1), 2), Fits::Follows),
            ("the next, after a word", Some(links), Some(2), hello(Some(2), 3), Fits::Follows),
            ("a retry, after older words", Some(links), Some(1), hello(Some(1), 2), Fits::Follows),
            ("a repetition, after a word", Some(links), Some(2), hello(Some(1), 2), Fits::Cloned),
            ("another successor of the one before", Some(links), None, hello(Some(1), 3), Fits::Cloned),
            ("an old state, woken", Some(links), None, hello(Some(9), 1), Fits::Cloned),
            ("one that begins anew", Some(links), None, hello(None, 3), Fits::Cloned),
            ("one that follows itself", Some(links), None, hello(Some(2), 2), Fits::Cloned),
            ("an unknown one", Some(links), None, hello(Some(7), 8), Fits::Cloned),
        ];
        for (name, links, spoken, hello, expected) in rows {
            assert_eq!(Fits::of(links.as_ref(), spoken.map(link), &hello), expected, "{name}");
        }
    }
}
