//! The organisation's keys, each for one purpose, in a directory that nobody else may enter.
//!
//! ```text
//!   root ─┬─ key set (JWS): lease · gateway CA · OpenID · audit, each current or next
//!         ├─ TLS CA ──── this broker's certificate, renewed at half its life
//!         └─ gateway CA ─ gateways' certificates, 24 hours
//!   store key: seals secrets in the store           master secret: nonces, codes, tokens of one life of the store
//! ```
//!
//! The root is needed to make the key set and the authorities, and for nothing else: its file may be taken away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::hmac;
use thiserror::Error;
use ztna_api::key::sha256_list;
use ztna_api::keyset::{KeySet, KeySetError, KeyUse};
use ztna_model::{Incarnation, OrgId, RootHash, Secret, SignError, Signer, WallTime};
use ztna_net::fs::FileError;
use ztna_net::keys::KeyError;

use crate::store::StoreKey;

mod authority; // who certifies whom
pub use authority::{Authority, CertifyError, GatewayRequest};

mod files; // how they lie on the disk
use files::{KeyFiles, Name};

mod set; // what the root vouches for

/// All keys of one organisation.
#[derive(Clone)]
pub struct KeyRing {
    dir: PathBuf,
    root: RootHash,
    has_root: bool,
    set: KeySet,
    signed_set: String,
    tls_ca: Arc<Authority>,
    gateway_ca: Arc<Authority>,
    openid: Arc<dyn Signer>,
    audit: Arc<dyn Signer>,
    store: StoreKey,
    master: Secret<Vec<u8>>,
}

/// Why there are no keys to work with.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key cannot be made or read.
    #[error("`{}`: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeyError,
    },
    /// A certificate cannot be made or read.
    #[error("`{}`: {cause}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The key set on the disk is not this organisation's, or not by this root.
    #[error("`{}`: {cause}", path.display())]
    Set {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeySetError,
    },
    /// Something changed that only the root can vouch for, and the root is not here.
    #[error("the key set must be signed anew: bring back `{}`", .0.display())]
    RootNeeded(PathBuf),
    /// The root did not sign.
    #[error("the root key did not sign: {0}")]
    Sign(#[from] SignError),
}

impl KeyRing {
    /// The keys in `dir`, which are made there if there is no such directory.
    pub fn open(dir: &Path, org: &OrgId, now: WallTime) -> Result<Self, KeysError> {
        if !dir.exists() {
            files::make(dir, org, now)?;
        }
        let files = KeyFiles::new(dir);
        let root_certificate = files.certificate(Name::Root)?;
        let root = ztna_net::tls::root_hash_of(&root_certificate).map_err(|cause| {
            KeysError::Certificate { path: files.certificate_path(Name::Root), cause: cause.to_string() }
        })?;
        let root_key = files.p256_if_there(Name::Root)?;
        let (set, signed_set) = set::open(&files, org, &root, root_key.as_ref())?;
        Ok(Self {
            dir: dir.into(),
            root,
            has_root: root_key.is_some(),
            set,
            signed_set,
            tls_ca: Arc::new(files.authority(Name::TlsCa, &[&root_certificate])?),
            gateway_ca: Arc::new(files.authority(Name::GatewayCa, &[])?),
            openid: Arc::new(files.p256(Name::OpenId)?),
            audit: Arc::new(files.ed25519(Name::Audit)?),
            store: StoreKey::new(files.secret32(Name::Store)?),
            master: files.secret(Name::Master)?,
        })
    }

    /// What devices and gateways pin.
    pub const fn root(&self) -> RootHash {
        self.root
    }

    /// Whether the root's private key lies here; it is safer elsewhere.
    pub const fn has_root(&self) -> bool {
        self.has_root
    }

    /// The key set.
    pub const fn set(&self) -> &KeySet {
        &self.set
    }

    /// The key set as the root has signed it.
    pub fn signed_set(&self) -> &str {
        &self.signed_set
    }

    /// Certifies this broker.
    pub const fn tls_ca(&self) -> &Arc<Authority> {
        &self.tls_ca
    }

    /// Certifies gateways.
    pub const fn gateway_ca(&self) -> &Arc<Authority> {
        &self.gateway_ca
    }

    /// Signs leases. It is read anew each time, so that it is in one place alone.
    pub fn lease(&self) -> Result<Box<dyn Signer>, KeysError> {
        Ok(Box::new(KeyFiles::new(&self.dir).ed25519(Name::Lease)?))
    }

    /// Signs ID tokens.
    pub const fn openid(&self) -> &Arc<dyn Signer> {
        &self.openid
    }

    /// Signs the heads of audit chains.
    pub const fn audit(&self) -> &Arc<dyn Signer> {
        &self.audit
    }

    /// Seals secrets in the store.
    pub const fn store(&self) -> &StoreKey {
        &self.store
    }

    /// The secret for one purpose in one life of the store: a restore voids what was made with it before.
    pub fn secret(&self, purpose: &str, life: Incarnation) -> Secret<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.master.expose());
        let label = sha256_list(&[b"openztna/secret/1", purpose.as_bytes(), &life.0]);
        let tag = hmac::sign(&key, &label);
        let mut secret = [0; 32];
        secret.copy_from_slice(tag.as_ref()); // HMAC-SHA256 has 32 bytes
        Secret::new(secret)
    }

    /// The public keys for `usage` that wait for their turn.
    pub fn next(&self, usage: KeyUse) -> Vec<ztna_model::PublicKey> {
        let waits = |key: &&ztna_api::keyset::Key| key.state == ztna_api::keyset::KeyState::Next;
        self.set.of(usage).filter(waits).map(|key| key.jwk).collect()
    }

    /// Checks a signature of the audit key on the head of a chain, whichever of its keys made it.
    pub fn audit_keys(&self) -> impl Iterator<Item = &ztna_model::PublicKey> {
        self.set.of(KeyUse::Audit).map(|key| &key.jwk)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("root", &self.root)
            .field("seq", &self.set.seq)
            .finish_non_exhaustive()
    }
}
