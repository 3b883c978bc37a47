//! What other programs prove themselves by.

use ztna_net::tls::GatewayPeer;

/// Certificates: a gateway's name that is read writes back to itself.
pub(crate) fn certificate(bytes: &[u8]) {
    if let Ok(peer) = GatewayPeer::from_certificate(bytes) {
        assert_eq!(peer.name.to_string().parse(), Ok(peer.name), "a name reads back");
    }
}
