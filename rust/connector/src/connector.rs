use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;
use ztna_datapath::tunnel::Tunnel;
use ztna_model::{Endpoint, Protocol};
use ztna_net::process::raise_descriptor_limit;
use ztna_net::random::SystemRandom;
use ztna_net::tun::{TunConfig, TunError, TunPort};
use ztna_net::uds::{ListenError, LocalListener};
use ztna_proxy::{Destination, Verdict};
use ztna_session::Network;

use crate::client::{self, Client, Outside};
use crate::config::{self, Config};
use crate::keep::{Keep, KeepError};
use crate::local::{Dialler, Local, LocalConfig, LocalError};
use crate::network::Steward;
use crate::plane::{Plane, PlaneConfig, PlaneError};
use crate::status::{self, ProxyStatus, Sources, Status};
use crate::system::{MARK, Places, System, SystemError};

/// The whole connector, running: data thread, session, local proxy and status socket.
pub struct Connector {
    /// The session's task.
    pub client: Client,
    sources: Sources,
    tasks: Vec<JoinHandle<()>>,
    /// Held by every question until it is answered.
    answering: Arc<RwLock<()>>,
}

/// How applications' packets come in, besides those of the local proxy.
#[derive(Debug)]
pub enum Door {
    /// Not at all.
    Proxy,
    /// By a TUN device that is made for them.
    Device,
    /// By a TUN device that somebody else has made.
    Descriptor(OwnedFd),
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
    /// The TUN device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The descriptor that was given for one.
    #[error("the descriptor is of no use as a TUN device: {0}")]
    Descriptor(io::Error),
    /// Routes and names.
    #[error(transparent)]
    System(#[from] SystemError),
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
    /// Starts everything. The tunnel is off until somebody connects. `door` says how applications come in, besides
    /// the local proxy.
    pub async fn start(config: &Config, door: Door) -> Result<Self, StartError> {
        raise_descriptor_limit();
        // Two with one session would look like a clone of the device, and end it.
        let asked = LocalListener::bind(&Keep::open(&config.state_dir)?.socket())?;
        let tun = door.open(&config.tun)?;
        let device = tun.as_ref().and_then(TunPort::name).map(str::to_owned);
        let mark = device.as_ref().map(|_| MARK);
        let plane = PlaneConfig { bind: config.udp.bind, mark, ..PlaneConfig::default() };
        let (plane, events) = Plane::start(plane, tun)?;
        let (network, wishes) = watch::channel(Network::default());
        let (upstreams, resolvers) = watch::channel(Vec::new());
        let (applied, shown) = watch::channel(None);
        let system = match &device {
            Some(device) => Some(System::open(device, &config.state_dir, &Places::default()).await?),
            None => {
                // An earlier run with a device may have been killed.
                System::recover(&config.state_dir, &Places::default())?;
                None
            }
        };
        let outside = Outside { network, upstreams: resolvers };
        let client = Client::start(config, plane.clone(), events, outside)?;
        let (told, heard) = (plane.clone(), client.clone());
        let steward = Steward { system, device, wishes, applied, upstreams, plane: told, client: heard };
        let local = Local::bind(LocalConfig::at(config.proxy.listen), &mut SystemRandom::new()).await?;
        let proxy = ProxyStatus { address: local.address(), password: local.secret().expose().clone() };
        let dialler = Doorman { client: client.clone() };
        let served = local.serve(dialler, plane.clone());
        let answering = Arc::default();
        let sources = Sources { client: client.clone(), plane, proxy, system: shown };
        let answered = status::serve(asked, sources.clone(), Arc::clone(&answering));
        let tasks = vec![tokio::spawn(served), tokio::spawn(answered), tokio::spawn(steward.run())];
        Ok(Self { client, sources, tasks, answering })
    }

    /// Where local applications connect, and with which password.
    pub const fn proxy(&self) -> &ProxyStatus {
        &self.sources.proxy
    }

    /// Returns when nothing is left to say: the organisation knows of a sign-out, as far as it can be told, and whoever
    /// has asked has an answer.
    pub async fn farewell(&self) {
        self.client.farewell().await;
        let _ = self.answering.write().await;
    }

    /// How it stands.
    pub async fn status(&self) -> Status {
        self.sources.status().await
    }
}

impl Door {
    fn open(self, config: &config::TunConfig) -> Result<Option<TunPort>, StartError> {
        match self {
            Self::Proxy => Ok(None),
            Self::Device => {
                let wanted = TunConfig::device(Tunnel::DEFAULT_MTU);
                let wanted = TunConfig { name: config.name.clone(), offload: config.offload, ..wanted };
                Ok(Some(TunPort::create(&wanted)?))
            }
            Self::Descriptor(descriptor) => {
                let port = TunPort::from_fd(descriptor, Tunnel::DEFAULT_MTU);
                port.map(Some).map_err(StartError::Descriptor)
            }
        }
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
}

impl Dialler for Doorman {
    async fn dial(&self, destination: &Destination) -> Result<Endpoint, Verdict> {
        self.client.dial(destination.host.clone(), Protocol::Tcp, destination.port).await
    }
}
