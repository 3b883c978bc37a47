use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use ztna_api::WireError;
use ztna_api::discovery::Versions;
use ztna_api::gateway::{Beat, FromGateway, Hello, Reachable, STREAM_PATH, Statement, ToGateway, Welcome};
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_model::{Carrier, SignError, Time, WallTime, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::Post;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tcp::{self, DialError};
use ztna_net::tls::{self, Alpn, HandshakeError, IdentitySlot, Trust, TrustError};
use ztna_net::udp::Bind;

use crate::backoff::Backoff;
use crate::carriers::carriers;
use crate::certificate::Enrolment;
use crate::config::UdpConfig;
use crate::order::Order;
use crate::status::{Identity, Source};

/// The stream to the broker: opened again and again, for as long as the gateway runs.
///
/// While there is none, nothing is asked for and nothing renewed: leases run out by themselves.
pub(crate) struct Control {
    pub(crate) identity: Identity,
    /// The key of the certificate.
    pub(crate) key: P256Key,
    /// What is presented to the broker.
    pub(crate) slot: Arc<IdentitySlot>,
    pub(crate) enrolment: watch::Receiver<Enrolment>,
    /// Where datagrams are taken.
    pub(crate) port: PortFacts,
    pub(crate) post: Post<Order>,
    pub(crate) told: mpsc::UnboundedReceiver<FromGateway>,
    pub(crate) source: watch::Sender<Source>,
}

/// What is known of the one UDP port.
#[derive(Clone, Debug)]
pub(crate) struct PortFacts {
    pub(crate) config: UdpConfig,
    pub(crate) local: SocketAddr,
    pub(crate) bound: Bind,
}

/// Why there is no stream, or no longer one.
#[derive(Debug, Error)]
enum ControlError {
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
    #[error("the broker did not begin with `welcome`")]
    NoWelcome,
    #[error("the broker speaks version {0}")]
    Version(u16),
    #[error("the broker takes this gateway for another")]
    OtherGateway,
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the data thread has ended")]
    NoDataThread,
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

impl Control {
    /// Keeps a stream open for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut seen_keys = 0;
        loop {
            let outcome = self.stream(&mut backoff, &mut seen_keys).await;
            let Err(error) = outcome else {
                tracing::info!("the stream to the broker is opened anew, under the renewed certificate");
                continue;
            };
            let pause = backoff.next(&mut SystemRandom::new());
            tracing::warn!(%error, pause_ms = pause.as_millis(), "there is no stream to the broker");
            self.stands(None, Some(error.to_string()), Vec::new());
            self.pause(pause).await;
        }
    }

    /// Opens a stream and carries frames both ways, until it breaks or the certificate was renewed.
    async fn stream(&mut self, backoff: &mut Backoff, seen_keys: &mut u64) -> Result<(), ControlError> {
        let enrolment = self.enrolment.borrow_and_update().clone();
        let (mut socket, brokers) = self.open(&enrolment).await?;
        // What was said to an earlier stream is stale.
        while self.told.try_recv().is_ok() {}
        let carriers = self.carriers(&brokers);
        let hello = self.hello(&enrolment, carriers.clone())?;
        send(&mut socket, hello.into()).await?;
        let welcome = self.welcome(&mut socket, &enrolment, seen_keys).await?;
        self.order(welcome.into()).await?;
        backoff.reset();
        self.stands(Some(Clock.wall()), None, carriers.clone());
        tracing::info!("the stream to the broker is open");
        self.carry(socket, &brokers, carriers).await
    }

    async fn open(&self, enrolment: &Enrolment) -> Result<(Socket, Vec<SocketAddr>), ControlError> {
        let listener = &enrolment.listener;
        let tls =
            tls::client_config(&Trust::Pinned(enrolment.root), Some(Arc::clone(&self.slot)), Alpn::Http1)?;
        let addresses = tcp::resolve(&listener.host, listener.port, OPENING).await?;
        let stream = tcp::dial_first(&addresses, OPENING).await?;
        let name = listener.server_name().ok_or(ControlError::NoName)?;
        let stream = tls::connect(stream, name, tls, OPENING).await?;
        let url = format!("wss://{}{STREAM_PATH}", listener.authority());
        let handshake = client_async_with_config(url, stream, Some(limits()));
        let (socket, _) = timeout(OPENING, handshake).await.map_err(|_| ControlError::Silent)??;
        Ok((socket, addresses))
    }

    /// Says who this is; the clock is read at this very moment.
    fn hello(&self, enrolment: &Enrolment, carriers: Vec<Carrier>) -> Result<Hello, ControlError> {
        let Identity { org, gateway, run, wg_pub, software } = self.identity.clone();
        let statement = Statement { org: org.clone(), gw: gateway, run, wg_pub };
        Ok(Hello {
            org,
            versions: Versions::OURS,
            statement: statement.sign(&self.key, enrolment.chain.clone())?,
            beat: Beat { run, now: Clock.now().as_millis() },
            wg_pub,
            carriers,
            software,
        })
    }

    async fn welcome(
        &self,
        socket: &mut Socket,
        enrolment: &Enrolment,
        seen_keys: &mut u64,
    ) -> Result<Welcome, ControlError> {
        let frame = timeout(OPENING, next_frame(socket)).await.map_err(|_| ControlError::Silent)??;
        let ToGateway::Welcome(welcome) = frame else { return Err(ControlError::NoWelcome) };
        if Versions::OURS.agree(Versions { min: welcome.version, max: welcome.version }).is_none() {
            return Err(ControlError::Version(welcome.version));
        }
        if welcome.gateway != self.identity.gateway {
            return Err(ControlError::OtherGateway);
        }
        let known = enrolment.known().max(*seen_keys);
        *seen_keys = KeySet::verify(&welcome.keys, &enrolment.org, &enrolment.root, known)?.seq;
        Ok(welcome)
    }

    /// Carries frames. A broker that says nothing, not even to a ping, is gone.
    async fn carry(
        &mut self,
        mut socket: Socket,
        brokers: &[SocketAddr],
        mut carriers: Vec<Carrier>,
    ) -> Result<(), ControlError> {
        let (mut pings, mut looks) = (every(PING_EVERY), every(LOOK_EVERY));
        let mut heard = Clock.now();
        loop {
            tokio::select! {
                frame = next_frame_or_sign(&mut socket) => {
                    heard = Clock.now();
                    if let Some(frame) = frame? {
                        self.order(frame).await?;
                    }
                }
                Some(frame) = self.told.recv() => self.say(&mut socket, frame).await?,
                _ = pings.tick() => ping(&mut socket, heard).await?,
                _ = looks.tick() => {
                    let found = self.carriers(brokers);
                    if found != carriers {
                        carriers = found;
                        send(&mut socket, Reachable { carriers: carriers.clone() }.into()).await?;
                        self.source.send_modify(|source| told_of(source, &carriers));
                    }
                }
                Ok(()) = self.enrolment.changed() => {
                    // The other end may be gone already.
                    let _ = timeout(OPENING, socket.close(None)).await;
                    return Ok(());
                }
            }
        }
    }

    /// Says `frame` and whatever else has been put by since, in one go.
    async fn say(&mut self, socket: &mut Socket, frame: FromGateway) -> Result<(), ControlError> {
        let mut next = Some(frame);
        let saying = async {
            while let Some(frame) = next {
                socket.feed(Message::text(frame.write())).await?;
                next = self.told.try_recv().ok();
            }
            socket.flush().await
        };
        Ok(timeout(SILENCE, saying).await.map_err(|_| ControlError::Silent)??)
    }

    async fn order(&self, frame: ToGateway) -> Result<(), ControlError> {
        let order = Order::Frame(Box::new(frame));
        self.post.send(order).await.map_err(|_| ControlError::NoDataThread)
    }

    fn carriers(&self, brokers: &[SocketAddr]) -> Vec<Carrier> {
        carriers(&self.port.config, self.port.local, self.port.bound, brokers)
    }

    /// Waits before the next try; a renewed certificate is reason to try at once.
    async fn pause(&mut self, pause: Duration) {
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                Ok(()) = self.enrolment.changed() => return,
                // Nobody hears it.
                Some(_) = self.told.recv() => {}
            }
        }
    }

    fn stands(&self, connected_since: Option<WallTime>, trouble: Option<String>, carriers: Vec<Carrier>) {
        let certificate_until = self.slot.current().not_after();
        self.source.send_replace(Source::Broker { connected_since, trouble, carriers, certificate_until });
    }
}

