use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use ztna_api::admin::{AdminError, Answer, LONGEST, Op, Outcome, Reply, Request};
use ztna_api::wire;
use ztna_net::uds::{self, ConnectError};

use super::local::{LocalAnswer, LocalOp, LocalOutcome, LocalReply, LocalRequest};

/// A connection to a broker's administration socket.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    id: u64,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody was reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the broker broke off: {0}")]
    Broken(#[from] std::io::Error),
    /// The answer makes no sense.
    #[error("the broker's answer is not understood: {0}")]
    NotUnderstood(String),
    /// The broker says no.
    #[error(transparent)]
    Refused(#[from] AdminError),
}

impl Client {
    /// Connects to the socket at `path`.
    pub async fn connect(path: &Path) -> Result<Self, CallError> {
        Ok(Self { stream: BufReader::new(uds::connect(path).await?), id: 0 })
    }

    /// Asks for a decision.
    pub async fn ask(&mut self, op: Op) -> Result<Answer, CallError> {
        let id = self.next_id();
        let Reply { outcome, .. } = self.call(&Request { id, op }).await?;
        match outcome {
            Outcome::Ok(answer) => Ok(answer),
            Outcome::Error(error) => Err(error.into()),
        }
    }

    /// Asks for what is the broker's own matter.
    pub async fn ask_local(&mut self, op: LocalOp) -> Result<LocalAnswer, CallError> {
        let id = self.next_id();
        let LocalReply { outcome, .. } = self.call(&LocalRequest { id, op }).await?;
        match outcome {
            LocalOutcome::Ok(answer) => Ok(answer),
            LocalOutcome::Error(error) => Err(error.into()),
        }
    }

    async fn call<T: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<T, CallError> {
        let mut line = wire::write(request);
        line.push('\n');
        self.stream.write_all(line.as_bytes()).await?;
        let mut answer = vec![];
        self.stream.read_until(b'\n', &mut answer).await?;
        wire::read(&answer, LONGEST).map_err(|error| CallError::NotUnderstood(error.to_string()))
    }

    const fn next_id(&mut self) -> u64 {
        self.id += 1;
        self.id
    }
}
