use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::gateway_name::{GatewayPeer, PeerError};

/// Why there is no TLS connection.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// We refused the other side, or it refused us.
    #[error("TLS: {}", in_words(.0))]
    Refused(#[source] rustls::Error),
    /// The other side took too long.
    #[error("TLS: no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The connection broke.
    #[error("TLS: the connection broke: {0}")]
    Broken(#[source] io::Error),
}

/// Begins TLS as the client of the server that has to prove `name`.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    within: Duration,
) -> Result<client::TlsStream<S>, HandshakeError> {
    let handshake = TlsConnector::from(config).connect(name, stream);
    Ok(timeout(within, handshake).await.map_err(|_| HandshakeError::Silent(within))??)
}

/// Begins TLS as the server. With TLS 1.3 a client learns that its certificate was refused when it first reads.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Arc<ServerConfig>,
    within: Duration,
) -> Result<server::TlsStream<S>, HandshakeError> {
    let handshake = TlsAcceptor::from(config).accept(stream);
    Ok(timeout(within, handshake).await.map_err(|_| HandshakeError::Silent(within))??)
}

/// Which gateway is at the other end of a connection taken under [`super::gateway_server_config`].
pub fn gateway_peer<S>(stream: &server::TlsStream<S>) -> Result<GatewayPeer, PeerError> {
    let (_, connection) = stream.get_ref();
    let certificate =
        connection.peer_certificates().and_then(<[_]>::first).ok_or(PeerError::NoCertificate)?;
    GatewayPeer::from_certificate(certificate)
}

/// The library shows reasons that are not its own in Rust's notation.
fn in_words(cause: &rustls::Error) -> String {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(reason)) = cause {
        reason.0.to_string()
    } else {
        cause.to_string()
    }
}

impl From<io::Error> for HandshakeError {
    fn from(cause: io::Error) -> Self {
        match cause.downcast::<rustls::Error>() {
            Ok(refused) => Self::Refused(refused),
            Err(broken) => Self::Broken(broken),
        }
    }
}
