use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use ztna_api::WireError;
use ztna_api::gateway::{FromGateway, STREAM_PATH, ToGateway};
use ztna_model::{RootHash, Time, secs};
use ztna_net::clock::Clock;
use ztna_net::tcp::{self, DialError};
use ztna_net::tls::{self, Alpn, HandshakeError, IdentitySlot, Trust, TrustError};

use crate::certificate::Listener;

/// One WebSocket to the broker, under both ends' certificates.
pub(crate) struct Stream {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// What the listener's name stood for when it was opened.
    pub(crate) brokers: Vec<SocketAddr>,
    heard: Time,
}

/// Why there is no stream, or no longer one.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    #[error("the listener's address names no server")]
    NoName,
    #[error("the WebSocket broke: {0}")]
    WebSocket(Box<tungstenite::Error>),
    #[error("the broker did not answer in time")]
    Silent,
    #[error("the broker closed the stream")]
    Closed,
    #[error("a frame is not understood: {0}")]
    Frame(#[from] WireError),
}

impl Stream {
    /// Opens a stream to a broker that proves `root`; `identity` is what is presented.
    pub(crate) async fn open(
        listener: &Listener,
        root: RootHash,
        identity: Arc<IdentitySlot>,
    ) -> Result<Self, StreamError> {
        let tls = tls::client_config(&Trust::Pinned(root), Some(identity), Alpn::Http1)?;
        let name = listener.server_name().ok_or(StreamError::NoName)?;
        let brokers = tcp::resolve(&listener.host, listener.port, OPENING).await?;
        let stream = tcp::dial_first(&brokers, OPENING).await?;
        let stream = tls::connect(stream, name, tls, OPENING).await?;
        let url = format!("wss://{}{STREAM_PATH}", listener.authority());
        let handshake = client_async_with_config(url, stream, Some(limits()));
        let (socket, _) = timeout(OPENING, handshake).await.map_err(|_| StreamError::Silent)??;
        Ok(Self { socket, brokers, heard: Clock.now() })
    }

    /// Says `frame`.
    pub(crate) async fn say(&mut self, frame: FromGateway) -> Result<(), StreamError> {
        self.write(Message::text(frame.write())).await
    }

    /// Says `frame` and whatever else waits, in one go.
    pub(crate) async fn say_all(
        &mut self,
        frame: FromGateway,
        waiting: &mut UnboundedReceiver<FromGateway>,
    ) -> Result<(), StreamError> {
        let mut next = Some(frame);
        let saying = async {
            while let Some(frame) = next {
                self.socket.feed(Message::text(frame.write())).await?;
                next = waiting.try_recv().ok();
            }
            self.socket.flush().await
        };
        Ok(timeout(SILENCE, saying).await.map_err(|_| StreamError::Silent)??)
    }

    /// Asks for a sign of life. A broker that has given none for long is gone.
    pub(crate) async fn ping(&mut self) -> Result<(), StreamError> {
        if Clock.now().since(self.heard) > SILENCE {
            return Err(StreamError::Silent);
        }
        self.write(Message::Ping(tungstenite::Bytes::new())).await
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<ToGateway, StreamError> {
        loop {
            let message = self.socket.next().await;
            self.heard = Clock.now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(ToGateway::read(text.as_bytes())?),
                // Pings are answered by the library; nothing of ours is binary.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Err(StreamError::Closed),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The broker's first frame, for which it has as long as for the rest of the opening.
    pub(crate) async fn first(&mut self) -> Result<ToGateway, StreamError> {
        timeout(OPENING, self.next()).await.map_err(|_| StreamError::Silent)?
    }

    /// Takes leave.
    pub(crate) async fn close(mut self) {
        // The other end may be gone already.
        let _ = timeout(OPENING, self.socket.close(None)).await;
    }

    async fn write(&mut self, message: Message) -> Result<(), StreamError> {
        Ok(timeout(SILENCE, self.socket.send(message)).await.map_err(|_| StreamError::Silent)??)
    }
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(ToGateway::LONGEST))
        .max_frame_size(Some(ToGateway::LONGEST))
        .max_write_buffer_size(4 * FromGateway::LONGEST)
}

impl From<tungstenite::Error> for StreamError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

const OPENING: Duration = secs(10);
/// How often to ping. Together with [`SILENCE`] below the 20 seconds within which a gateway that was cut off is
/// replaced: the broker hears the pings, and the gateway their answers.
pub(crate) const PING_EVERY: Duration = secs(4);
const SILENCE: Duration = secs(12);
