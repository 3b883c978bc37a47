use std::collections::VecDeque;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use ztna_api::device::{Hello, NeedNonces, Stated};
use ztna_api::discovery::Versions;
use ztna_api::statement::{self, Body, Statement};
use ztna_api::token;
use ztna_model::{Random, SessionId, SignError, Time, millis, minutes, secs};

use crate::account::Account;
use crate::output::Output;
use crate::session::{Profile, Session};
use crate::transitions::Happened;

/// The control stream.
#[derive(Debug, Default)]
pub(crate) enum Stream {
    /// There is none; when to try again.
    #[default]
    Closed,
    /// To be opened at this time.
    Waiting { until: Time },
    /// Being opened, or open and not yet greeted.
    Opening { since: Time },
    /// Open.
    Open(Open),
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Open {
    /// Nonces for statements, each for one, and when they came: an old one is worth nothing.
    nonces: VecDeque<(String, Time)>,
    /// Statements that wait for a nonce.
    unsigned: VecDeque<Body>,
    /// When the device key last showed itself on this stream.
    present: Option<Time>,
    /// When something was said that the broker must answer; silence means the stream is dead.
    unanswered: Option<Time>,
}

/// How often it was tried in vain; each time the next try is later.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Patience(u32);

impl Open {
    pub(crate) fn new(nonces: Vec<String>, now: Time) -> Self {
        let mut open =
            Self { nonces: VecDeque::new(), unsigned: VecDeque::new(), present: None, unanswered: None };
        open.add_nonces(nonces, now);
        open
    }

    pub(crate) fn add_nonces(&mut self, nonces: Vec<String>, now: Time) {
        // The broker is not trusted to be brief.
        let room = MOST_NONCES.saturating_sub(self.nonces.len());
        self.nonces.extend(nonces.into_iter().take(room).map(|nonce| (nonce, now)));
    }

    /// A nonce that the broker will still take.
    fn next_nonce(&mut self, now: Time) -> Option<String> {
        while let Some((nonce, came)) = self.nonces.pop_front() {
            if now < came + NONCE_LIFE {
                return Some(nonce);
            }
        }
        None
    }

    /// Something was said that the broker must answer.
    pub(crate) fn expect_answer(&mut self, now: Time) {
        self.unanswered.get_or_insert(now);
    }

    /// The broker said something.
    pub(crate) const fn heard(&mut self) {
        self.unanswered = None;
    }

    fn is_present(&self, now: Time) -> bool {
        self.present.is_some_and(|at| now < at + PRESENCE)
    }

    fn dead_at(&self) -> Option<Time> {
        self.unanswered.map(|since| since + SILENCE)
    }
}

impl Patience {
    /// How long to wait now; half of it is chance, so that a thousand clients do not come back at once.
    pub(crate) fn next(&mut self, random: &mut dyn Random) -> Duration {
        let most = FIRST_WAIT.saturating_mul(1 << self.0.min(7)).min(LONGEST_WAIT);
        self.0 = self.0.saturating_add(1);
        let mut chance = [0; 2];
        random.fill(&mut chance);
        most / 2 + most / 2 * u32::from(u16::from_be_bytes(chance)) / u32::from(u16::MAX)
    }
}

impl Session {
    /// Opens the stream, if it is wanted and nobody is at it; renews the tokens first where that is needed.
    pub(crate) fn open_stream(&mut self, now: Time) {
        if !self.wanted || !matches!(self.stream, Stream::Closed | Stream::Waiting { .. }) {
            return;
        }
        let Some(account) = &mut self.account else { return };
        if account.tokens.access_until <= now + ACCESS_MARGIN {
            // Whoever renews opens the stream afterwards, or tries again later.
            self.stream = Stream::Closed;
            return self.renew(now);
        }
        account.links.opening(&mut self.random);
        match upgrade(account, now, &mut self.random) {
            Ok(request) => {
                self.stream = Stream::Opening { since: now };
                self.save();
                self.push(Output::OpenStream(Box::new(request)));
            }
            Err(error) => self.key_failed(&error, now),
        }
    }

