//! TLS 1.3 between our own parts, by ring, from configurations built here: never the process-wide default.
//!
//! Sessions are not resumed: each connection proves its certificate anew, so a certificate that was replaced, ran out
//! or was withdrawn is noticed at the next connection.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

mod identity;
pub use identity::{Identity, IdentityError, IdentitySlot};

mod gateway_name;
pub use gateway_name::{GatewayName, GatewayPeer, PeerError};

mod gateway_chain;
pub use gateway_chain::{ChainError, check_gateway_chain};

mod root;
pub use root::{RootError, root_hash, root_hash_of};

mod client;
pub use client::{Trust, TrustError, client_config, issuer_config, server_name};

mod server;
pub use server::{Admitted, gateway_server_config, server_config};

mod stream;
pub use stream::{HandshakeError, accept, connect, gateway_peer};

#[cfg(test)]
mod tests;

/// What is spoken inside a connection (RFC 7301).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alpn {
    /// HTTP/2, or else HTTP/1.1.
    Http,
    /// HTTP/1.1 alone, as WebSockets need it.
    Http1,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        let (http2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http => vec![http2, http1],
            Self::Http1 => vec![http1],
        }
    }
}

/// The cryptography of every configuration here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
