use std::io;
use std::path::Path;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use ztna_api::admin::{self, AdminError, Answer, Op, Outcome, Reply, Request};
use ztna_api::{WireError, wire};
use ztna_net::uds::{self, ConnectError};

/// A connection to the broker's administration socket.
pub(crate) struct Broker {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    asked: u64,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// The socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke off.
    #[error("the broker broke off: {0}")]
    Broken(#[from] io::Error),
    /// The answer makes no sense.
    #[error("the broker's answer is not understood: {0}")]
    NotUnderstood(#[from] WireError),
    /// The broker says no.
    #[error("{0}")]
    Refused(#[from] AdminError),
    /// Something on the command line names nobody or nothing, or too much.
    #[error("{0}")]
    NotFound(String),
    /// A file could not be read.
    #[error("`{path}`: {cause}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

impl Broker {
    pub(crate) async fn connect(socket: &Path) -> Result<Self, CallError> {
        let (read, write) = uds::connect(socket).await?.into_split();
        Ok(Self { read: BufReader::new(read), write, asked: 0 })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, op: Op) -> Result<Answer, CallError> {
        self.asked += 1;
        let id = self.asked;
        let mut line = wire::write(&Request { id, op });
        line.push('\n');
        self.write.write_all(line.as_bytes()).await?;
        let mut answer = Vec::new();
        self.read.read_until(b'\n', &mut answer).await?;
        let reply: Reply = wire::read(&answer, admin::LONGEST)?;
        match reply.outcome {
            Outcome::Ok(answer) => Ok(answer),
            Outcome::Error(error) => Err(error.into()),
        }
    }
}
