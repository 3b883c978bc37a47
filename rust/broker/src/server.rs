//! The broker on the network: a public listener for devices, people and gateways that enrol, and a listener for
//! gateways that are.
//!
//! ```text
//!   public    TLS 1.3, HTTP/1.1 and 2   discovery · nonce · token · sign-out · enrol · OpenID provider, or an external
//!                                        one's logouts · stream (WebSocket)
//!   gateways  mTLS 1.3, HTTP/1.1 and 2  renew · stream (WebSocket)
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use ztna_model::{minutes, secs};
use ztna_net::tls::{GatewayPeer, gateway_peer};
use ztna_net::{tcp, tls};

mod answer; // refusals
mod form; // what comes as a form
mod front; // what all handlers share
pub(crate) use front::Front;

mod limits; // how much one source may have
use limits::Place;
pub(crate) use limits::Sources;

mod presented; // proofs and tokens in headers
mod logout; // what an external provider says
mod public; // what everybody may ask
pub(crate) use public::router as public_router;

mod gateways; // what gateways may ask
pub(crate) use gateways::router as gateways_router;

mod stream; // control streams
pub(crate) use stream::presence;

/// One listener and what is served on it.
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) router: Router,
    /// Whether who connects has to be a gateway.
    pub(crate) gateways: bool,
}

/// Takes connections until `stop` says so; then lets what is being answered come to its end, for a while.
pub(crate) async fn serve(listening: Listening, sources: Arc<Sources>, mut stop: watch::Receiver<bool>) {
    let listening = Arc::new(listening);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            (stream, source) = tcp::accept(&listening.listener) => {
                let Some(place) = sources.take_place(source.ip()) else { continue }; // turned away unheard
                connections.spawn(connection(Arc::clone(&listening), stream, source, place, stop.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await; // the rest is cut
}

async fn connection(
    listening: Arc<Listening>,
    stream: TcpStream,
    source: SocketAddr,
    place: Place,
    stop: watch::Receiver<bool>,
) {
    // Handshakes do not queue for each other: who is silent in one would keep everybody else out.
    let stream = match tls::accept(stream, Arc::clone(&listening.tls), HANDSHAKE).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%source, %error, "no TLS"),
    };
    let mut router = listening.router.clone().layer(axum::Extension(ConnectInfo(source)));
    if listening.gateways {
        match gateway_peer(&stream) {
            Ok(peer) => router = router.layer(axum::Extension::<GatewayPeer>(peer)),
            Err(error) => return tracing::debug!(%source, %error, "no gateway"),
        }
    }
    // A place is for those who ask for something.
    let mut stream = BufReader::new(stream);
    if !matches!(timeout(HEADERS, stream.fill_buf()).await, Ok(Ok([_, ..]))) {
        return tracing::debug!(%source, "nothing was asked");
    }
    // Streams outlive the connection's own future, and take its place with them.
    let router = router.layer(axum::Extension(Arc::new(place)));
    if let Err(error) = http(stream, router, stop).await {
        tracing::debug!(%source, %error, "a connection broke");
    }
}

/// Answers requests on one connection. A WebSocket leaves it behind.
async fn http(
    stream: BufReader<TlsStream<TcpStream>>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(MOST_HEADER_BYTES);
    let mut http2 = builder.http2();
    let header_list = u32::try_from(MOST_HEADER_BYTES).unwrap_or(u32::MAX);
    http2.timer(TokioTimer::new()).max_concurrent_streams(MOST_REQUESTS).max_header_list_size(header_list);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served,
        () = stopped(&mut stop) => {}
        () = tokio::time::sleep(CONNECTION) => {} // nobody keeps one for ever: it is cheap to make another
    }
    connection.as_mut().graceful_shutdown();
    timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
}

/// Returns once the broker stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await; // a sender that is gone has stopped as well
}

const HANDSHAKE: Duration = secs(10);
const HEADERS: Duration = secs(10);
const CONNECTION: Duration = minutes(2);
const FAREWELL: Duration = secs(5);
const MOST_HEADER_BYTES: usize = 32 * 1024;
const MOST_REQUESTS: u32 = 64;
