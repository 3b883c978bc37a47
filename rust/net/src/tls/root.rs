use std::sync::Arc;
use std::{fmt, io};

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};
use ztna_model::RootHash;

/// Why a server that should prove itself by a pinned root did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RootError {
    /// No certificate it sent has the pinned key: another organisation's server, or one set up without its root.
    #[error("the server sent no root certificate with the pinned key")]
    NotSent,
    /// A certificate with the pinned key, but not made by the holder of that key.
    #[error("the root certificate is not signed by its own key")]
    NotSelfSigned,
    /// The root certificate is not one that may sign others.
    #[error("the root certificate is not that of an authority")]
    NotAnAuthority,
    /// The root certificate's time has not come, or is over.
    #[error("the root certificate is not valid at this time")]
    OutOfDate,
    /// It is no X.509 certificate.
    #[error("the root certificate cannot be read")]
    Unreadable,
}

impl RootError {
    /// This reason, if it is what `error` comes from: HTTP clients wrap it several times.
    pub fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(Error::InvalidCertificate(CertificateError::Other(other))) = error.downcast_ref() {
                return other.0.downcast_ref().copied();
            }
            // An I/O error names as its source the source of what it holds.
            let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = held.map(|held| held as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        None
    }
}

/// The hash of a root key, over its DER SubjectPublicKeyInfo (RFC 7469, 2.4).
pub fn root_hash(spki: &[u8]) -> RootHash {
    let mut hash = [0; 32];
    // SHA-256 has 32 bytes; were it otherwise, nothing would match.
    hash.copy_from_slice(digest(&SHA256, spki).as_ref().first_chunk::<32>().unwrap_or(&[0; 32]));
    RootHash(hash)
}

/// The hash of the key in a DER certificate.
pub fn root_hash_of(certificate: &[u8]) -> Result<RootHash, RootError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| RootError::Unreadable)?;
    Ok(root_hash(parsed.public_key().raw))
}

/// Accepts a server whose chain ends in a root that it sends along and whose key has the pinned hash; that root is
/// then the only one trusted for the rest of the checks.
pub(super) struct PinnedRoot {
    pin: RootHash,
    provider: Arc<CryptoProvider>,
}

impl PinnedRoot {
    pub(super) const fn new(pin: RootHash, provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }

    /// The root among what was sent. Anyone may write a certificate around the pinned public key, so what the root
    /// says counts only if its own key signed it.
    fn root<'a>(
        &self,
        sent: &'a [CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<&'a CertificateDer<'a>, RootError> {
        let pinned = |der: &&CertificateDer<'_>| root_hash_of(der).is_ok_and(|hash| hash == self.pin);
        let mut reason = RootError::NotSent;
        for root in sent.iter().filter(pinned) {
            match check_root(root, now) {
                Ok(()) => return Ok(root),
                Err(cause) => reason = cause,
            }
        }
        Err(reason)
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = self.root(intermediates, now).map_err(refusal)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|cause| Error::General(cause.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for PinnedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedRoot({})", self.pin)
    }
}

fn check_root(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), RootError> {
    let (_, root) = X509Certificate::from_der(der).map_err(|_| RootError::Unreadable)?;
    if root.subject() != root.issuer() || root.verify_signature(None).is_err() {
        return Err(RootError::NotSelfSigned);
    }
    if !root.is_ca() {
        return Err(RootError::NotAnAuthority);
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(now).map_err(|_| RootError::OutOfDate)?;
    if root.validity().is_valid_at(now) { Ok(()) } else { Err(RootError::OutOfDate) }
}

fn refusal(cause: RootError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
}
