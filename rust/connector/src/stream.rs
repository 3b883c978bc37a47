use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{HOST, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use ztna_api::device::{FromDevice, ToDevice};
use ztna_model::{Host, OrgId, Port, secs};
use ztna_net::{tcp, tls};
use ztna_session::Request;

/// What happens on a control stream. `generation` tells streams apart: what an earlier one still says counts no more.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    pub(crate) generation: u64,
    pub(crate) happened: Happened,
}

#[derive(Debug)]
pub(crate) enum Happened {
    Opened,
    Frame(Box<ToDevice>),
    /// It could not be opened, or broke. `refused`: the broker would not have the token.
    Closed {
        refused: bool,
    },
}

/// The driver's end of a control stream; dropping it closes the stream.
#[derive(Debug)]
pub(crate) struct ControlStream {
    pub(crate) generation: u64,
    frames: mpsc::UnboundedSender<FromDevice>,
}

impl ControlStream {
    /// Opens the stream that `request` asks for; what happens on it is told to `events`.
    pub(crate) fn open(
        org: OrgId,
        request: Request,
        tls: Arc<ClientConfig>,
        generation: u64,
        events: mpsc::Sender<StreamEvent>,
    ) -> Self {
        let (frames, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let tell = |happened| events.send(StreamEvent { generation, happened });
            let refused = match connect(&org, request, tls).await {
                Ok(socket) => {
                    // Nobody listens any more: nothing is left to be told.
                    let _ = tell(Happened::Opened).await;
                    carry(socket, outgoing, |frame| tell(Happened::Frame(Box::new(frame)))).await;
                    false
                }
                Err(error) => {
                    tracing::info!(%error, "the control stream was not opened");
                    matches!(error, OpenError::Refused)
                }
            };
            let _ = tell(Happened::Closed { refused }).await;
        });
        Self { generation, frames }
    }

    /// Sends `frame`. On a stream that is gone it goes nowhere: its end is told elsewhere.
    pub(crate) fn send(&self, frame: FromDevice) {
        let _ = self.frames.send(frame);
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Dial(#[from] tcp::DialError),
    #[error("{0}")]
    Tls(#[from] tls::HandshakeError),
    #[error("the organisation's address names no server")]
    NoName,
    #[error("the broker refuses the token")]
    Refused,
    #[error("{0}")]
    Handshake(Box<Error>),
    #[error("the request cannot be made: {0}")]
    Request(String),
    #[error("no answer within {} s", OPENING.as_secs())]
    Silent,
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn connect(org: &OrgId, request: Request, tls: Arc<ClientConfig>) -> Result<Socket, OpenError> {
    let host: Host = org.host().parse().map_err(|_| OpenError::NoName)?;
    let port = Port::new(org.port()).ok_or(OpenError::NoName)?;
    let addresses = tcp::resolve(&host, port, OPENING).await?;
    let tcp = tcp::dial_first(&addresses, OPENING).await?;
    let name = tls::server_name(org).ok_or(OpenError::NoName)?;
    let stream = tls::connect(tcp, name, tls, OPENING).await?;
    let request = upgrade(org, request)?;
    let handshake = tokio_tungstenite::client_async_with_config(request, stream, Some(limits()));
    match tokio::time::timeout(OPENING, handshake).await {
        Err(_) => Err(OpenError::Silent),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(answer))) if answer.status() == http::StatusCode::UNAUTHORIZED => {
            Err(OpenError::Refused)
        }
        Ok(Err(error)) => Err(OpenError::Handshake(Box::new(error))),
    }
}

/// The session's request with what RFC 6455 adds.
fn upgrade(org: &OrgId, request: Request) -> Result<http::Request<()>, OpenError> {
    let text =
        |text: &str| HeaderValue::from_str(text).map_err(|error| OpenError::Request(error.to_string()));
    let (mut parts, _) = request.into_parts();
    // The proof names the request by its `https` form; the library wants the other.
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let uri = format!("wss://{}{path}", org.authority());
    parts.uri = uri.parse().map_err(|error: http::uri::InvalidUri| OpenError::Request(error.to_string()))?;
    parts.headers.insert(HOST, text(org.authority())?);
    parts.headers.insert(SEC_WEBSOCKET_KEY, text(&generate_key())?);
    parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    Ok(http::Request::from_parts(parts, ()))
}

/// Carries frames both ways until either side ends.
async fn carry<F>(
    mut socket: Socket,
    mut outgoing: mpsc::UnboundedReceiver<FromDevice>,
    tell: impl Fn(ToDevice) -> F,
) where
    F: Future<Output = Result<(), mpsc::error::SendError<StreamEvent>>>,
{
    loop {
        tokio::select! {
            frame = outgoing.recv() => {
                let Some(frame) = frame else { break };
                if let Err(error) = socket.send(Message::text(frame.write())).await {
                    tracing::info!(%error, "the control stream broke");
                    return;
                }
            }
            message = socket.next() => {
                let frame = match message {
                    Some(Ok(Message::Text(text))) => ToDevice::read(text.as_bytes()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    // Pings are answered by the library; nothing of ours is binary.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => continue,
                };
                match frame {
                    Ok(frame) => if tell(frame).await.is_err() { break },
                    // A restriction that is not understood must not be overlooked: better no stream than half of one.
                    Err(error) => {
                        tracing::warn!(%error, "a frame of the broker is not understood");
                        break;
                    }
                }
            }
        }
    }
    // The other side may be gone already.
    let _ = socket.close(None).await;
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(ToDevice::LONGEST))
        .max_frame_size(Some(ToDevice::LONGEST))
        .max_write_buffer_size(4 * FromDevice::LONGEST)
}

const OPENING: Duration = secs(10);
