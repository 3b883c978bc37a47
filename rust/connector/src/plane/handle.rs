use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use ztna_model::{DenyReason, Endpoint};
use ztna_net::inbox::{Post, PostError};
use ztna_net::socket::Connection;
use ztna_netstack::StreamId;
use ztna_proxy::Upstream;
use ztna_session::QueryId;

use crate::plane::carriage::Carried;
use crate::plane::command::{Command, Load, Ticket};
use crate::plane::status::PlaneStatus;
use crate::plane::wishes::Wish;

/// How tasks reach the data thread.
#[derive(Clone, Debug)]
pub struct PlaneHandle {
    post: Post<Command>,
    tickets: Arc<AtomicU64>,
}

/// A flow through the tunnel that stands, and waits for its application's socket. Dropped, it is reset.
#[derive(Debug)]
pub struct PlaneStream {
    stream: StreamId,
    leave: Leave,
}

/// Why a flow was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// Nothing allows it, or nothing allows it any more.
    #[error("{0}")]
    Denied(DenyReason),
    /// The application refused the connection.
    #[error("the application refused the connection")]
    Refused,
    /// The application did not answer.
    #[error("the application did not answer")]
    Silent,
    /// The data thread has ended.
    #[error("the data thread has ended")]
    Ended,
}

impl PlaneHandle {
    pub(super) fn new(post: Post<Command>) -> Self {
        Self { post, tickets: Arc::new(AtomicU64::new(0)) }
    }

    /// Does what the session decided. What is taken back is cut in the turn that reads this.
    pub async fn carry_out(&self, plane: ztna_session::Plane) {
        self.tell(Command::CarryOut(Box::new(plane))).await;
    }

    /// Opens a TCP flow to `destination`, an address inside the tunnel. Who waits no longer takes the wish back.
    pub async fn open(&self, destination: Endpoint) -> Result<PlaneStream, OpenError> {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let (answer, wait) = oneshot::channel();
        let mut leave = Leave::new(&self.post, Command::Forget(ticket));
        let wish = Command::Open { ticket, destination, answer };
        self.post.send(wish).await.map_err(|_| OpenError::Ended)?;
        let opened = wait.await.unwrap_or(Err(OpenError::Ended));
        leave.stay();
        let stream = opened?;
        Ok(PlaneStream { stream, leave: Leave::new(&self.post, Command::Drop(stream)) })
    }

    /// Says whether packets to what an application wished for may pass: those that wait go or are answered.
    pub async fn settle(&self, wish: Wish, outcome: Result<(), DenyReason>) {
        self.tell(Command::Settle(wish, outcome)).await;
    }

    /// Gives an application the answer to its question of names.
    pub async fn answer(&self, query: QueryId, message: Vec<u8>) {
        self.tell(Command::Answer(query, message)).await;
    }

    /// Tells the gateways where this device is, after its network changed, and the session where it can be reached.
    pub async fn network_changed(&self) {
        self.tell(Command::NetworkChanged).await;
    }

    /// How it stands. A data thread that has ended stands like one that has done nothing yet.
    pub async fn status(&self) -> PlaneStatus {
        let (answer, wait) = oneshot::channel();
        self.tell(Command::Status(answer)).await;
        wait.await.unwrap_or_default()
    }

    async fn tell(&self, command: Command) {
        if self.post.send(command).await.is_err() {
            tracing::error!("the data thread has ended");
        }
    }
}

impl PlaneStream {
    /// Carries bytes between the flow and an application's socket until either is over, and tells how it went: first
    /// `first` to the target, then what the application sends, as far as `upstream` lets it pass (without one,
    /// everything). Each direction ends by itself. Who waits no longer resets both ends.
    pub async fn carry(mut self, socket: TcpStream, first: Vec<u8>, upstream: Option<Upstream>) -> Carried {
        let Ok(connection) = Connection::take_over(socket) else { return Carried::BROKEN };
        let (done, wait) = oneshot::channel();
        let load = Load { stream: self.stream, connection, first, upstream, done };
        if self.leave.post.send(Command::Carry(Box::new(load))).await.is_err() {
            return Carried::BROKEN;
        }
        let carried = wait.await.unwrap_or(Carried::BROKEN);
        self.leave.stay();
        carried
    }
}

/// Takes back what was asked for, unless it is over by then.
#[derive(Debug)]
struct Leave {
    post: Post<Command>,
    command: Option<Command>,
}

impl Leave {
    fn new(post: &Post<Command>, command: Command) -> Self {
        Self { post: post.clone(), command: Some(command) }
    }

    fn stay(&mut self) {
        self.command = None;
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let Some(command) = self.command.take() else { return };
        // A data thread that has ended keeps nothing; one that is behind is told by a task that can wait.
        if let Err(PostError::Full(command)) = self.post.try_send(command)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let post = self.post.clone();
            runtime.spawn(async move { post.send(command).await.is_ok() });
        }
    }
}
