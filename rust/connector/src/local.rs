//! The loopback port that local applications connect to: SOCKS5 and HTTP, through the tunnel.
//!
//! ```text
//! application ── bytes ──▶ Conversation ── Ask ──▶ Dialler ── Endpoint ──▶ plane.open
//!             ◀── reply ──                                                    │
//!             ◀═══════════ bytes, carried by the data thread ═════════════════┘
//! ```
//!
//! It listens on this machine's loopback alone, and each application must give this run's password first: every
//! process of every user reaches a loopback port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use ztna_model::{Endpoint, Random, Secret, secs};
use ztna_net::tcp::{self, ListenError};
use ztna_proxy::{Destination, Verdict};

use crate::plane::PlaneHandle;

mod caller; // one application's connection
use caller::Caller;

mod verdict; // what a flow that was not opened means to an application

/// Finds out where in the tunnel a destination is, and whether this device may go there.
pub trait Dialler: Clone + Send + Sync + 'static {
    /// The address to open a flow to, or why not. Dropped when the application gives up.
    fn dial(&self, destination: &Destination) -> impl Future<Output = Result<Endpoint, Verdict>> + Send;
}

/// How the loopback port behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many connections there may be; more wait to be accepted.
    pub connections: usize,
    /// How long an application may take to say what it wants.
    pub head: Duration,
}

/// Why there is no loopback port.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Others than this machine could reach it.
    #[error("`{0}` is not a loopback address: only this machine's applications may use the tunnel")]
    BeyondLoopback(SocketAddr),
    /// The port could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// The loopback port, open and not yet served.
#[derive(Debug)]
pub struct Local {
    config: LocalConfig,
    listener: TcpListener,
    address: SocketAddr,
    secret: Secret<String>,
}

impl LocalConfig {
    /// At `listen`, for as many applications as the data thread has flows for.
    pub const fn at(listen: SocketAddr) -> Self {
        Self { listen, connections: 4096, head: secs(10) }
    }
}

impl Local {
    /// Opens the port, and draws this run's password.
    pub async fn bind(config: LocalConfig, random: &mut dyn Random) -> Result<Self, LocalError> {
        if !tcp::is_loopback_only(config.listen) {
            return Err(LocalError::BeyondLoopback(config.listen));
        }
        let listener = tcp::listen(config.listen).await?;
        let address =
            listener.local_addr().map_err(|cause| ListenError::Refused { address: config.listen, cause })?;
        Ok(Self { config, listener, address, secret: password(random) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password: 128 random bits in lower-case hexadecimal. Any user name goes with it.
    pub const fn secret(&self) -> &Secret<String> {
        &self.secret
    }

    /// Serves applications until the future is dropped; then their connections end with it.
    pub async fn serve(self, dialler: impl Dialler, plane: PlaneHandle) {
        let places = Arc::new(Semaphore::new(self.config.connections));
        let mut callers = JoinSet::new();
        loop {
            // Never closed, so there is always a place in the end.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = self.next(&mut callers).await;
            let caller = Caller::new(stream, &self.secret, self.config.head);
            let (dialler, plane) = (dialler.clone(), plane.clone());
            callers.spawn(async move {
                caller.serve(&dialler, &plane).await;
                drop(place);
            });
        }
    }

    /// The next connection. Tasks of connections that are over are let go of meanwhile.
    async fn next(&self, callers: &mut JoinSet<()>) -> TcpStream {
        loop {
            tokio::select! {
                (stream, _) = tcp::accept(&self.listener) => return stream,
                Some(_) = callers.join_next() => {}
            }
        }
    }
}

fn password(random: &mut dyn Random) -> Secret<String> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    Secret::new(format!("{:032x}", u128::from_be_bytes(bytes)))
}
