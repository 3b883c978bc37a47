use thiserror::Error;
use ztna_api::gateway::Statement;
use ztna_api::jws::JwsError;
use ztna_api::keyset::{KeySet, KeyUse};
use ztna_model::{Grant, OrgId, PublicKey, WallTime, base64url};
use ztna_net::tls::{ChainError, GatewayPeer, check_gateway_chain};

/// Why a grant's gateway is not the organisation's.
#[derive(Debug, Error)]
pub(crate) enum GrantError {
    /// What the gateway says of its key is not sound.
    #[error("the gateway's statement: {0}")]
    Statement(#[from] JwsError),
    /// No authority of the organisation's vouches for it.
    #[error("the gateway's certificate: {0}")]
    Chain(#[from] ChainError),
    /// The key set names no authority for gateways.
    #[error("the organisation has no authority for gateways")]
    NoAuthority,
    /// It says something else than the grant.
    #[error("the gateway's statement says something else than the grant")]
    Mismatch,
}

/// Whether the gateway that `grant` names, with the key that it names, is one of `org`'s at `now`: the device believes
/// neither the broker's word for it nor anything that came over the network in between.
pub(crate) fn check(grant: &Grant, keys: &KeySet, org: &OrgId, now: WallTime) -> Result<(), GrantError> {
    let chain = Statement::certificates(&grant.statement)?;
    let chain: Option<Vec<Vec<u8>>> = chain.iter().map(|text| base64url::decode(text)).collect();
    let peer = authority(&chain.ok_or(JwsError::Malformed)?, keys, org, now)?;
    let statement = Statement::verify(&grant.statement, &signer(&peer)?)?;
    let agrees = statement.org == *org
        && statement.gw == grant.gateway
        && peer.name.gateway == grant.gateway
        && statement.wg_pub == grant.gateway_key;
    if agrees { Ok(()) } else { Err(GrantError::Mismatch) }
}

fn authority(
    chain: &[Vec<u8>],
    keys: &KeySet,
    org: &OrgId,
    now: WallTime,
) -> Result<GatewayPeer, GrantError> {
    let mut outcome = Err(GrantError::NoAuthority);
    for key in keys.of(KeyUse::GatewayCa) {
        let Some(der) = key.certificate.as_deref().and_then(base64url::decode) else { continue };
        match check_gateway_chain(chain, &der, org, now) {
            Ok(peer) => return Ok(peer),
            Err(error) => outcome = Err(error.into()),
        }
    }
    outcome
}

fn signer(peer: &GatewayPeer) -> Result<PublicKey, GrantError> {
    // A P-256 SubjectPublicKeyInfo ends in the uncompressed point.
    let point = peer.spki.len().checked_sub(POINT).and_then(|start| peer.spki.get(start..));
    let key = point.and_then(PublicKey::from_p256_point).filter(|key| key.to_spki() == peer.spki);
    key.ok_or(GrantError::Statement(JwsError::KeyMisplaced))
}

const POINT: usize = 65;
