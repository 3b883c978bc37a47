use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ztna_api::token::Nonce;
use ztna_model::{Incarnation, Random, SessionId, Time};
use ztna_posture::Requirements;

use crate::cedar::{Engine, Language};
use crate::clock::Clock;
use crate::device::Devices;
use crate::floor::Floors;
use crate::gateway::Gateways;
use crate::grant::Grants;
use crate::index::Index;
use crate::input::{Input, Now};
use crate::ledger::{Change, Ledger, Lock};
use crate::nonce::{Nonces, Purpose};
use crate::output::{Alarm, Output};
use crate::rows::{One, Organisation, Rows};
use crate::timers::{Timer, Timers};
use crate::trust::{Keys, StartError, Trust};

/// One organisation's decisions. It owns no clock, no socket and no store: what happened goes in by [`Pdp::handle`],
/// what is to be done comes out by [`Pdp::poll`].
///
/// **One law: after each `handle`, drain `poll`**, in order, and call again no later than [`Pdp::next_wake`].
///
/// ```text
///   Input ──▶ handle ──▶ checks on the rows as they are ──▶ proposed: Output::Commit ──▶ store
///                                        │                                                 │
///                                        │            effects ◀── rows, decisions ◀── Input::Committed
///                                        ▼
///                       enforced (a revocation): rows, floors, then Output::Commit
/// ```
pub struct Pdp {
    pub(crate) trust: Trust,
    pub(crate) keys: Keys,
    pub(crate) nonces: Nonces,
    pub(crate) random: Box<dyn Random + Send>,
    pub(crate) clock: Clock,
    pub(crate) rows: Rows,
    pub(crate) index: Index,
    pub(crate) engine: Engine,
    pub(crate) requirements: Requirements,
    pub(crate) ledger: Ledger,
    pub(crate) devices: Devices,
    pub(crate) gateways: Gateways,
    pub(crate) grants: Grants,
    pub(crate) floors: Floors,
    pub(crate) timers: Timers,
    pub(crate) out: VecDeque<Output>,
    /// Sessions whose devices are told what changed once everything more urgent is said.
    pub(crate) later: BTreeSet<SessionId>,
    /// Under which lock the input at hand is handled.
    pub(crate) turn: Option<Lock>,
}

impl Pdp {
    /// Goes on from `rows`. Sessions of another life of the store end at once.
    pub fn new(
        trust: Trust,
        rows: Rows,
        keys: Keys,
        random: Box<dyn Random + Send>,
        now: Now,
    ) -> Result<Self, StartError> {
        trust.check()?;
        if rows.org != trust.org {
            return Err(StartError::OtherOrganisation(rows.org));
        }
        let language = Arc::new(Language::new(&trust.org)?);
        let mut pdp = Self {
            nonces: Nonces::new(&keys.nonce, &trust.org),
            index: Index::of(&rows),
            engine: Engine::new(language, BTreeMap::new(), []),
            requirements: Requirements::default(),
            ledger: Ledger::default(),
            devices: Devices::starting_at(now.wall),
            gateways: Gateways::default(),
            grants: Grants::default(),
            floors: Floors::default(),
            timers: Timers::default(),
            out: VecDeque::new(),
            later: BTreeSet::new(),
            turn: None,
            clock: Clock::new(now),
            trust,
            keys,
            random,
            rows,
        };
        pdp.start()?;
        Ok(pdp)
    }

