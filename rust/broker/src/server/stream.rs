use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc;
use tokio::time::timeout;
use ztna_api::device::FromDevice;
use ztna_api::gateway::FromGateway;
use ztna_api::token::STREAM_PATH;
use ztna_model::{PublicKey, secs};
use ztna_net::tls::GatewayPeer;
use ztna_pdp::StreamId;

use super::answer::{Endpoint, problem, refuse};
use super::front::Front;
use super::limits::Place;
use super::presented;
use super::public::{overloaded, refuse_with_nonce};
use crate::desk::{Goodbye, Handle, Overloaded, Saying, Told, outbox};

mod pace; // how fast one stream may speak
use pace::Pace;

/// Held by each stream: when nobody holds one any more, all have said goodbye.
pub(crate) type Present = mpsc::Sender<()>;

/// Streams that are there, and how to wait until none is.
pub(crate) fn presence() -> (Present, mpsc::Receiver<()>) {
    mpsc::channel(1)
}

/// Opens a device's stream. Token and proof are looked at before there is a WebSocket, and a browser never gets one.
pub(super) async fn of_device(
    State(front): State<Arc<Front>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if headers.contains_key(ORIGIN) {
        return problem(StatusCode::FORBIDDEN, "browsers have no business here");
    }
    if !offers_protocol(&headers) {
        return problem(StatusCode::BAD_REQUEST, "the subprotocol must be openztna.v1");
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let asked = presented::access_token(&headers).and_then(|token| {
        presented::proof(&front, &headers, &Method::GET, STREAM_PATH, Some(&token))
            .map(|proof| (proof, token))
    });
    let (proof, token) = match asked {
        Ok(asked) => asked,
        Err(error) => return refuse_with_nonce(&front, Endpoint::Resource, &error).await,
    };
    let (outbox, outgoing) = outbox(MOST_TO_DEVICE);
    let link = Link::new(&front, Side::Device, place, outgoing);
    let address = source.ip().to_canonical();
    match front.desk.open_device(link.stream, proof, token, address, outbox).await {
        Ok(Told { answer: Ok(()), .. }) => link.upgrade(upgrade, FromDevice::LONGEST),
        Ok(Told { answer: Err(error), nonce }) => refuse(Endpoint::Resource, &error, Some(&nonce)),
        Err(Overloaded) => refuse(Endpoint::Resource, &overloaded(), None),
    }
}

/// Opens a gateway's stream: its certificate must hold at this moment.
pub(super) async fn of_gateway(
    State(front): State<Arc<Front>>,
    Extension(peer): Extension<GatewayPeer>,
    Extension(place): Extension<Arc<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if peer.is_expired(front.clock.wall()) {
        return problem(StatusCode::FORBIDDEN, "the certificate ran out: renew it");
    }
    let Some(key) = p256(&peer.spki) else {
        return problem(StatusCode::FORBIDDEN, "the certificate is for another kind of key");
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let (outbox, outgoing) = outbox(MOST_TO_GATEWAY);
    let link = Link::new(&front, Side::Gateway, place, outgoing);
    match front.desk.open_gateway(link.stream, peer.name.gateway, key, outbox).await {
        Ok(()) => link.upgrade(upgrade, FromGateway::LONGEST),
        Err(Overloaded) => problem(StatusCode::SERVICE_UNAVAILABLE, "the broker stops"),
    }
}

/// One stream between its socket and the desk. The desk hears of its end, however it ends.
struct Link {
    stream: StreamId,
    side: Side,
    desk: Handle,
    outgoing: mpsc::Receiver<Saying>,
    pace: Pace,
    _place: Arc<Place>,
    _present: Present,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Device,
    Gateway,
}

/// What a stream is closed with (RFC 6455, 7.4.1).
type Close = (u16, &'static str);

/// What happens next on a stream.
enum Next {
    Say(Option<Saying>),
    Heard(Option<Result<Message, axum::Error>>),
}

impl Link {
    fn new(front: &Front, side: Side, place: Arc<Place>, outgoing: mpsc::Receiver<Saying>) -> Self {
        let pace = match side {
            Side::Device => {
                let limits = front.sources.limits();
                Pace::new(limits.frames_per_second, limits.frames_at_once)
            }
            Side::Gateway => Pace::new(GATEWAY_PER_SECOND, GATEWAY_AT_ONCE),
        };
        let (desk, present) = (front.desk.clone(), front.present.clone());
        Self { stream: desk.stream(), side, desk, outgoing, pace, _place: place, _present: present }
    }

    fn upgrade(self, upgrade: WebSocketUpgrade, longest: usize) -> Response {
        upgrade
            .protocols([PROTOCOL])
            .max_message_size(longest)
            .max_frame_size(longest)
            .on_upgrade(|socket| self.carry(socket))
    }

    /// Carries frames both ways until either side ends.
    async fn carry(mut self, mut socket: WebSocket) {
        let close = loop {
            let next = tokio::select! {
                saying = self.outgoing.recv() => Next::Say(saying),
                heard = async { self.pace.wait().await; socket.recv().await } => Next::Heard(heard),
            };
            let step = match next {
                Next::Say(saying) => say(&mut socket, saying).await,
                Next::Heard(heard) => self.hear(heard).await,
            };
            if let Err(close) = step {
                break close;
            }
        };
        if let Some((code, reason)) = close {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            let _ = timeout(WRITE, socket.send(Message::Close(Some(frame)))).await; // it may be gone
        }
    }

    /// Passes on what the other end says.
    async fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), Option<Close>> {
        self.pace.count(); // whatever it is: pings and pongs cost something, too
        let text = match heard {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()), // the library answers
            Some(Ok(Message::Binary(_))) => {
                return Err(Some((close_code::UNSUPPORTED, "nothing here is binary")));
            }
            Some(Ok(Message::Close(_))) | None => return Err(None),
            // A frame beyond the cap is the one error after which there is somebody to tell.
            Some(Err(_)) => return Err(Some((close_code::SIZE, "the frame is too long"))),
        };
        let unread = |error: ztna_api::WireError| {
            tracing::info!(stream = self.stream.0, side = ?self.side, %error, "a frame is not understood");
            Some((close_code::INVALID, "the frame is not understood"))
        };
        let told = match self.side {
            Side::Device => {
                let frame = FromDevice::read(text.as_bytes()).map_err(unread)?;
                self.desk.device_says(self.stream, frame).await
            }
            Side::Gateway => {
                let frame = FromGateway::read(text.as_bytes()).map_err(unread)?;
                self.desk.gateway_says(self.stream, frame).await
            }
        };
        told.map_err(|Overloaded| Some(COME_BACK))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let (desk, stream) = (self.desk.clone(), self.stream);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { desk.closed(stream).await });
        }
    }
}

