use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};
use ztna_api::device::{Refused, ToDevice};
use ztna_model::{Decision, DenyReason, Endpoint, Host, OrgString, Port, Reading};
use ztna_net::clock::Clock;
use ztna_session::{
    CallError, CallId, Dial, DialId, Output, QueryId, Response, Saved, Session, Snapshot, State, Verdict,
};

use super::{Outside, SignInOptions, next_dial};
use crate::grants;
use crate::http::Http;
use crate::keep::Keep;
use crate::plane::{PlaneEvent, PlaneHandle, Wish};
use crate::redirect::{Redirect, RedirectBindError};
use crate::signals::{Clocks, Signals};
use crate::stream::{ControlStream, Happened, StreamEvent};
use crate::system::Forwarder;

/// What the driver is asked for.
pub(super) enum Command {
    SignIn(SignInOptions),
    Connect,
    Disconnect,
    SignOut(oneshot::Sender<()>),
    Farewell(oneshot::Sender<()>),
    Dial(Dial, oneshot::Sender<Result<Endpoint, Verdict>>),
    CancelDial(DialId),
    ReadSignals,
    NetworkChanged,
}

/// What tasks of the driver's own report.
enum Report {
    Answered(CallId, Result<Response, CallError>),
    /// A browser has brought this address; whether it is this sign-in's answer.
    Brought(String, oneshot::Sender<bool>),
    /// The browser has its last page.
    Shown,
    Read(Vec<Reading>),
}

/// What the driver is made of.
pub(super) struct Parts {
    pub(super) org: OrgString,
    pub(super) keep: Keep,
    pub(super) http: Http,
    pub(super) session: Session,
    pub(super) plane: PlaneHandle,
    pub(super) outside: Outside,
    pub(super) snapshot: watch::Sender<Snapshot>,
    pub(super) signals: Box<dyn Signals>,
    /// How many dials there were so far, of whomever.
    pub(super) numbers: Arc<AtomicU64>,
}

