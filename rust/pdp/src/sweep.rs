use std::time::Duration;

use ztna_model::minutes;

use crate::audit::{By, Event};
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::{Key, Session, SessionState, Token, TokenKind};
use crate::timers::Timer;

impl Pdp {
    /// Sweeps out what is over, and writes down what was only counted.
    pub(crate) fn sweep(&mut self) {
        self.timers.set(self.clock.boot() + EVERY, Timer::Sweep);
        self.forget_claims();
        self.forget_floors();
        let mut change = Change::default();
        self.sweep_rows(&mut change);
        self.keep_activity(&mut change);
        let count = self.grants.take_unnoted();
        if count > 0 {
            change.audit.push(self.entry(By::Broker, Event::Renewals { count }));
        }
        if !change.writes.is_empty() || !change.audit.is_empty() {
            self.enforce(change, |_, _| ());
        }
    }

    fn sweep_rows(&self, change: &mut Change) {
        let now = self.clock.wall();
        let old = |session: &&Session| match session.state {
            SessionState::Ended { at, .. } => now.since(at) > REMEMBERED,
            SessionState::Pending | SessionState::Open => false,
        };
        for session in self.rows.sessions.values().filter(old) {
            change.delete(Key::Session(session.sid));
        }
        let is_live = |token: &Token| self.rows.sessions.get(&token.sid).is_some_and(Session::is_live);
        for token in self.rows.tokens.values() {
            // One of a session that is over was on its way to the store when that ended.
            if !is_live(token) || token.kind == TokenKind::Access && now >= token.expires {
                change.delete(Key::Token(token.hash));
            }
        }
        for enrolment in self.rows.enrolments.values() {
            if now.since(enrolment.expires) > REMEMBERED {
                change.delete(Key::Enrolment(enrolment.hash));
            }
        }
    }

    /// Writes down, coarsely, when sessions were last heard of, so that a restart does not end a busy one.
    fn keep_activity(&self, change: &mut Change) {
        for session in self.rows.sessions.values().filter(|session| session.is_live()) {
            let Some(active) = self.devices.active(&session.sid) else { continue };
            if active.since(session.active) > COARSELY {
                change.put(Session { active, ..session.clone() });
            }
        }
    }
}

/// How often.
pub(crate) const EVERY: Duration = minutes(1);
/// How long what is over stays to be looked up.
const REMEMBERED: Duration = minutes(24 * 60);
const COARSELY: Duration = minutes(60);