/// Says what waits to be said; a peer that does not take it in time is cut.
async fn say(socket: &mut WebSocket, saying: Option<Saying>) -> Result<(), Option<Close>> {
    let text = match saying {
        Some(Saying::Goodbye(Goodbye::Done)) => return Err(Some((close_code::NORMAL, ""))),
        Some(Saying::Goodbye(Goodbye::ComeBack)) => return Err(Some(COME_BACK)),
        Some(saying) => saying.text().unwrap_or_default(),
        None => return Err(Some((close_code::POLICY, "the stream is read too slowly"))),
    };
    match timeout(WRITE, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}

fn offers_protocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|name| name.trim() == PROTOCOL)
}

/// The key in a DER SubjectPublicKeyInfo.
fn p256(spki: &[u8]) -> Option<PublicKey> {
    let point = spki.get(spki.len().checked_sub(65)?..)?;
    PublicKey::from_p256_point(point).filter(|key| key.to_spki() == spki)
}

const PROTOCOL: &str = "openztna.v1";
/// The broker starts again: whoever had a stream opens another.
const COME_BACK: Close = (close_code::RESTART, "reconnect");
const WRITE: Duration = secs(10);

/// A full state and much more.
const MOST_TO_DEVICE: usize = 256;
/// A floor for each of many thousand sessions at once: a policy was edited.
const MOST_TO_GATEWAY: usize = 16_384;
/// A gateway speaks for all its devices.
const GATEWAY_PER_SECOND: u32 = 10_000;
const GATEWAY_AT_ONCE: u32 = 50_000;
