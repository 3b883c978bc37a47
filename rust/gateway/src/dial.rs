use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_gate::{Destination, Reach};
use ztna_model::{Host, Protocol, secs};
use ztna_net::inbox::Post;
use ztna_net::tcp::{self, DialError};

use crate::carriers::is_own;
use crate::order::{Dial, Order, SiteSocket};
use crate::resolver::Resolver;

/// Connects flows to what their leases are for.
///
/// What a name resolves to is asked once, when the flow begins. Every address is checked before it is tried, and the
/// address that was checked is the one that is connected to.
pub(crate) struct Dialler {
    reach: Reach,
    resolver: Resolver,
    lookups: Semaphore,
}

/// Why a flow reaches nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum DialRefusal {
    /// Nothing that the name stands for is in reach.
    #[error("the target is outside this gateway's reach")]
    OutOfReach,
    /// The name stands for nothing.
    #[error("the name has no address")]
    Unresolved,
    /// Somebody is there, and nothing listens.
    #[error("the target refused the connection")]
    Refused,
    /// Nobody answers.
    #[error("the target did not answer in time")]
    Silent,
    /// There is no way there.
    #[error("the target cannot be reached")]
    Unreachable,
    /// This machine has too much to do already, or too few descriptors.
    #[error("there is no room for another connection")]
    NoRoom,
}

impl Dialler {
    pub(crate) fn new(reach: Reach, resolver: Resolver) -> Arc<Self> {
        Arc::new(Self { reach, resolver, lookups: Semaphore::new(LOOKUPS) })
    }

    /// Connects what is asked for, all at once, and hands each outcome to the data thread, until nobody asks any more.
    pub(crate) async fn run(self: Arc<Self>, mut dials: mpsc::Receiver<Dial>, post: Post<Order>) {
        let mut attempts = JoinSet::new();
        loop {
            tokio::select! {
                dial = dials.recv() => {
                    let Some(dial) = dial else { return };
                    let (dialler, post) = (Arc::clone(&self), post.clone());
                    attempts.spawn(async move {
                        let outcome = dialler.dial(&dial).await;
                        if let Err(refusal) = &outcome {
                            tracing::debug!(%refusal, host = %dial.destination.host, "a flow reached nobody");
                        }
                        // A data thread that has ended misses nothing.
                        let _ = post.send(Order::Dialled(dial.stream, outcome)).await;
                    });
                }
                Some(_) = attempts.join_next() => {}
            }
        }
    }

    async fn dial(&self, dial: &Dial) -> Result<SiteSocket, DialRefusal> {
        let whole = async {
            let addresses = self.admitted(&dial.destination).await?;
            match dial.protocol {
                Protocol::Tcp => {
                    let stream = tcp::dial_first(&addresses, ALTOGETHER).await;
                    stream
                        .map_err(|cause| refusal(&cause))
                        .and_then(|stream| take_over_tcp(stream, &addresses))
                }
                Protocol::Udp => open_udp(&addresses).await,
                Protocol::IcmpEcho => Err(DialRefusal::Unreachable),
            }
        };
        timeout(ALTOGETHER, whole).await.unwrap_or(Err(DialRefusal::Silent))
    }

    /// The addresses of `destination` that this gateway may connect to.
    async fn admitted(&self, destination: &Destination) -> Result<Vec<SocketAddr>, DialRefusal> {
        let Destination { host, port } = destination;
        let found = match host {
            Host::Address(address) => vec![SocketAddr::new(*address, port.number())],
            Host::Name(name) => {
                let _turn = self.lookups.acquire().await.map_err(|_| DialRefusal::NoRoom)?;
                self.resolver.resolve(name, *port).await.map_err(|cause| refusal(&cause))?
            }
        };
        if found.is_empty() {
            return Err(DialRefusal::Unresolved);
        }
        let may = |at: &SocketAddr| {
            self.reach.admits(host, at.ip(), *port) && (self.reach.names_exactly(*at) || !is_own(at.ip()))
        };
        // The port is the lease's, whatever a resolver says.
        let at_port = found.into_iter().map(|at| SocketAddr::new(at.ip(), port.number()));
        let admitted: Vec<SocketAddr> = at_port.filter(may).take(MOST_ADDRESSES).collect();
        if admitted.is_empty() { Err(DialRefusal::OutOfReach) } else { Ok(admitted) }
    }
}

fn take_over_tcp(stream: TcpStream, admitted: &[SocketAddr]) -> Result<SiteSocket, DialRefusal> {
    // INVARIANT: whom we are connected to is one whom we have checked.
    let peer = stream.peer_addr().map_err(|cause| of_system(&cause))?;
    if !admitted.contains(&peer) {
        return Err(DialRefusal::OutOfReach);
    }
    SiteSocket::tcp(stream).map_err(|cause| of_system(&cause))
}

/// Nothing is sent: whether somebody is there shows when the first datagram goes.
async fn open_udp(addresses: &[SocketAddr]) -> Result<SiteSocket, DialRefusal> {
    let mut outcome = Err(DialRefusal::Unreachable);
    for address in addresses {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let opened = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            SiteSocket::udp(socket)
        };
        match opened.await {
            Ok(socket) => return Ok(socket),
            Err(cause) => outcome = Err(of_system(&cause)),
        }
    }
    outcome
}

fn refusal(cause: &DialError) -> DialRefusal {
    match cause {
        DialError::Unresolved { .. } | DialError::NoAddress => DialRefusal::Unresolved,
        DialError::Refused { .. } => DialRefusal::Refused,
        DialError::Silent { .. } => DialRefusal::Silent,
        DialError::Unreachable { cause, .. } => of_system(cause),
    }
}

/// Running out of descriptors, ports or memory is this machine's fault, everything else the network's.
fn of_system(cause: &io::Error) -> DialRefusal {
    match Errno::from_io_error(cause) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => DialRefusal::NoRoom,
        Some(_) | None => DialRefusal::Unreachable,
    }
}

/// From the name to the connection.
const ALTOGETHER: Duration = secs(10);
/// How many names are looked up at once: each takes a thread until its resolver answers.
const LOOKUPS: usize = 64;
const MOST_ADDRESSES: usize = 8;
