//! The task that feeds the session and carries out what it decides.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use ztna_api::device::{Refused, ToDevice};
use ztna_model::{Decision, DenyReason, Endpoint, OrgString, Reading, Secret};
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{Trust, TrustError};
use ztna_session::{
    CallError, CallId, Dial, DialId, Output, Profile, Response, Saved, Session, Snapshot, State, Verdict,
};

use crate::config::Config;
use crate::grants;
use crate::http::{Http, HttpError};
use crate::keep::{Keep, KeepError};
use crate::plane::{PlaneEvent, PlaneHandle};
use crate::redirect::{Redirect, RedirectBindError};
use crate::signals::{Clocks, Linux, Signals, Simulated};
use crate::stream::{ControlStream, Happened, StreamEvent};

/// The running client: one task that feeds a [`Session`] and carries out what it decides.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
}

/// Why the client cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// What is kept on disk.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// HTTP and TLS.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The roots for an external identity provider.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No organisation is known.
    #[error("no organisation is named: give its address, or set `org` in the configuration")]
    NoOrganisation,
}

/// How a person gets in.
pub struct SignInOptions {
    /// Called with the address that the browser is to open.
    pub open_browser: Box<dyn FnOnce(String) + Send>,
    /// A token that admits this device.
    pub enrolment_token: Option<Secret<String>>,
}

enum Command {
    SignIn(SignInOptions),
    Connect,
    Disconnect,
    SignOut(oneshot::Sender<()>),
    Farewell(oneshot::Sender<()>),
    Dial(Dial, oneshot::Sender<Result<Endpoint, Verdict>>),
    CancelDial(DialId),
    ReadSignals,
}

impl Client {
    /// Starts the client for the organisation that is configured or was signed in to last.
    pub fn start(
        config: &Config,
        plane: PlaneHandle,
        events: mpsc::Receiver<PlaneEvent>,
    ) -> Result<Self, StartError> {
        let keep = Keep::open(&config.state_dir)?;
        let saved = keep.saved()?;
        let org = organisation(config, saved.as_ref())?;
        let saved = saved.filter(|saved| *saved.org() == org.org);
        let pin =
            org.root.or_else(|| saved.as_ref().map(|saved| *saved.root()).filter(|_| config.org.is_none()));
        let issuers = config.trust.issuer_roots.as_deref().map_or(Ok(Trust::Platform), Trust::from_bundle)?;
        let http = Http::new(&org.org, pin, &issuers)?;
        let session = Session::new(
            profile(config),
            keep.device_key(&org.org)?,
            saved,
            keep.book_secret(&org.org)?,
            Box::new(SystemRandom::new()),
        );
        let (commands, inbox) = mpsc::channel(64);
        let (snapshot, snapshots) = watch::channel(session.snapshot());
        let signals = signals(config.signals.simulated.clone());
        tokio::spawn(Driver::new(org, keep, http, session, plane, snapshot, signals).run(inbox, events));
        Ok(Self { commands, snapshots })
    }

    /// Signs in through the person's browser. How it went shows in the snapshot.
    pub async fn sign_in(&self, options: SignInOptions) {
        self.tell(Command::SignIn(options)).await;
    }

    /// Turns the tunnel on.
    pub async fn connect(&self) {
        self.tell(Command::Connect).await;
    }

    /// Turns the tunnel off.
    pub async fn disconnect(&self) {
        self.tell(Command::Disconnect).await;
    }

    /// Signs out; returns when nothing is left on this device.
    pub async fn sign_out(&self) {
        let (done, wait) = oneshot::channel();
        self.tell(Command::SignOut(done)).await;
        // A client that has ended has nothing left either.
        let _ = wait.await;
    }