fn told_of(source: &mut Source, found: &[Carrier]) {
    match source {
        Source::Broker { carriers, .. } => *carriers = found.to_vec(),
        Source::File { .. } => {}
    }
}

async fn ping(socket: &mut Socket, heard: Time) -> Result<(), ControlError> {
    if Clock.now().since(heard) > SILENCE {
        return Err(ControlError::Silent);
    }
    write(socket, Message::Ping(tungstenite::Bytes::new())).await
}

async fn send(socket: &mut Socket, frame: FromGateway) -> Result<(), ControlError> {
    write(socket, Message::text(frame.write())).await
}

async fn write(socket: &mut Socket, message: Message) -> Result<(), ControlError> {
    Ok(timeout(SILENCE, socket.send(message)).await.map_err(|_| ControlError::Silent)??)
}

async fn next_frame(socket: &mut Socket) -> Result<ToGateway, ControlError> {
    loop {
        if let Some(frame) = next_frame_or_sign(socket).await? {
            return Ok(frame);
        }
    }
}

/// The next frame, or nothing where it was only a sign of life.
async fn next_frame_or_sign(socket: &mut Socket) -> Result<Option<ToGateway>, ControlError> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Ok(Some(ToGateway::read(text.as_bytes())?)),
        // Pings are answered by the library; nothing of ours is binary.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(ControlError::Closed),
        Some(Err(error)) => Err(error.into()),
    }
}

fn every(span: Duration) -> Interval {
    let mut interval = interval(span);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(ToGateway::LONGEST))
        .max_frame_size(Some(ToGateway::LONGEST))
        .max_write_buffer_size(4 * FromGateway::LONGEST)
}

impl From<tungstenite::Error> for ControlError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

const OPENING: Duration = secs(10);
const FIRST_PAUSE: Duration = millis(100);
const LONGEST_PAUSE: Duration = secs(30);
/// Together with [`SILENCE`] below the 20 seconds within which a gateway that was cut off is replaced: the broker hears
/// the pings, and the gateway their answers.
const PING_EVERY: Duration = secs(4);
const SILENCE: Duration = secs(12);
const LOOK_EVERY: Duration = secs(30);