    /// The driver opened the stream.
    pub fn handle_stream_opened(&mut self, _now: Time) {
        let (Some(account), Stream::Opening { .. }) = (&mut self.account, &self.stream) else { return };
        let hello = hello(account, &self.profile, &mut self.random);
        self.push(Output::Send(Box::new(hello.into())));
    }

    /// The stream could not be opened, or broke. `refused` says that the broker would not have the token.
    pub fn handle_stream_closed(&mut self, refused: bool, now: Time) {
        if matches!(self.stream, Stream::Closed | Stream::Waiting { .. }) {
            return;
        }
        if let Some(account) = self.account.as_mut().filter(|_| refused) {
            account.tokens.access_until = Time::ZERO;
        }
        self.lose_stream(now);
    }

    /// This machine's network is another one: what waited for a better moment is tried now, and a stream that is open has
    /// to show that it still is.
    pub fn handle_network_changed(&mut self, now: Time) {
        if matches!(self.stream, Stream::Opening { .. }) {
            self.give_up_stream(now);
        }
        match &mut self.stream {
            Stream::Closed | Stream::Opening { .. } => {}
            Stream::Waiting { until } => {
                *until = now;
                self.patience = Patience::default();
            }
            Stream::Open(open) => {
                open.expect_answer(now);
                self.push(Output::Send(Box::new(NeedNonces { count: 1 }.into())));
            }
        }
        self.pass_time_on_stream(now);
    }

    /// Says `body` under the device key, over a broker nonce; waits for one where there is none.
    pub(crate) fn declare(&mut self, body: Body, now: Time) {
        if let Stream::Open(open) = &mut self.stream {
            open.unsigned.push_back(body);
        }
        self.sign_statements(now);
    }

    /// Whether the device key has shown itself on this stream lately: asking gains rights. Where it has not, it does,
    /// which may have to wait for a nonce.
    pub(crate) fn is_present(&mut self, now: Time) -> bool {
        let Stream::Open(open) = &self.stream else { return false };
        if !open.is_present(now) && !open.unsigned.contains(&Body::Presence {}) {
            self.declare(Body::Presence {}, now);
        }
        matches!(&self.stream, Stream::Open(open) if open.is_present(now))
    }

    /// Signs what waits, as far as the nonces go, and asks for more.
    pub(crate) fn sign_statements(&mut self, now: Time) {
        loop {
            let (Stream::Open(open), Some(account)) = (&mut self.stream, &self.account) else { return };
            if open.unsigned.is_empty() {
                return;
            }
            let Some(nonce) = open.next_nonce(now) else { break };
            let Some(body) = open.unsigned.pop_front() else { return };
            if body == (Body::Presence {}) {
                open.present = Some(now);
            }
            match signed(account, nonce, body) {
                Ok(stated) => self.push(Output::Send(Box::new(stated.into()))),
                Err(error) => return self.key_failed(&error, now),
            }
        }
        if let Stream::Open(open) = &mut self.stream {
            open.expect_answer(now);
        }
        self.push(Output::Send(Box::new(NeedNonces { count: NONCES_AT_ONCE }.into())));
    }

    /// There is no stream, and nobody misses one.
    pub(crate) fn drop_stream(&mut self) {
        if !matches!(std::mem::take(&mut self.stream), Stream::Closed) {
            self.push(Output::CloseStream);
        }
        self.patience = Patience::default();
        self.lost_at = None;
    }

    /// What time does to the stream.
    pub(crate) fn pass_time_on_stream(&mut self, now: Time) {
        match &self.stream {
            Stream::Waiting { until } if now >= *until => self.open_stream(now),
            Stream::Opening { since } if now >= *since + OPENING => self.give_up_stream(now),
            Stream::Open(open) if open.dead_at().is_some_and(|at| now >= at) => self.give_up_stream(now),
            Stream::Closed | Stream::Waiting { .. } | Stream::Opening { .. } | Stream::Open(_) => {}
        }
    }

