use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use ztna_api::discovery::Versions;
use ztna_api::gateway::{FromGateway, List, Offered, ToGateway, Welcome};
use ztna_api::jws::JwsError;
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_api::lease;
use ztna_api::wire::{self, WireError};
use ztna_model::{Carrier, GatewayId, Incarnation, LeaseId, OrgId, RootHash, RunId, WgPublic, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::Post;

use crate::carriers::carriers;
use crate::control::PortFacts;
use crate::home::Home;
use crate::order::Order;
use crate::status::{Identity, Source};

/// Leases in a file, for use without a broker. Each is signed and checked like any other: what a stream would carry as
/// frames stands in a file, and nothing else is different.
///
/// A lease counts on the clock of the run that it is for, so nobody can sign it before that run has begun. The gateway
/// writes its clock down in a [`BeatFile`], as it would tell a broker; whoever signs reads it there, and has to sign
/// again before the lease is over, which is after five minutes at most. A lease that is not in the file any more ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseFile {
    /// The root-signed key set.
    pub keys: String,
    /// The life of the store that the leases come from.
    pub incarnation: Incarnation,
    /// The leases, each a JWS, and where its device can be sent a datagram.
    pub leases: Vec<Offered>,
}

/// A gateway's clock and key, for whoever signs leases for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BeatFile {
    /// The organisation.
    pub org: OrgId,
    /// The gateway.
    pub gateway: GatewayId,
    /// This run of the process.
    pub run: RunId,
    /// Its boot clock at the time of writing, in milliseconds.
    pub now: u64,
    /// This run's WireGuard key.
    pub wg_pub: WgPublic,
    /// Where devices can send datagrams to it.
    pub carriers: Vec<Carrier>,
}

/// Follows a lease file.
pub(crate) struct Follower {
    pub(crate) path: PathBuf,
    pub(crate) root: RootHash,
    pub(crate) identity: Identity,
    pub(crate) home: Home,
    pub(crate) port: PortFacts,
    pub(crate) post: Post<Order>,
    pub(crate) told: mpsc::UnboundedReceiver<FromGateway>,
    pub(crate) source: watch::Sender<Source>,
}

#[derive(Debug, Error)]
enum FileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is not understood: {0}")]
    NotUnderstood(#[from] WireError),
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error("lease {number}: {cause}")]
    Lease { number: usize, cause: JwsError },
}

impl Follower {
    /// Reads the file whenever it has changed, and keeps the beat file fresh, for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut seen = None;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut beats = tokio::time::interval(BEAT_EVERY);
        let mut hangups = Hangups::new();
        loop {
            tokio::select! {
                _ = beats.tick() => self.beat(),
                _ = looks.tick() => {
                    let found = stamp(&self.path);
                    if found != seen {
                        seen = found;
                        self.read().await;
                    }
                }
                () = hangups.next() => self.read().await,
                Some(frame) = self.told.recv() => heard(&frame),
            }
        }
    }

    fn beat(&self) {
        let Identity { org, gateway, run, wg_pub, .. } = self.identity.clone();
        let PortFacts { config, local, bound } = &self.port;
        let carriers = carriers(config, *local, *bound, &[]);
        let beat = BeatFile { org, gateway, run, now: Clock.now().as_millis(), wg_pub, carriers };
        if let Err(error) = self.home.write_beat(&beat) {
            tracing::warn!(%error, "the clock cannot be written down: no lease can be signed");
        }
    }

    async fn read(&self) {
        let outcome = self.frames();
        let (read, trouble) = match &outcome {
            Ok(_) => (Some(Clock.wall()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(error) = &trouble {
            tracing::warn!(%error, "the lease file cannot be used: leases run out by themselves");
        }
        self.source.send_modify(|source| match source {
            Source::File { read: last, trouble: now } => {
                *last = read.or(*last);
                *now = trouble;
            }
            Source::Broker { .. } => {}
        });
        for frame in outcome.unwrap_or_default() {
            // A data thread that has ended needs no leases.
            let _ = self.post.send(Order::Frame(Box::new(frame))).await;
        }
    }

    /// The frames that a broker would send: keys, then leases, then which of all live.
    fn frames(&self) -> Result<Vec<ToGateway>, FileError> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(ToGateway::LONGEST as u64 + 1).read_to_end(&mut text)?;
        let file: LeaseFile = wire::read(&text, ToGateway::LONGEST)?;
        let set = KeySet::verify(&file.keys, &self.identity.org, &self.root, 0)?;
        let live: Result<Vec<LeaseId>, FileError> = (1..)
            .zip(&file.leases)
            .map(|(number, offered)| match lease::verify(&offered.lease, &set) {
                Ok(lease) => Ok(lease.id),
                Err(cause) => Err(FileError::Lease { number, cause }),
            })
            .collect();
        let welcome = Welcome {
            version: Versions::OURS.max,
            gateway: self.identity.gateway.clone(),
            incarnation: file.incarnation,
            keys: file.keys,
        };
        let leases = file.leases.into_iter().map(ToGateway::from);
        let frames = [ToGateway::from(welcome)].into_iter().chain(leases);
        Ok(frames.chain([ToGateway::from(List { live: live? })]).collect())
    }
}

/// What tells one state of a file from another.
fn stamp(path: &Path) -> Option<(std::time::SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn heard(frame: &FromGateway) {
    match frame {
        FromGateway::Declined(declined) => tracing::warn!(code = %declined.code, "a lease was refused"),
        FromGateway::Hello(_)
        | FromGateway::Beat(_)
        | FromGateway::Held(_)
        | FromGateway::Renew(_)
        | FromGateway::Ended(_)
        | FromGateway::FloorHeld(_)
        | FromGateway::Reachable(_) => {}
    }
}

/// SIGHUP, if the system lets us hear it.
struct Hangups(Option<tokio::signal::unix::Signal>);

impl Hangups {
    fn new() -> Self {
        Self(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok())
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => _ = signal.recv().await,
            None => std::future::pending().await,
        }
    }
}

const LOOK_EVERY: Duration = millis(500);
const BEAT_EVERY: Duration = secs(5);
