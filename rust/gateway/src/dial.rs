use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_gate::{Destination, Reach};
use ztna_model::{Endpoint, Flow, Host, Port, Protocol, is_forbidden_target, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::Post;
use ztna_net::tcp::{self, DialError};

use crate::carriers::is_own;
use crate::echo::EchoSocket;
use crate::order::{Dial, Order, Pinned, SiteSocket};
use crate::resolver::Resolver;
use crate::seldom::Seldom;
use crate::translation::PeerRanges;

/// Connects flows to what their leases are for.
///
/// What a name resolves to is asked once, when the flow begins. Every address is checked before it is tried, and the
/// address that was checked is the one that is connected to.
pub(crate) struct Dialler {
    reach: Reach,
    resolver: Resolver,
    lookups: Semaphore,
    /// Flows that `reach` has refused.
    refused: Mutex<Seldom>,
    /// The addresses of peers, where the kernel forwards.
    peers: Option<PeerRanges>,
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
    /// This machine lets no process of ours send echoes.
    #[error("this machine lets the gateway send no echoes (see net.ipv4.ping_group_range, or CAP_NET_RAW)")]
    NotPermitted,
    /// This machine has too much to do already, or too few descriptors.
    #[error("there is no room for another connection")]
    NoRoom,
}

impl Dialler {
    pub(crate) fn new(reach: Reach, resolver: Resolver, peers: Option<PeerRanges>) -> Arc<Self> {
        Arc::new(Self { reach, resolver, lookups: Semaphore::new(LOOKUPS), refused: Mutex::default(), peers })
    }

    /// Does what is asked for, all at once, and hands each outcome to the data thread, until nobody asks any more.
    pub(crate) async fn run(self: Arc<Self>, mut dials: mpsc::Receiver<Dial>, post: Post<Order>) {
        let mut attempts = JoinSet::new();
        loop {
            tokio::select! {
                dial = dials.recv() => {
                    let Some(dial) = dial else { return };
                    let (dialler, post) = (Arc::clone(&self), post.clone());
                    attempts.spawn(async move {
                        // A data thread that has ended misses nothing.
                        let _ = post.send(dialler.carry_out(dial).await).await;
                    });
                }
                Some(_) = attempts.join_next() => {}
            }
        }
    }

    async fn carry_out(&self, dial: Dial) -> Order {
        match dial {
            Dial::Connect { stream, protocol, destination } => {
                let outcome = in_time(self.connect(protocol, &destination)).await;
                Order::Dialled(stream, self.noted(outcome, &destination.host))
            }
            Dial::Pin { number, flow, host, port } => {
                let outcome = in_time(self.pin(flow, &host, port)).await;
                Order::Pinned(number, self.noted(outcome, &host))
            }
            Dial::Echo { number, host } => {
                let outcome = in_time(self.open_echo(&host)).await;
                Order::EchoOpened(number, self.noted(outcome, &host))
            }
        }
    }

    fn noted<T>(&self, outcome: Result<T, DialRefusal>, host: &Host) -> Result<T, DialRefusal> {
        if let Err(refusal) = &outcome {
            tracing::debug!(%refusal, %host, "a flow reached nobody");
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if *refusal == DialRefusal::OutOfReach
                && let Some(times) = refused.happened(Clock.now())
            {
                tracing::info!(
                    times,
                    "flows were refused whose targets are outside `reach` (`debug` says which)"
                );
            }
        }
        outcome
    }

    /// Where the kernel can bring a flow: to the first address that it may go to, if that is of its own family, and not
    /// this machine's.
    async fn pin(&self, flow: Flow, host: &Host, port: Option<Port>) -> Result<Pinned, DialRefusal> {
        let addresses = match port {
            Some(port) => self.admitted(&Destination { host: host.clone(), port }).await?,
            None => self.admitted_to_echo(host).await?,
        };
        let is_far = |at: &&SocketAddr| {
            at.is_ipv4() == flow.source.address.is_ipv4() && !is_forbidden_target(at.ip()) && !is_own(at.ip())
        };
        Ok(match addresses.iter().find(is_far) {
            Some(at) => Pinned::Kernel(Endpoint::new(at.ip(), port.map_or(0, Port::number))),
            None => Pinned::Userspace,
        })
    }

    async fn connect(&self, protocol: Protocol, to: &Destination) -> Result<SiteSocket, DialRefusal> {
        let addresses = self.admitted(to).await?;
        match protocol {
            Protocol::Tcp => {
                let stream = tcp::dial_first(&addresses, ALTOGETHER).await;
                stream.map_err(|cause| refusal(&cause)).and_then(|stream| take_over_tcp(stream, &addresses))
            }
            Protocol::Udp => open_udp(&addresses).await,
            Protocol::IcmpEcho => Err(DialRefusal::Unreachable),
        }
    }

    async fn open_echo(&self, host: &Host) -> Result<EchoSocket, DialRefusal> {
        let addresses = self.admitted_to_echo(host).await?;
        let address = addresses.first().ok_or(DialRefusal::OutOfReach)?;
        EchoSocket::open(address.ip()).map_err(|cause| match Errno::from_io_error(&cause) {
            Some(Errno::ACCESS | Errno::PERM) => DialRefusal::NotPermitted,
            Some(_) | None => of_system(&cause),
        })
    }

    /// The addresses of `destination` that this gateway may connect to.
    async fn admitted(&self, destination: &Destination) -> Result<Vec<SocketAddr>, DialRefusal> {
        let Destination { host, port } = destination;
        let found = self.resolved(host, *port).await?;
        let may = |at: &SocketAddr| {
            self.reach.admits(host, at.ip(), *port)
                && !self.is_peer(at.ip())
                && (self.reach.names_exactly(*at) || !is_own(at.ip()))
        };
        // The port is the lease's, whatever a resolver says.
        let at_port = found.into_iter().map(|at| SocketAddr::new(at.ip(), port.number()));
        let admitted: Vec<SocketAddr> = at_port.filter(may).take(MOST_ADDRESSES).collect();
        if admitted.is_empty() { Err(DialRefusal::OutOfReach) } else { Ok(admitted) }
    }

    /// The addresses of `host` that this gateway may ask for an echo.
    async fn admitted_to_echo(&self, host: &Host) -> Result<Vec<SocketAddr>, DialRefusal> {
        let found = self.resolved(host, ANY_PORT).await?;
        let may = |at: &SocketAddr| {
            self.reach.admits_echo(host, at.ip()) && !is_own(at.ip()) && !self.is_peer(at.ip())
        };
        let admitted: Vec<SocketAddr> = found.into_iter().filter(may).take(MOST_ADDRESSES).collect();
        if admitted.is_empty() { Err(DialRefusal::OutOfReach) } else { Ok(admitted) }
    }

    /// Whether an address is one of those that peers have where the kernel forwards: nobody dials these.
    fn is_peer(&self, address: IpAddr) -> bool {
        self.peers.is_some_and(|peers| peers.contains(address))
    }

    /// What `host` stands for; something at least.
    async fn resolved(&self, host: &Host, port: Port) -> Result<Vec<SocketAddr>, DialRefusal> {
        let found = match host {
            Host::Address(address) => vec![SocketAddr::new(*address, port.number())],
            Host::Name(name) => {
                let _turn = self.lookups.acquire().await.map_err(|_| DialRefusal::NoRoom)?;
                self.resolver.resolve(name, port).await.map_err(|cause| refusal(&cause))?
            }
        };
        if found.is_empty() { Err(DialRefusal::Unresolved) } else { Ok(found) }
    }
}

async fn in_time<T>(what: impl Future<Output = Result<T, DialRefusal>>) -> Result<T, DialRefusal> {
    timeout(ALTOGETHER, what).await.unwrap_or(Err(DialRefusal::Silent))
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
/// For names that are looked up without one.
const ANY_PORT: Port = match Port::new(7) {
    Some(port) => port,
    None => unreachable!(),
};