/// Feeds the session, and carries out what it decides.
pub(super) struct Driver {
    org: OrgString,
    keep: Keep,
    http: Http,
    session: Session,
    plane: PlaneHandle,
    snapshot: watch::Sender<Snapshot>,
    signals: Arc<Mutex<Box<dyn Signals>>>,
    clock: Clock,
    stream: Option<ControlStream>,
    generation: u64,
    open_browser: Option<Box<dyn FnOnce(String) + Send>>,
    /// Ends the wait for the browser when the sign-in is over.
    redirect: Option<tokio::task::JoinHandle<()>>,
    /// Whether a browser waits for its last page.
    is_shown: bool,
    dials: BTreeMap<DialId, oneshot::Sender<Result<Endpoint, Verdict>>>,
    /// What applications' packets wait for.
    wishes: BTreeMap<DialId, Wish>,
    /// How many dials there were so far, of whomever.
    numbers: Arc<AtomicU64>,
    /// Applications' questions of names that wait for an answer.
    questions: BTreeMap<QueryId, Vec<u8>>,
    /// What lies outside the tunnel.
    outside: Outside,
    forwarder: Arc<Forwarder>,
    /// Who waits until the organisation was told of a sign-out.
    farewells: Vec<oneshot::Sender<()>>,
    reports: mpsc::Sender<Report>,
    reported: Option<mpsc::Receiver<Report>>,
    stream_events: mpsc::Sender<StreamEvent>,
    streamed: Option<mpsc::Receiver<StreamEvent>>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { org, keep, http, session, plane, outside, snapshot, signals, numbers } = parts;
        let (reports, reported) = mpsc::channel(64);
        let (stream_events, streamed) = mpsc::channel(256);
        Self {
            org,
            keep,
            http,
            session,
            plane,
            snapshot,
            signals: Arc::new(Mutex::new(signals)),
            clock: Clock,
            stream: None,
            generation: 0,
            open_browser: None,
            redirect: None,
            is_shown: true,
            dials: BTreeMap::new(),
            wishes: BTreeMap::new(),
            numbers,
            questions: BTreeMap::new(),
            outside,
            forwarder: Arc::default(),
            farewells: Vec::new(),
            reports,
            reported: Some(reported),
            stream_events,
            streamed: Some(streamed),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<PlaneEvent>,
    ) {
        let (Some(mut reported), Some(mut streamed)) = (self.reported.take(), self.streamed.take()) else {
            return;
        };
        loop {
            self.session.handle_time(self.clock.now());
            self.carry_out().await;
            if self.is_shown && !self.session.is_taking_leave() {
                for waits in self.farewells.drain(..) {
                    let _ = waits.send(()); // it may have had enough
                }
            }
            let wake = self.session.next_wake();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                Some(report) = reported.recv() => self.hear(report).await,
                Some(event) = streamed.recv() => self.follow_stream(event),
                Some(event) = events.recv() => self.follow_plane(event),
                () = sleep_until(self.clock, wake) => {}
            }
        }
        self.session.disconnect();
        self.carry_out().await;
    }

    async fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::SignIn(options) => self.sign_in(options).await,
            Command::Connect => self.session.connect(now),
            Command::Disconnect => self.session.disconnect(),
            Command::SignOut(done) => {
                self.session.sign_out(now);
                self.carry_out().await;
                // Whoever asked may be gone.
                let _ = done.send(());
            }
            Command::Farewell(done) => self.farewells.push(done),
            Command::Dial(dial, answer) => {
                self.dials.insert(dial.id, answer);
                self.session.handle_dial(dial, now);
            }
            Command::CancelDial(id) => {
                self.dials.remove(&id);
                self.session.cancel_dial(id);
            }
            Command::ReadSignals => self.session.read_signals(now),
            Command::NetworkChanged => self.session.handle_network_changed(now),
        }
    }

    async fn sign_in(&mut self, options: SignInOptions) {
        let redirect = match Redirect::bind().await {
            Ok(redirect) => redirect,
            Err(error) => return self.redirect_failed(&error),
        };
        self.open_browser = Some(options.open_browser);
        let address = redirect.address();
        self.redirect = Some(tokio::spawn(receive(redirect, self.reports.clone())));
        self.session.sign_in(self.org.clone(), address, options.enrolment_token, self.clock.now());
    }

    fn redirect_failed(&self, error: &RedirectBindError) {
        tracing::error!(%error, "a sign-in cannot begin");
    }

    async fn hear(&mut self, report: Report) {
        let now = self.clock.now();
        match report {
            Report::Answered(call, answer) => self.session.handle_answer(call, answer, now),
            Report::Read(readings) => self.session.handle_readings(readings, self.clock.wall(), now),
            Report::Brought(address, verdict) => {
                let outcome = self.session.handle_redirect(&address, now);
                match &outcome {
                    Ok(()) => {
                        self.redirect = None; // it goes on by itself until the browser has its page
                        self.is_shown = false;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the browser brought an answer that is not this sign-in's");
                    }
                }
                let _ = verdict.send(outcome.is_ok()); // whoever asked has been stopped
            }
            Report::Shown => self.is_shown = true,
        }
    }

    fn follow_stream(&mut self, event: StreamEvent) {
        let now = self.clock.now();
        let current = self.stream.as_ref().map(|stream| stream.generation);
        if current != Some(event.generation) {
            return;
        }
        match event.happened {
            Happened::Opened => self.session.handle_stream_opened(now),
            Happened::Frame(frame) => {
                let frame = self.checked(*frame);
                self.session.handle_frame(frame, now);
            }
            Happened::Closed { refused } => {
                self.stream = None;
                self.session.handle_stream_closed(refused, now);
            }
        }
    }

    /// A grant whose gateway nobody vouches for is no grant.
    fn checked(&self, frame: ToDevice) -> ToDevice {
        let ToDevice::Granted(granted) = &frame else { return frame };
        let keys = self.session.keys();
        match keys.map(|keys| grants::check(&granted.grant, keys, &self.org.org, self.clock.wall())) {
            Some(Ok(())) => frame,
            outcome => {
                tracing::warn!(?outcome, "a grant names a gateway that is not the organisation's");
                let decision = Decision::denied(DenyReason::Fault);
                Refused { request: granted.request.unwrap_or(u64::MAX), decision }.into()
            }
        }
    }

    fn follow_plane(&mut self, event: PlaneEvent) {
        match event {
            PlaneEvent::Notice { gateway, lease, reason } => {
                self.session.handle_notice(&gateway, lease, reason);
            }
            PlaneEvent::Silent { gateway } => self.session.handle_gateway_silent(&gateway),
            PlaneEvent::Carriers(carriers) => self.session.handle_reachable(carriers),
            PlaneEvent::Wanted(wish) => self.want(wish),
            PlaneEvent::Question { query, message, transport } => {
                self.session.handle_query(query, &message, transport, self.clock.now());
                self.questions.insert(query, message);
            }
            PlaneEvent::Withdrawn(query) => {
                self.questions.remove(&query);
                self.session.cancel_query(query);
            }
            PlaneEvent::SiteAnswer { gateway, message } => {
                self.session.handle_site_answer(&gateway, &message, self.clock.now());
            }
        }
    }

    /// An application's packets ask where they may go.
    fn want(&mut self, wish: Wish) {
        let Wish { protocol, destination } = wish;
        let id = next_dial(&self.numbers);
        self.wishes.insert(id, wish);
        let host = Host::Address(destination.address);
        // Echo has no port, and any will do.
        let port = Port::new(destination.port).unwrap_or(Port::LOWEST);
        self.session.handle_dial(Dial { id, host, protocol, port }, self.clock.now());
    }

    /// The session has decided on a wish.
    async fn settle(&mut self, dial: DialId, answer: Result<Endpoint, Verdict>) {
        if let Some(wish) = self.wishes.remove(&dial) {
            let outcome = answer.map(drop).map_err(|verdict| reason(&verdict));
            self.plane.settle(wish, outcome).await;
        } else if let Some(waiting) = self.dials.remove(&dial) {
            // The application may have given up.
            let _ = waiting.send(answer);
        }
    }

    async fn answer(&mut self, query: QueryId, message: Vec<u8>) {
        self.questions.remove(&query);
        self.plane.answer(query, message).await;
    }

    /// Asks the system's own resolvers, with the application's very words.
    fn forward(&mut self, query: QueryId) {
        let Some(question) = self.questions.remove(&query) else { return };
        let (forwarder, plane) = (Arc::clone(&self.forwarder), self.plane.clone());
        let upstreams = self.outside.upstreams.borrow().clone();
        tokio::spawn(async move {
            match forwarder.forward(&question, &upstreams).await {
                Ok(answer) => plane.answer(query, answer).await,
                // The application asks again, as it would without a tunnel.
                Err(error) => tracing::debug!(%error, "a question of names has no answer"),
            }
        });
    }

    /// Does what the session decided, in its order: what is to be kept is on disk before the next thing happens.
    async fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Call { call, request } => self.call(call, *request),
                Output::OpenBrowser(address) => {
                    if let Some(open) = self.open_browser.take() {
                        open(address);
                    }
                }
                Output::OpenStream(request) => self.open_stream(*request),
                Output::Send(frame) => {
                    if let Some(stream) = &self.stream {
                        stream.send(*frame);
                    }
                }
                Output::CloseStream => self.stream = None,
                Output::ReadSignals { broker_time } => self.read_signals(broker_time),
                Output::Plane(plane) => self.plane.carry_out(plane).await,
                Output::Dialled { dial, answer } => self.settle(dial, answer).await,
                Output::Answer { query, message } => self.answer(query, message).await,
                Output::Forward { query } => self.forward(query),
                Output::Silence { query } => _ = self.questions.remove(&query),
                Output::Network(network) => _ = self.outside.network.send_replace(*network),
                Output::Save(saved) => self.save(&saved),
                Output::Erase => self.erase(),
                Output::Changed => self.show(),
            }
        }
    }

    fn call(&self, call: CallId, request: ztna_session::Request) {
        let (http, reports) = (self.http.clone(), self.reports.clone());
        tokio::spawn(async move {
            let answer = http.call(request).await;
            // The driver may have ended meanwhile.
            let _ = reports.send(Report::Answered(call, answer)).await;
        });
    }

    fn open_stream(&mut self, request: ztna_session::Request) {
        self.generation += 1;
        let (org, tls, events) = (self.org.org.clone(), self.http.streams(), self.stream_events.clone());
        self.stream = Some(ControlStream::open(org, request, tls, self.generation, events));
    }

    /// Reads signals off the driver's task: a file may lie on a slow disk.
    fn read_signals(&self, broker: Option<ztna_model::WallTime>) {
        let (signals, reports, clock) = (Arc::clone(&self.signals), self.reports.clone(), self.clock);
        tokio::task::spawn_blocking(move || {
            let Ok(mut signals) = signals.lock() else { return };
            let readings = signals.read(Clocks { device: clock.wall(), broker });
            // The driver may have ended meanwhile.
            let _ = reports.blocking_send(Report::Read(readings));
        });
    }

    fn save(&self, saved: &Saved) {
        if let Err(error) = self.keep.save(saved) {
            tracing::error!(%error, "the session cannot be kept: the next start needs a new sign-in");
        }
    }

    fn erase(&self) {
        if let Err(error) = self.keep.erase() {
            tracing::error!(%error, "the session cannot be removed from the disk");
        }
    }

    fn show(&mut self) {
        let snapshot = self.session.snapshot();
        if snapshot.state != State::SigningIn
            && let Some(redirect) = self.redirect.take_if(|_| self.open_browser.is_none())
        {
            redirect.abort();
        }
        self.snapshot.send_replace(snapshot);
    }
}

/// Receives browsers until one of them brings this sign-in's answer.
async fn receive(mut redirect: Redirect, reports: mpsc::Sender<Report>) {
    loop {
        let brought = redirect.next().await;
        let (verdict, heard) = oneshot::channel();
        if reports.send(Report::Brought(brought.address.clone(), verdict)).await.is_err() {
            return;
        }
        match heard.await {
            Ok(true) => {
                redirect.accept(brought).await;
                let _ = reports.send(Report::Shown).await; // the driver may have ended
                return;
            }
            Ok(false) => brought.refuse().await,
            Err(_) => return,
        }
    }
}

/// What packets are refused for: they carry no more than a reason.
const fn reason(verdict: &Verdict) -> DenyReason {
    match verdict {
        Verdict::Denied { reason, .. } => *reason,
        Verdict::StepUp => DenyReason::EvidenceTooOld,
        Verdict::Pending => DenyReason::NotEntitled,
        Verdict::Connected | Verdict::Refused => DenyReason::Fault,
    }
}

async fn sleep_until(clock: Clock, wake: Option<ztna_model::Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
