//! How `openztna status` and its like talk to the running connector: lines of JSON over a socket that only this user
//! and root can open.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{RwLock, watch};
use ztna_net::uds::{self, ConnectError, LocalListener};
use ztna_session::Snapshot;

use crate::client::Client;
use crate::plane::{PlaneHandle, PlaneStatus};
use crate::system::Applied;

/// What the running connector can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// How it stands.
    Status,
    /// Turn the tunnel on.
    Connect,
    /// Turn the tunnel off.
    Disconnect,
    /// Sign out.
    SignOut,
    /// Look at the device's signals again, and say how it stands then.
    ReadSignals,
}

/// How the connector stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// All that the session shows.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// The local proxy.
    pub proxy: ProxyStatus,
    /// The tunnels.
    pub plane: PlaneStatus,
    /// How this machine's network leads into the tunnels, where applications' own packets go there.
    #[serde(default)]
    pub system: Option<Applied>,
}

/// Where all of it comes from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) client: Client,
    pub(crate) plane: PlaneHandle,
    pub(crate) proxy: ProxyStatus,
    pub(crate) system: watch::Receiver<Option<Applied>>,
}

impl Sources {
    /// How it stands.
    pub(crate) async fn status(&self) -> Status {
        let snapshot = self.client.snapshots().borrow().clone();
        let system = self.system.borrow().clone();
        Status { snapshot, proxy: self.proxy.clone(), plane: self.plane.status().await, system }
    }
}

/// Where local applications connect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The address.
    pub address: std::net::SocketAddr,
    /// This run's password. Whoever may ask may use it.
    pub password: String,
}

/// Why the running connector did not answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// None runs, or it belongs to somebody else.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke off.
    #[error("the connector broke off: {0}")]
    Broken(#[from] io::Error),
    /// It answered something else.
    #[error("the connector's answer is not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

/// Asks the connector whose socket is at `path`.
pub async fn ask(path: &Path, question: Question) -> Result<Status, AskError> {
    let mut stream = uds::connect(path).await?;
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Answers questions until the future is dropped. Each holds `answering` until it is answered.
pub(crate) async fn serve(listener: LocalListener, sources: Sources, answering: Arc<RwLock<()>>) {
    loop {
        // Running out of descriptors passes; the next caller is served.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let sources = sources.clone();
        let held = Arc::clone(&answering).read_owned().await;
        tokio::spawn(async move {
            let _held = held;
            if let Err(error) = answer(stream, &sources).await {
                tracing::info!(%error, "a question about the status broke off");
            }
        });
    }
}

async fn answer(stream: UnixStream, sources: &Sources) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read).take(LONGEST_QUESTION).read_line(&mut line).await?;
    let question = serde_json::from_str(&line)?;
    let client = &sources.client;
    let mut snapshots = client.snapshots();
    snapshots.mark_unchanged();
    match question {
        Question::Status => {}
        Question::Connect => client.connect().await,
        Question::Disconnect => client.disconnect().await,
        Question::SignOut => client.sign_out().await,
        Question::ReadSignals => {
            client.read_signals().await;
            // The readings are news; a client that ends meanwhile has none.
            let _ = snapshots.changed().await;
        }
    }
    write.write_all(&serde_json::to_vec(&sources.status().await)?).await?;
    write.shutdown().await
}

const LONGEST_QUESTION: u64 = 1024;
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;
