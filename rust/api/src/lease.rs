//! Leases as the broker signs them and gateways verify them (JWS EdDSA, `openztna-lease+jws`).

use ztna_model::{Lease, PublicKey, SignError, Signer};

use crate::jws::{self, Header, JwsError, Unverified};
use crate::key;
use crate::keyset::{KeySet, KeyUse};

/// Signs `lease` with a lease key.
pub fn sign(signer: &dyn Signer, lease: &Lease) -> Result<String, SignError> {
    let kid = Some(key::thumbprint(&signer.public_key()).to_string());
    jws::sign(signer, TYP, lease, Header { kid, ..Header::default() })
}

/// The lease in `text`, if a lease key of `keys` signed it. What it claims is the gate's to check.
pub fn verify(text: &str, keys: &KeySet) -> Result<Lease, JwsError> {
    let jws = Unverified::parse(text, TYP, &[])?;
    let kid = jws.header().kid.as_deref().ok_or(JwsError::KeyMisplaced)?;
    let signer: &PublicKey = keys.signing(KeyUse::Lease, kid).ok_or(JwsError::BadSignature)?;
    jws.verify(signer)
}

const TYP: &str = "openztna-lease+jws";
