use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use ztna_model::{Endpoint, Protocol};
use ztna_net::process::raise_descriptor_limit;
use ztna_net::random::SystemRandom;
use ztna_net::uds::{ListenError, LocalListener};
use ztna_proxy::{Destination, Verdict};
use ztna_session::{Dial, DialId};

use crate::client::{self, Client};
use crate::config::Config;
use crate::keep::{Keep, KeepError};
use crate::local::{Dialler, Local, LocalConfig, LocalError};
use crate::plane::{Plane, PlaneConfig, PlaneError, PlaneHandle};
use crate::status::{self, ProxyStatus, Status};

/// The whole connector, running: data thread, session, local proxy and status socket.
pub struct Connector {
    /// The session's task.
    pub client: Client,
    proxy: ProxyStatus,
    plane: PlaneHandle,
    tasks: Vec<JoinHandle<()>>,
    /// Held by every question until it is answered.
    answering: Arc<RwLock<()>>,
}

/// Why the connector cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// What is kept on disk.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The socket for commands: where another connector has it, two would share a session.
    #[error(transparent)]
    Socket(#[from] ListenError),
    /// The data thread.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The session.
    #[error(transparent)]
    Client(#[from] client::StartError),
    /// The local proxy.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl Connector {
    /// Starts everything. The tunnel is off until somebody connects.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        raise_descriptor_limit();
        // Two with one session would look like a clone of the device, and end it.
        let asked = LocalListener::bind(&Keep::open(&config.state_dir)?.socket())?;
        let (plane, events) = Plane::start(PlaneConfig { bind: config.udp.bind, ..PlaneConfig::default() })?;
        let client = Client::start(config, plane.clone(), events)?;
        let local = Local::bind(LocalConfig::at(config.proxy.listen), &mut SystemRandom::new()).await?;
        let proxy = ProxyStatus { address: local.address(), password: local.secret().expose().clone() };
        let dialler = Doorman { client: client.clone(), dials: Arc::default() };
        let served = local.serve(dialler, plane.clone());
        let answering = Arc::default();
        let answered =
            status::serve(asked, client.clone(), plane.clone(), proxy.clone(), Arc::clone(&answering));
        let tasks = vec![tokio::spawn(served), tokio::spawn(answered)];
        Ok(Self { client, proxy, plane, tasks, answering })
    }

    /// Where local applications connect, and with which password.
    pub const fn proxy(&self) -> &ProxyStatus {
        &self.proxy
    }

    /// Returns when nothing is left to say: the organisation knows of a sign-out, as far as it can be told, and whoever
    /// has asked has an answer.
    pub async fn farewell(&self) {
        self.client.farewell().await;
        let _ = self.answering.write().await;
    }

    /// How it stands.
    pub async fn status(&self) -> Status {
        let snapshot = self.client.snapshots().borrow().clone();
        Status { snapshot, proxy: self.proxy.clone(), plane: self.plane.status().await }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Asks the session for every application that comes to the local proxy.
#[derive(Clone)]
struct Doorman {
    client: Client,
    dials: Arc<AtomicU64>,
}

impl Dialler for Doorman {
    async fn dial(&self, destination: &Destination) -> Result<Endpoint, Verdict> {
        let id = DialId(self.dials.fetch_add(1, Ordering::Relaxed));
        let (host, port) = (destination.host.clone(), destination.port);
        self.client.dial(Dial { id, host, protocol: Protocol::Tcp, port }).await
    }
}