    /// Takes what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        if let Some(by_ms) = self.clock.advance(now) {
            self.out.push_back(Output::Alarm(Alarm::ClockJumped { by_ms }));
        }
        let waits = match self.lock_for(&input) {
            Some(lock) => self.must_wait(&lock, input),
            None => Some(input),
        };
        if let Some(input) = waits {
            self.act(input);
        }
        while let Some(timer) = self.timers.ring(self.clock.boot()) {
            self.ring(timer);
        }
    }

    /// What is to be done next; nothing when all is said.
    pub fn poll(&mut self) -> Option<Output> {
        while self.out.is_empty() {
            let sid = self.later.pop_first()?;
            self.tell_what_changed(sid);
        }
        self.out.pop_front()
    }

    /// When [`Input::Woken`] is due at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        self.timers.next()
    }

    /// A nonce for whoever asks: `POST /v1/nonce`, and the `DPoP-Nonce` header of every answer.
    pub fn nonce(&mut self, now: Now) -> Nonce {
        if let Some(by_ms) = self.clock.advance(now) {
            self.out.push_back(Output::Alarm(Alarm::ClockJumped { by_ms }));
        }
        let nonce = self.nonces.seal(Purpose::Request, self.clock.wall(), &mut *self.random);
        Nonce { nonce, time: now.wall }
    }

    /// What tells nonces of ours from others, for whoever looks at requests before they come here.
    pub const fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// The rows as they are: to be read, not to be trusted over the store.
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    fn start(&mut self) -> Result<(), StartError> {
        let mut change = Change::default();
        if !self.rows.organisation.contains_key(&One) {
            let incarnation = Incarnation::random(&mut *self.random);
            change.put(Organisation { incarnation, settings: Default::default() });
        }
        self.overtake(&change.writes.clone());
        self.read_settings().map_err(StartError::Requirements)?;
        self.engine = self.read_policies()?;
        self.end_other_lives(&mut change);
        self.remember_floors();
        self.adopt_leases();
        if !change.writes.is_empty() {
            self.enforce(change, |_, _| ());
        }
        let holds: Vec<_> =
            self.rows.holds.values().filter_map(|hold| Some((hold.until?, hold.id))).collect();
        for (until, hold) in holds {
            self.timers.set(self.clock.boot_at(until), Timer::HoldOver(hold));
        }
        for sid in self.rows.sessions.keys().copied().collect::<Vec<_>>() {
            self.look_again_at(sid);
        }
        self.timers.set(self.clock.boot() + crate::sweep::EVERY, Timer::Sweep);
        Ok(())
    }

    /// Acts on one input whose turn it is.
    pub(crate) fn act(&mut self, input: Input) {
        self.turn = self.lock_for(&input);
        match input {
            Input::Exchange(exchange) => self.exchange(*exchange),
            Input::Refresh(refresh) => self.refresh(refresh),
            Input::SignOut(sign_out) => self.sign_out(sign_out),
            Input::LoggedOut(logged_out) => self.logged_out(&logged_out),
            Input::DeviceOpened(opened) => self.device_opened(opened),
            Input::FromDevice(stream, frame) => self.device_says(stream, frame),
            Input::DeviceClosed(stream) => self.device_closed(stream),
            Input::Enrol(enrol) => self.enrol(enrol),
            Input::RenewCertificate(renew) => self.renew_certificate(renew),
            Input::GatewayOpened(opened) => self.gateway_opened(opened),
            Input::FromGateway(stream, frame) => self.gateway_says(stream, frame),
            Input::GatewayClosed(stream) => self.gateway_closed(stream),
            Input::Admin(admin) => self.admin(admin),
            Input::Committed(batch) => self.committed(batch),
            Input::NotCommitted(batch, why) => self.not_committed(batch, why),
            Input::Woken => {}
        }
    }

    fn ring(&mut self, timer: Timer) {
        self.turn = None;
        match timer {
            Timer::Hello(stream) => self.hello_overdue(stream),
            Timer::Claim(stream) => self.claim_unanswered(stream),
            Timer::Offer(lease) => self.offer_unanswered(lease),
            Timer::LeaseOver(lease) => self.lease_over(lease),
            Timer::Floor(sid) => self.floor_unanswered(sid),
            Timer::Pulse(gateway) => self.feel_pulse(&gateway),
            Timer::Away(gateway) => self.gateway_stays_away(&gateway),
            Timer::HoldOver(hold) => self.hold_over(hold),
            Timer::Review(sid) => self.session_due(sid),
            Timer::Retry => self.retry(),
            Timer::Sweep => self.sweep(),
        }
    }

    /// Under which lock an input is handled: changes to one person go one after the other, and so do those to what
    /// administrators configure. What takes something away waits for nobody.
    fn lock_for(&self, input: &Input) -> Option<Lock> {
        let of_token = |token: &ztna_model::Secret<String>| {
            let session = self.session_of_token(token)?;
            Some(Lock::Person(session.person.clone()))
        };
        match input {
            Input::Exchange(exchange) => Some(Lock::Person(exchange.id_token.person())),
            Input::Refresh(refresh) => of_token(&refresh.token),
            Input::DeviceOpened(opened) => of_token(&opened.token),
            Input::FromDevice(stream, _) => {
                let session = self.session_of_stream(*stream)?;
                Some(Lock::Person(session.person.clone()))
            }
            Input::Enrol(_) => Some(Lock::Configuration),
            Input::Admin(admin) => self.admin_lock(&admin.op),
            Input::SignOut(_)
            | Input::LoggedOut(_)
            | Input::DeviceClosed(_)
            | Input::RenewCertificate(_)
            | Input::GatewayOpened(_)
            | Input::FromGateway(..)
            | Input::GatewayClosed(_)
            | Input::Committed(_)
            | Input::NotCommitted(..)
            | Input::Woken => None,
        }
    }
}