    /// Somebody needs the stream now: the next try is soon, however long the last ones were in vain.
    pub(crate) fn hasten_stream(&mut self, now: Time) {
        if let Stream::Waiting { until } = &mut self.stream {
            *until = (*until).min(now + FIRST_WAIT);
        }
    }

    pub(crate) fn stream_wake(&self) -> Option<Time> {
        match &self.stream {
            Stream::Closed => None,
            Stream::Waiting { until } => Some(*until),
            Stream::Opening { since } => Some(*since + OPENING),
            Stream::Open(open) => open.dead_at(),
        }
    }

    /// Tries again later.
    pub(crate) fn try_later(&mut self, now: Time) {
        let wait = self.patience.next(&mut self.random);
        self.stream = Stream::Waiting { until: now + wait };
    }

    fn give_up_stream(&mut self, now: Time) {
        self.push(Output::CloseStream);
        self.lose_stream(now);
    }

    fn lose_stream(&mut self, now: Time) {
        self.lost_at.get_or_insert(now);
        self.happen(Happened::StreamLost);
        self.reopen_asks();
        self.reopen_lookups();
        self.try_later(now);
    }

    fn key_failed(&mut self, error: &SignError, now: Time) {
        self.stream = Stream::Closed;
        match error {
            SignError::KeyLost => self.sign_out_here(Some(crate::state::Why::Failed(error.to_string()))),
            SignError::Refused(_) => self.try_later(now),
        }
    }
}

fn upgrade(account: &Account, now: Time, random: &mut dyn Random) -> Result<ztna_auth::Request, SignError> {
    let access = Some(&account.tokens.access);
    let request = account.possession.request(http::Method::GET, token::STREAM_PATH, access, now, random)?;
    let request = request
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    request.body(vec![]).map_err(|error| SignError::Refused(error.to_string()))
}

fn hello(account: &mut Account, profile: &Profile, random: &mut dyn Random) -> Hello {
    Hello {
        org: account.discovery.org.clone(),
        versions: Versions::OURS,
        prev: account.links.prev,
        next: account.links.opening(random),
        software: profile.software.clone(),
        platform: profile.platform.clone(),
    }
}

fn signed(account: &Account, nonce: String, body: Body) -> Result<Stated, SignError> {
    let (org, sid): (_, SessionId) = (account.discovery.org.clone(), account.tokens.sid);
    let statement = Statement { org, sid, nonce, body };
    statement::sign(account.possession.signer(), &statement).map(|statement| Stated { statement })
}

/// The frames' name in the WebSocket handshake (RFC 6455, 11.5).
const PROTOCOL: &str = "openztna.v1";

/// A token that is about to end is renewed before it opens a stream.
const ACCESS_MARGIN: Duration = secs(10);
/// How long a stream may take to open and to be greeted.
const OPENING: Duration = secs(10);
/// How long an answer may take before the stream counts as dead: there are no pings.
const SILENCE: Duration = secs(5);
/// A little less than the broker asks for, so that it never has to refuse.
const PRESENCE: Duration = minutes(4);
/// A little less than the five minutes for which the broker takes a nonce.
const NONCE_LIFE: Duration = minutes(4);
const NONCES_AT_ONCE: u8 = 4;
const MOST_NONCES: usize = 16;
const FIRST_WAIT: Duration = millis(500);
const LONGEST_WAIT: Duration = secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_broker_that_gives_nonces_without_end_fills_no_memory() {
        let given = || (0..1_000).map(|number| number.to_string()).collect();
        let mut open = Open::new(given(), Time::ZERO);
        open.add_nonces(given(), Time::ZERO);
        assert_eq!(open.nonces.len(), MOST_NONCES);
    }

    #[test]
    fn p2_4_a_nonce_that_came_too_long_ago_is_not_used() {
        let mut open = Open::new(vec!["old".into()], Time::ZERO);
        open.add_nonces(vec!["young".into()], Time::ZERO + secs(1));
        assert_eq!(open.next_nonce(Time::ZERO + NONCE_LIFE).as_deref(), Some("young"));
        assert_eq!(open.next_nonce(Time::ZERO + NONCE_LIFE), None);
    }
}
