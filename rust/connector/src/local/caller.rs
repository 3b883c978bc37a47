use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ztna_model::{Secret, secs};
use ztna_proxy::{Conversation, Destination, Form, Output, Upstream, Verdict};

use crate::local::Dialler;
use crate::local::verdict::verdict;
use crate::plane::{PlaneHandle, PlaneStream};

/// One application's connection.
pub(super) struct Caller {
    stream: TcpStream,
    conversation: Conversation,
    /// What the application sent and the conversation has not taken.
    ahead: Vec<u8>,
    patience: Duration,
}

/// What a conversation comes to.
enum Turn {
    /// The application is to send more.
    Listen,
    /// Somebody must be asked.
    Ask(Destination),
    /// The way is open.
    Stream { first: Vec<u8>, upstream: Upstream },
    /// It is over.
    Close,
}

/// The application is gone, or took too long.
struct Gone;

impl Caller {
    pub(super) fn new(stream: TcpStream, secret: &Secret<String>, patience: Duration) -> Self {
        Self { stream, conversation: Conversation::new(secret), ahead: Vec::new(), patience }
    }

    /// Serves the application until it is done.
    pub(super) async fn serve(mut self, dialler: &impl Dialler, plane: &PlaneHandle) {
        let mut opened = None;
        loop {
            match self.next().await {
                Ok(Turn::Ask(destination)) => match self.ask(&destination, dialler, plane).await {
                    Ok(stream) => opened = stream,
                    Err(Gone) => return,
                },
                Ok(Turn::Stream { first, upstream }) => {
                    if let Some(stream) = opened {
                        self.carry(stream, first, upstream).await;
                    }
                    return;
                }
                Ok(Turn::Close) => return self.close().await,
                Ok(Turn::Listen) | Err(Gone) => return,
            }
        }
    }

    /// Talks with the application until something else is to be done.
    async fn next(&mut self) -> Result<Turn, Gone> {
        match timeout(self.patience, self.talk()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    async fn talk(&mut self) -> io::Result<Turn> {
        loop {
            match self.speak().await? {
                Turn::Listen => {}
                turn @ (Turn::Ask(_) | Turn::Stream { .. } | Turn::Close) => return Ok(turn),
            }
            if self.ahead.is_empty() && self.hear().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = self.conversation.handle(&self.ahead);
            self.ahead.drain(..taken);
        }
    }

    async fn hear(&mut self) -> io::Result<usize> {
        self.ahead.reserve(PIECE);
        self.stream.read_buf(&mut self.ahead).await
    }

    /// Does what the conversation wants, as far as that can be done here.
    async fn speak(&mut self) -> io::Result<Turn> {
        while let Some(output) = self.conversation.poll() {
            match output {
                Output::Reply(bytes) => self.stream.write_all(&bytes).await?,
                Output::Ask(destination) => return Ok(Turn::Ask(destination)),
                Output::Stream { first, upstream } => return Ok(Turn::Stream { first, upstream }),
                Output::Close => return Ok(Turn::Close),
            }
        }
        Ok(Turn::Listen)
    }

    /// Finds out whether the application may go there, and opens the way. An application that leaves meanwhile takes
    /// its wish back.
    async fn ask(
        &mut self,
        destination: &Destination,
        dialler: &impl Dialler,
        plane: &PlaneHandle,
    ) -> Result<Option<PlaneStream>, Gone> {
        let way = async {
            let endpoint = dialler.dial(destination).await?;
            plane.open(endpoint).await.map_err(verdict)
        };
        let outcome = tokio::select! {
            outcome = way => outcome,
            () = departure(&self.stream, &mut self.ahead, destination.form) => return Err(Gone),
        };
        let (stream, verdict) = match outcome {
            Ok(stream) => (Some(stream), Verdict::Connected),
            Err(verdict) => (None, verdict),
        };
        self.conversation.answer(verdict);
        Ok(stream)
    }

    async fn carry(self, stream: PlaneStream, mut first: Vec<u8>, mut upstream: Upstream) {
        let passed = upstream.pass(&self.ahead);
        first.extend_from_slice(self.ahead.get(..passed).unwrap_or_default());
        let carried = stream.carry(self.stream, first, Some(upstream)).await;
        tracing::debug!(?carried, "a flow is over");
    }

    /// Closes in good order: a socket closed with unread bytes is reset, and the last reply is lost with it.
    async fn close(mut self) {
        let unread = async {
            self.stream.shutdown().await?;
            let mut left = MOST_UNREAD;
            while left > 0 {
                self.ahead.clear();
                match self.hear().await? {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
            }
            io::Result::Ok(())
        };
        // Whatever comes of it, nothing more can be done for the application.
        let _ = timeout(FAREWELL, unread).await;
    }
}

/// Returns when the application is gone. Until then its bytes are kept, as many as it may send ahead.
///
/// One that has sent a plain request may finish sending before it has its answer; for a tunnel that makes no sense.
async fn departure(stream: &TcpStream, ahead: &mut Vec<u8>, form: Form) {
    while ahead.len() < MOST_AHEAD {
        if stream.readable().await.is_err() {
            return;
        }
        ahead.reserve(PIECE);
        match stream.try_read_buf(ahead) {
            Ok(0) => match form {
                Form::Absolute => break,
                Form::Socks | Form::Connect => return,
            },
            Err(cause) if cause.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
    std::future::pending::<()>().await;
}

/// How much is read at a time.
const PIECE: usize = 4 << 10;
/// What an application may send before the way is open: a TLS greeting, or the beginning of a body.
const MOST_AHEAD: usize = 64 << 10;
/// How long, and how much, is read and thrown away after the last reply.
const FAREWELL: Duration = secs(1);
const MOST_UNREAD: usize = 256 << 10;
