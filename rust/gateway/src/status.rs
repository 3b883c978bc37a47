//! How a gateway stands, for whoever may open its socket: this user and root.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use ztna_api::gateway::LeaseError;
use ztna_model::{Carrier, DenyReason, GatewayId, OrgId, RunId, WallTime, WgPublic, millis};
use ztna_net::inbox::Post;
use ztna_net::uds::{self, ConnectError, ListenError, LocalListener};

use crate::dial::DialRefusal;
use crate::home::status_socket;
use crate::order::Order;

/// How a gateway stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where its leases come from.
    pub source: Source,
    /// Its tunnels and flows.
    pub plane: Plane,
}

/// Who a gateway is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The organisation.
    pub org: OrgId,
    /// The gateway.
    pub gateway: GatewayId,
    /// This run of the process.
    pub run: RunId,
    /// This run's WireGuard key.
    pub wg_pub: WgPublic,
    /// The program's name and version.
    pub software: String,
}

/// Where a gateway's leases come from, and how that stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Source {
    /// The broker.
    Broker {
        /// Since when there is a stream; without one, leases run out.
        connected_since: Option<WallTime>,
        /// What is in the way, if there is none.
        trouble: Option<String>,
        /// Where devices were told that they can send datagrams to.
        carriers: Vec<Carrier>,
        /// Until when the certificate holds.
        certificate_until: WallTime,
    },
    /// A signed file.
    File {
        /// When it was last read whole.
        read: Option<WallTime>,
        /// What is in the way, if it cannot be read.
        trouble: Option<String>,
    },
}

impl Source {
    /// Why devices elsewhere find no way to this gateway, if that is so.
    pub fn no_way(&self) -> Option<&'static str> {
        let Self::Broker { connected_since: Some(_), carriers, .. } = self else { return None };
        let is_here = |Carrier::Udp(at): &Carrier| at.ip().is_loopback();
        if carriers.is_empty() {
            Some("no address is known at which devices could reach this gateway: set `udp.advertise`")
        } else if carriers.iter().all(is_here) {
            Some("only devices on this very machine can reach this gateway: `udp.bind` is loopback")
        } else {
            None
        }
    }
}

/// How a gateway's tunnels and flows stand. Counters are of this run.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Plane {
    /// Leases held.
    pub leases: usize,
    /// Sessions that hold them: each has a tunnel.
    pub sessions: usize,
    /// Live flows.
    pub flows: usize,
    /// How packets go on, in words.
    pub forwarding: String,
    /// What the buffers of all flows may come to at present, in bytes.
    pub buffered: usize,
    /// Packets dropped, by reason.
    pub denied: BTreeMap<DenyReason, u64>,
    /// Leases refused, by code.
    pub declined: BTreeMap<LeaseError, u64>,
    /// Flows that reached nobody, by reason.
    pub refused_dials: BTreeMap<DialRefusal, u64>,
    /// Datagrams that no tunnel took, by reason.
    pub refused_datagrams: BTreeMap<String, u64>,
    /// Questions of names.
    pub questions: Questions,
    /// Packets that no tunnel could send.
    pub unsealed: u64,
    /// Datagrams that were sealed and never left this machine.
    pub lost_datagrams: u64,
    /// What the kernel does for the port, in words.
    pub offloads: String,
}

/// How many questions of names devices have asked, and what came of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Questions {
    /// Answered, be it with the site's own failure.
    pub answered: u64,
    /// Of these, answered with no more than that they may not be asked.
    pub refused: u64,
    /// Not answered: not understood, or too many at once.
    pub dropped: u64,
}

/// Why a gateway did not say how it stands.
#[derive(Debug, Error)]
pub enum StatusError {
    /// None runs, or it belongs to somebody else.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke off.
    #[error("the gateway broke off: {0}")]
    Broken(#[from] io::Error),
    /// It said something else.
    #[error("the gateway's answer is not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

/// Asks the gateway that keeps its files in `state_dir`.
pub async fn status(state_dir: &Path) -> Result<Status, StatusError> {
    let stream = uds::connect(&status_socket(state_dir)).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Answers whoever connects.
pub(crate) struct StatusDesk {
    listener: LocalListener,
    identity: Identity,
    source: watch::Receiver<Source>,
    post: Post<Order>,
}

impl StatusDesk {
    /// Listens at `path`.
    pub(crate) fn open(
        path: &Path,
        identity: Identity,
        source: watch::Receiver<Source>,
        post: Post<Order>,
    ) -> Result<Self, ListenError> {
        Ok(Self { listener: LocalListener::bind(path)?, identity, source, post })
    }

    /// Answers one caller after another, for as long as it is polled.
    pub(crate) async fn run(self) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Running out of descriptors passes.
                tokio::time::sleep(BREATH).await;
                continue;
            };
            if let Err(error) = self.answer(stream).await {
                tracing::debug!(%error, "a question about the status broke off");
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let (answer, plane) = oneshot::channel();
        self.post.send(Order::Report(answer)).await.map_err(io::Error::other)?;
        let plane = plane.await.map_err(io::Error::other)?;
        let status = Status { identity: self.identity.clone(), source: self.source.borrow().clone(), plane };
        stream.write_all(&serde_json::to_vec(&status)?).await?;
        stream.shutdown().await
    }
}

const LONGEST: u64 = 1 << 20;
const BREATH: Duration = millis(100);
