use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
};
use ztna_model::{OrgId, WallTime};

use super::client::{TrustError, store};
use super::gateway_name::{GatewayPeer, PeerError};
use super::{Alpn, IdentitySlot, provider};

/// Which gateways may connect.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Those of this organisation,
    pub org: OrgId,
    /// with a certificate by one of these authorities (the current one and the next).
    pub authorities: Vec<CertificateDer<'static>>,
}

/// For devices and people, who prove themselves by other means than a certificate.
pub fn server_config(identity: Arc<IdentitySlot>, alpn: Alpn) -> Result<Arc<ServerConfig>, TrustError> {
    config(identity, Arc::new(NoClientAuth), alpn)
}

/// For gateways, whose certificates are required and checked. A certificate that ran out less than 30 days ago is let
/// in as well, so that it can be renewed: see [`GatewayPeer::is_expired`].
pub fn gateway_server_config(
    identity: Arc<IdentitySlot>,
    admitted: Admitted,
    alpn: Alpn,
) -> Result<Arc<ServerConfig>, TrustError> {
    let unusable = |cause: String| TrustError::UnusableRoots { cause };
    let roots = store(&admitted.authorities).map_err(|cause| unusable(cause.to_string()))?;
    let chain = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let chain = chain.map_err(|cause| unusable(cause.to_string()))?;
    config(identity, Arc::new(GatewayVerifier { chain, org: admitted.org }), alpn)
}

fn config(
    identity: Arc<IdentitySlot>,
    clients: Arc<dyn ClientCertVerifier>,
    alpn: Alpn,
) -> Result<Arc<ServerConfig>, TrustError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|cause| TrustError::Unsupported { cause })?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(identity as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = alpn.protocols();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct GatewayVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    org: OrgId,
}

impl ClientCertVerifier for GatewayVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let peer = GatewayPeer::from_certificate(end_entity).map_err(refusal)?;
        if peer.name.org != self.org {
            return Err(refusal(PeerError::OtherOrganisation));
        }
        // One that ran out lately is judged as on its last day.
        let wall = WallTime::from_secs(now.as_secs());
        let renewable = peer.is_expired(wall) && !peer.is_lost(wall);
        let judged_at =
            if renewable { UnixTime::since_unix_epoch(peer.not_after.since(WallTime::EPOCH)) } else { now };
        self.chain.verify_client_cert(end_entity, intermediates, judged_at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn refusal(cause: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
}
