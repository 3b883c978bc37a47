use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use ztna_api::gateway::FromGateway;
use ztna_datapath::{Datapath, Side};
use ztna_gate::{Gate, Reach};
use ztna_model::{Random as _, RootHash, RunId, Secret, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::Post;
use ztna_net::keys::{KeyError, P256Key};
use ztna_net::poll::Poller;
use ztna_net::process::raise_descriptor_limit;
use ztna_net::random::SystemRandom;
use ztna_net::tls::IdentitySlot;
use ztna_net::tun::{TunConfig, TunError, TunPort};
use ztna_net::udp::{Bind, BindError, UdpPort};
use ztna_net::uds::ListenError;
use ztna_netstack::Netstack;
use ztna_policy::Table;
use ztna_tunnel::Tunnel;

use crate::SOFTWARE;
use crate::asking::Lookups;
use crate::certificate::{CertificateError, Enrolment};
use crate::config::{Config, ForwardingMode, LimitsConfig, TunnelledConfig};
use crate::control::{Control, PortFacts};
use crate::data::{DataThread, Kernel, Parts};
use crate::dial::Dialler;
use crate::file::Follower;
use crate::home::{Home, HomeError};
use crate::kernel::{self, Forwarding, ForwardingError};
use crate::order::Order;
use crate::renewal::Renewal;
use crate::resolver::Resolver;
use crate::role::Role;
use crate::status::{Identity, Source, StatusDesk};
use crate::translation::{self, PeerRanges, Translations};

/// Why a gateway ended without a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitReason {
    /// It was asked to.
    Asked,
}

