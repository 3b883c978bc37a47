use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use thiserror::Error;
use ztna_model::{OrgId, WallTime};

use super::gateway_name::{GatewayPeer, PeerError};
use super::provider;

/// Why a chain of certificates does not make somebody a gateway.
#[derive(Debug, Error)]
pub enum ChainError {
    /// There is none.
    #[error("there are no certificates")]
    Empty,
    /// The authority that should have issued it cannot be used.
    #[error("the authority's certificate cannot be used: {0}")]
    BadAuthority(String),
    /// The authority did not issue it, or not for today.
    #[error("the authority did not issue it: {0}")]
    NotIssued(rustls::Error),
    /// It names no gateway of this organisation.
    #[error(transparent)]
    NotAGateway(#[from] PeerError),
}

/// The gateway of `org` that `chain` (DER, leaf first) certifies under `authority` at `now`.
pub fn check_gateway_chain(
    chain: &[Vec<u8>],
    authority: &[u8],
    org: &OrgId,
    now: WallTime,
) -> Result<GatewayPeer, ChainError> {
    let (leaf, between) = chain.split_first().ok_or(ChainError::Empty)?;
    let bad = |error: &dyn std::fmt::Display| ChainError::BadAuthority(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority)).map_err(|error| bad(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let verifier = verifier.build().map_err(|error| bad(&error))?;
    let between: Vec<CertificateDer<'_>> =
        between.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis()));
    verifier
        .verify_client_cert(&CertificateDer::from(leaf.as_slice()), &between, now)
        .map_err(ChainError::NotIssued)?;
    let peer = GatewayPeer::from_certificate(leaf)?;
    if peer.name.org == *org { Ok(peer) } else { Err(PeerError::OtherOrganisation.into()) }
}
