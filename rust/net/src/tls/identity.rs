use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use ztna_model::{Secret, WallTime};

use crate::fs::{FileError, read_private};

/// A certificate, the chain above it and its private key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    not_before: WallTime,
    not_after: WallTime,
}

/// Why a certificate cannot be presented.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] FileError),
    /// The certificate file.
    #[error("cannot read the certificates in `{path}`: {cause}")]
    Chain {
        /// Which file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No certificate at all.
    #[error("there is no certificate")]
    NoCertificate,
    /// The first certificate cannot be read.
    #[error("the certificate cannot be read")]
    UnreadableCertificate,
    /// The key is of a kind nobody knows, or no key.
    #[error("the private key cannot be read")]
    UnreadableKey,
    /// They don't belong together.
    #[error("the private key is not the certificate's")]
    Mismatch,
}

impl Identity {
    /// A certificate first, then those above it in order, all DER; the key as PKCS #8. Where devices pin a root, its
    /// certificate has to be the last of the chain.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: &Secret<Vec<u8>>,
    ) -> Result<Self, IdentityError> {
        let key = PrivatePkcs8KeyDer::from(key.expose().as_slice());
        Self::new(chain, &PrivateKeyDer::Pkcs8(key))
    }

    /// The same from two PEM files; the key's must not be readable by others.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        let certificates = read_certificates(chain)?;
        let pem = read_private(key)?;
        let parsed = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| IdentityError::UnreadableKey)?;
        // The parsed copy is wiped as well.
        let parsed = Secret::new(parsed);
        Self::new(certificates, parsed.expose())
    }

    /// When it begins to hold.
    pub const fn not_before(&self) -> WallTime {
        self.not_before
    }

    /// When it ceases to hold.
    pub const fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// When to ask for the next one: in the middle of its life.
    pub fn half_life(&self) -> WallTime {
        let life: Duration = self.not_after.since(self.not_before);
        self.not_before + life / 2
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, IdentityError> {
        let first = chain.first().ok_or(IdentityError::NoCertificate)?;
        let (not_before, not_after) = validity(first).ok_or(IdentityError::UnreadableCertificate)?;
        let key = any_supported_type(key).map_err(|_| IdentityError::UnreadableKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(IdentityError::Mismatch);
            }
            Err(_) => return Err(IdentityError::UnreadableCertificate),
        }
        Ok(Self { certified: Arc::new(certified), not_before, not_after })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Where a TLS configuration finds the certificate to present; it can be replaced at any time, and connections made
/// from then on present the new one.
#[derive(Debug)]
pub struct IdentitySlot(RwLock<Identity>);

impl IdentitySlot {
    /// Begins with `identity`.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identity)))
    }

    /// Presents `identity` from here on.
    pub fn replace(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// What is presented.
    pub fn current(&self) -> Identity {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for IdentitySlot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }
}

impl ResolvesClientCert for IdentitySlot {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|cause| IdentityError::Chain { path: path.display().to_string(), cause: cause.to_string() })
}

fn validity(certificate: &CertificateDer<'_>) -> Option<(WallTime, WallTime)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let time = |secs: i64| u64::try_from(secs).ok().map(WallTime::from_secs);
    let validity = parsed.validity();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}