/// Why a gateway does not run, or no longer.
#[derive(Debug, Error)]
pub enum RunError {
    /// What it keeps.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Settings that do not fit together.
    #[error("the settings: {0}")]
    Config(&'static str),
    /// It was enrolled elsewhere.
    #[error("`org` is `{configured}`, but this gateway was enrolled with `{enrolled}`")]
    OtherOrganisation {
        /// What the settings say.
        configured: String,
        /// What enrolment said.
        enrolled: String,
    },
    /// Its UDP port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its TUN device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// What the kernel has to do for it.
    #[error(transparent)]
    Forwarding(#[from] ForwardingError),
    /// Its status socket.
    #[error(transparent)]
    Status(#[from] ListenError),
    /// Its data thread could not begin, or broke off.
    #[error("the data thread: {0}")]
    DataThread(#[from] io::Error),
}

/// Runs a gateway until `shutdown` is ready: opens its one UDP port, dials the broker, and forwards what leases allow.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<ExitReason, RunError> {
    run_with(config, Resolver::System, shutdown).await
}

pub(crate) async fn run_with(
    config: Config,
    resolver: Resolver,
    shutdown: impl Future<Output = ()>,
) -> Result<ExitReason, RunError> {
    if let Some(what) = config.contradiction() {
        return Err(RunError::Config(what));
    }
    if config.reach == Reach::default() {
        tracing::warn!("`reach` is empty: this gateway may go nowhere");
    }
    raise_descriptor_limit();
    let home = Home::open(&config.state_dir)?;
    let role = Role::find(&config, &home)?;
    let mut running = Running::start(&config, role, home, resolver)?;
    tokio::select! {
        () = shutdown => {}
        ended = &mut running.ended => {
            let lost = || Err(io::Error::other("it has ended without a word"));
            ended.unwrap_or_else(|_| lost())?;
            return Err(io::Error::other("it has ended by itself").into());
        }
    }
    running.stop().await?;
    Ok(ExitReason::Asked)
}

/// A gateway at work: its data thread, and the tasks around it.
struct Running {
    tasks: JoinSet<()>,
    /// How the data thread has ended.
    ended: oneshot::Receiver<io::Result<()>>,
    /// What the machine was asked for: put back when this goes.
    _forwarding: Option<Forwarding>,
}

/// What the tasks share with the data thread.
struct Lines {
    post: Post<Order>,
    told: mpsc::UnboundedReceiver<FromGateway>,
    port: PortFacts,
}

impl Running {
    fn start(config: &Config, role: Role, home: Home, resolver: Resolver) -> Result<Self, RunError> {
        let (gate, identity) = gate(config, &role);
        let netstack = Netstack::new(netstack_limits(&config.limits), &mut SystemRandom::new());
        let (kernel, forwarding) = match kernel_path(config, &home)? {
            Some((kernel, forwarding)) => (Some(kernel), Some(forwarding)),
            None => (None, None),
        };
        let mut port = UdpPort::bind_to(config.udp.bind, config.udp.port)?;
        tracing::info!(offloads = %port.offloads(), "the UDP port is open");
        let facts =
            PortFacts { config: config.udp.clone(), local: port.local_address(), bound: port.bound() };
        let (mut poller, post, inbox) = Poller::new(Clock, INBOX)?;
        poller.add(&mut port)?;
        if let Some(kernel) = &kernel {
            poller.add_tun(kernel.tun())?;
        }
        let (tell, told) = mpsc::unbounded_channel();
        let (dials, wanted) = mpsc::channel(DIALS);
        let (lookups, asked) = mpsc::channel(LOOKUPS);
        let parts = Parts { gate, netstack, port, poller, inbox, told: tell, dials, lookups, kernel };
        let ended = begin(DataThread::new(parts))?;

        let peers = forwarding.as_ref().map(|_| ranges(&config.tun));
        let mut tasks = JoinSet::new();
        tasks.spawn(Lookups::new(resolver.servers()).run(asked, post.clone()));
        tasks.spawn(Dialler::new(config.reach.clone(), resolver, peers).run(wanted, post.clone()));
        let lines = Lines { post, told, port: facts };
        match role {
            Role::Enrolled { enrolment, key } => {
                follow_broker(enrolment, key, identity, home, lines, &mut tasks)?;
            }
            Role::File { path, root, .. } => follow_file(path, root, identity, home, lines, &mut tasks)?,
        }
        Ok(Self { tasks, ended, _forwarding: forwarding })
    }

    /// Ends the tasks, and with the last of them the data thread: it cuts what still lives.
    async fn stop(mut self) -> Result<(), RunError> {
        self.tasks.shutdown().await;
        let outcome = tokio::time::timeout(ENDING, self.ended).await;
        let silent = || io::Error::other("it does not end");
        outcome.map_err(|_| silent())?.map_err(|_| silent())??;
        Ok(())
    }
}

/// The way through the kernel, if that is how packets go on. What a process before has left of one is put back first.
fn kernel_path(config: &Config, home: &Home) -> Result<Option<(Kernel, Forwarding)>, RunError> {
    kernel::put_back(&home.forwarding_note())?;
    match config.forwarding {
        ForwardingMode::Userspace => return Ok(None),
        ForwardingMode::Tun => {}
    }
    let TunnelledConfig { device, .. } = &config.tun;
    let (mtu, queue_length) = (Tunnel::DEFAULT_MTU, TUN_QUEUE);
    let wanted = TunConfig { name: device.clone(), mtu, queue_length, addresses: Vec::new(), offload: true };
    let tun = TunPort::create(&wanted)?;
    let peers = ranges(&config.tun);
    let forwarding = Forwarding::begin(device, peers.all(), &config.reach, &home.forwarding_note())?;
    tracing::info!(device, path = %tun.path(), "the kernel forwards");
    let limits = translation::Limits {
        flows: config.limits.flows as usize,
        flows_per_peer: config.limits.flows_per_device as usize,
    };
    Ok(Some((Kernel::new(tun, Translations::new(peers, limits)), forwarding)))
}

const fn ranges(config: &TunnelledConfig) -> PeerRanges {
    PeerRanges { v4: config.peers_v4, v6: config.peers_v6 }
}

/// A gate without leases, for a run that begins: with an id and a key that nobody has seen before.
fn gate(config: &Config, role: &Role) -> (Gate, Identity) {
    let (org, root, gateway) = role.who();
    let mut random = SystemRandom::new();
    let tunnel = Tunnel::new(&Secret::new(random.array()), Tunnel::DEFAULT_MTU, Clock.now());
    let identity = Identity {
        org: org.clone(),
        gateway: gateway.clone(),
        run: RunId::random(&mut random),
        wg_pub: tunnel.public(),
        software: SOFTWARE.to_owned(),
    };
    let table = Table::new(random.array(), table_limits(&config.limits));
    let gate_config = ztna_gate::Config {
        org: org.clone(),
        gateway: gateway.clone(),
        run: identity.run,
        root: *root,
        reach: config.reach.clone(),
        most_leases: config.limits.leases as usize,
        serves_own_machine: matches!(config.udp.bind, Bind::LoopbackV4 | Bind::LoopbackV6),
    };
    let datapath = Datapath::new(Side::Gateway, tunnel, table);
    (Gate::new(gate_config, datapath, Box::new(random)), identity)
}

fn begin(data: DataThread) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (done, ended) = oneshot::channel();
    thread::Builder::new().name("data".to_owned()).spawn(move || {
        // Nobody waits any more: the process ends.
        let _ = done.send(data.run());
    })?;
    Ok(ended)
}

fn follow_broker(
    enrolment: Enrolment,
    key: Secret<Vec<u8>>,
    identity: Identity,
    home: Home,
    Lines { post, told, port }: Lines,
    tasks: &mut JoinSet<()>,
) -> Result<(), RunError> {
    let slot = IdentitySlot::new(enrolment.identity(&key)?);
    let (source, stands) = watch::channel(Source::Broker {
        connected_since: None,
        trouble: None,
        carriers: Vec::new(),
        certificate_until: slot.current().not_after(),
    });
    let status = StatusDesk::open(&home.status_socket(), identity.clone(), stands, post.clone())?;
    let (enrolled, enrolment) = watch::channel(enrolment);
    let signer = P256Key::from_pkcs8(&key)?;
    let renewal = Renewal { home, key, identity: Arc::clone(&slot), enrolment: enrolled };
    tasks.spawn(status.run());
    tasks.spawn(renewal.run());
    tasks.spawn(Control { identity, key: signer, slot, enrolment, port, post, told, source }.run());
    Ok(())
}

fn follow_file(
    path: PathBuf,
    root: RootHash,
    identity: Identity,
    home: Home,
    Lines { post, told, port }: Lines,
    tasks: &mut JoinSet<()>,
) -> Result<(), RunError> {
    let (source, stands) = watch::channel(Source::File { read: None, trouble: None });
    let status = StatusDesk::open(&home.status_socket(), identity.clone(), stands, post.clone())?;
    tasks.spawn(status.run());
    tasks.spawn(Follower { path, root, identity, home, port, post, told, source }.run());
    Ok(())
}

/// The table keeps a flow for a while after the netstack has let go of it.
fn table_limits(limits: &LimitsConfig) -> ztna_policy::Limits {
    ztna_policy::Limits {
        flows: limits.flows.saturating_mul(2),
        flows_per_scope: limits.flows_per_device.saturating_mul(2),
        rules: limits.leases,
    }
}

fn netstack_limits(limits: &LimitsConfig) -> ztna_netstack::Limits {
    ztna_netstack::Limits {
        flows: limits.flows,
        flows_per_scope: limits.flows_per_device,
        buffer_per_flow: BUFFER_PER_FLOW,
        buffer_total: limits.buffers_mib << 20,
        ..ztna_netstack::Limits::GATEWAY
    }
}

/// What can be on its way at once: 200 Mbit/s over 40 ms.
const BUFFER_PER_FLOW: usize = 1 << 20;
/// Orders that may wait for the data thread.
const INBOX: usize = 4_096;
/// Packets of the site's that wait for this process at most.
const TUN_QUEUE: u32 = 1_000;
/// Questions of names that may wait to be asked.
const LOOKUPS: usize = 1_024;
/// Flows that may wait to be connected.
const DIALS: usize = 1_024;
const ENDING: Duration = secs(5);
