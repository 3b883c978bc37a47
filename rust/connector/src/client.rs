//! The task that feeds the session and carries out what it decides, and how others reach it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use ztna_model::{DenyReason, Endpoint, Host, OrgString, Port, Protocol, Secret};
use ztna_net::random::SystemRandom;
use ztna_net::tls::{Trust, TrustError};
use ztna_session::{Dial, DialId, Network, Profile, Saved, Session, Snapshot, Verdict};

use crate::config::Config;
use crate::http::{Http, HttpError};
use crate::keep::{Keep, KeepError};
use crate::plane::{PlaneEvent, PlaneHandle};
use crate::signals::{Linux, Signals, Simulated};

mod driver; // the task itself
use driver::{Command, Driver, Parts};

/// The running client: one task that feeds a [`Session`] and carries out what it decides.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
    /// How many wishes there were so far, of whomever.
    dials: Arc<AtomicU64>,
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

/// What the client does with this machine's network, and knows of it.
#[derive(Debug)]
pub struct Outside {
    /// What the operating system is to do for the tunnel.
    pub network: watch::Sender<Network>,
    /// The system's own resolvers, for questions that are not the organisation's.
    pub upstreams: watch::Receiver<Vec<SocketAddr>>,
}

/// How a person gets in.
pub struct SignInOptions {
    /// Called with the address that the browser is to open.
    pub open_browser: Box<dyn FnOnce(String) + Send>,
    /// A token that admits this device.
    pub enrolment_token: Option<Secret<String>>,
}

impl Client {
    /// Starts the client for the organisation that is configured or was signed in to last.
    pub fn start(
        config: &Config,
        plane: PlaneHandle,
        events: mpsc::Receiver<PlaneEvent>,
        outside: Outside,
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
        let dials = Arc::new(AtomicU64::new(0));
        let numbers = Arc::clone(&dials);
        let parts = Parts { org, keep, http, session, plane, outside, snapshot, signals, numbers };
        tokio::spawn(Driver::new(parts).run(inbox, events));
        Ok(Self { commands, snapshots, dials })
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

    /// Tells that this machine's network is another one.
    pub async fn network_changed(&self) {
        self.tell(Command::NetworkChanged).await;
    }

    /// Asks for a way to `host`: an address inside the tunnel, or why not.
    pub async fn dial(&self, host: Host, protocol: Protocol, port: Port) -> Result<Endpoint, Verdict> {
        let (answer, wait) = oneshot::channel();
        let id = next_dial(&self.dials);
        let dial = Dial { id, host, protocol, port };
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

fn next_dial(dials: &AtomicU64) -> DialId {
    DialId(dials.fetch_add(1, Ordering::Relaxed))
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