    /// Returns when the organisation was told of a sign-out, as far as it can be.
    pub async fn farewell(&self) {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Farewell(done)).await;
        // A client that has ended tells nobody any more.
        let _ = wait.await;
    }

    /// Looks at the device's signals again.
    pub async fn read_signals(&self) {
        self.tell(Command::ReadSignals).await;
    }

    /// Asks for a way to `dial`: an address inside the tunnel, or why not.
    pub async fn dial(&self, dial: Dial) -> Result<Endpoint, Verdict> {
        let (answer, wait) = oneshot::channel();
        let id = dial.id;
        let mut guard = DialGuard { client: self, id: Some(id) };
        self.tell(Command::Dial(dial, answer)).await;
        let answer = wait.await.unwrap_or(Err(Verdict::denied(DenyReason::Fault)));
        guard.id = None;
        answer
    }

    /// All that can be shown, as it changes.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    async fn tell(&self, command: Command) {
        // A client that has ended does nothing more; whoever waits for an answer is told by the answer's end.
        let _ = self.commands.send(command).await;
    }
}

/// Takes a dial back when nobody waits for it any more.
struct DialGuard<'a> {
    client: &'a Client,
    id: Option<DialId>,
}

impl Drop for DialGuard<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // A full inbox loses this: the dial ends by its own time.
            let _ = self.client.commands.try_send(Command::CancelDial(id));
        }
    }
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

struct Driver {
    org: OrgString,
    keep: Keep,
    http: Http,
    session: Session,
    plane: PlaneHandle,
    snapshot: watch::Sender<Snapshot>,
    signals: Arc<std::sync::Mutex<Box<dyn Signals>>>,
    clock: Clock,
    stream: Option<ControlStream>,
    generation: u64,
    open_browser: Option<Box<dyn FnOnce(String) + Send>>,
    /// Ends the wait for the browser when the sign-in is over.
    redirect: Option<tokio::task::JoinHandle<()>>,
    /// Whether a browser waits for its last page.
    is_shown: bool,
    dials: std::collections::BTreeMap<DialId, oneshot::Sender<Result<Endpoint, Verdict>>>,
    /// Who waits until the organisation was told of a sign-out.
    farewells: Vec<oneshot::Sender<()>>,
    reports: mpsc::Sender<Report>,
    reported: Option<mpsc::Receiver<Report>>,
    stream_events: mpsc::Sender<StreamEvent>,
    streamed: Option<mpsc::Receiver<StreamEvent>>,
}

impl Driver {
    fn new(
        org: OrgString,
        keep: Keep,
        http: Http,
        session: Session,
        plane: PlaneHandle,
        snapshot: watch::Sender<Snapshot>,
        signals: Box<dyn Signals>,
    ) -> Self {
        let (reports, reported) = mpsc::channel(64);
        let (stream_events, streamed) = mpsc::channel(256);
        Self {
            org,
            keep,
            http,
            session,
            plane,
            snapshot,
            signals: Arc::new(std::sync::Mutex::new(signals)),
            clock: Clock,
            stream: None,
            generation: 0,
            open_browser: None,
            redirect: None,
            is_shown: true,
            dials: std::collections::BTreeMap::new(),
            farewells: Vec::new(),
            reports,
            reported: Some(reported),
            stream_events,
            streamed: Some(streamed),
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut events: mpsc::Receiver<PlaneEvent>) {
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
        }
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
                Output::Dialled { dial, answer } => {
                    if let Some(waiting) = self.dials.remove(&dial) {
                        // The application may have given up.
                        let _ = waiting.send(answer);
                    }
                }
                // Nobody asks for names here, and the machine's network stays as it is.
                Output::Answer { .. }
                | Output::Forward { .. }
                | Output::Silence { .. }
                | Output::Network(_) => {}
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

async fn sleep_until(clock: Clock, wake: Option<ztna_model::Time>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn organisation(config: &Config, saved: Option<&Saved>) -> Result<OrgString, StartError> {
    let last = saved.map(|saved| OrgString { org: saved.org().clone(), root: None });
    config.org.clone().or(last).ok_or(StartError::NoOrganisation)
}

fn profile(config: &Config) -> Profile {
    Profile {
        device_name: config.device_name.clone(),
        software: concat!("openztna ", env!("CARGO_PKG_VERSION")).into(),
        platform: std::env::consts::OS.into(),
    }
}

fn signals(simulated: Option<PathBuf>) -> Box<dyn Signals> {
    match simulated {
        Some(file) => Box::new(Simulated::new(Linux::here(), file)),
        None => Box::new(Linux::here()),
    }
}
