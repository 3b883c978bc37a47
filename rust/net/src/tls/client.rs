use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use thiserror::Error;
use ztna_model::{OrgId, RootHash};

use super::root::PinnedRoot;
use super::{Alpn, IdentitySlot, provider};

/// What makes a server's certificate believable.
#[derive(Clone, Debug)]
pub enum Trust {
    /// A root that the server sends along, whose key has this hash. No other root counts.
    Pinned(RootHash),
    /// What this machine trusts: the platform's own verifier on phones, its certificate store elsewhere.
    Platform,
    /// These roots and no others.
    Roots(Vec<CertificateDer<'static>>),
}

/// Why nothing can be trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The machine's certificate store is empty or cannot be read.
    #[error("this machine has no trusted root certificates: {cause}")]
    NoPlatformRoots {
        /// In the verifier's words.
        cause: rustls::Error,
    },
    /// The file does not hold certificates.
    #[error("cannot read the certificates in `{path}`: {cause}")]
    UnreadableBundle {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A root cannot be used.
    #[error("unusable root certificates: {cause}")]
    UnusableRoots {
        /// In the verifier's words.
        cause: String,
    },
    /// The TLS library and its cryptography do not fit together.
    #[error("TLS cannot be set up: {cause}")]
    Unsupported {
        /// In the library's words.
        cause: rustls::Error,
    },
}

impl Trust {
    /// The roots in a file of PEM certificates.
    pub fn from_bundle(path: &Path) -> Result<Self, TrustError> {
        let unreadable = |cause: String| TrustError::UnreadableBundle { path: path.into(), cause };
        let roots: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|cause| unreadable(cause.to_string()))?;
        if roots.is_empty() { Err(unreadable("there are none".into())) } else { Ok(Self::Roots(roots)) }
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        let unusable = |cause: String| TrustError::UnusableRoots { cause };
        match self {
            Self::Pinned(pin) => Ok(Arc::new(PinnedRoot::new(*pin, provider()))),
            Self::Platform => rustls_platform_verifier::Verifier::new(provider())
                .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
                .map_err(|cause| TrustError::NoPlatformRoots { cause }),
            Self::Roots(roots) => {
                let store = store(roots).map_err(|cause| unusable(cause.to_string()))?;
                let verifier = WebPkiServerVerifier::builder_with_provider(store, provider()).build();
                Ok(verifier.map_err(|cause| unusable(cause.to_string()))?)
            }
        }
    }
}

/// For connections to our own parts, with TLS 1.3 alone; with `identity`, its certificate is presented to a server
/// that asks for one. Reading the platform's roots takes milliseconds: make one configuration, and share it.
pub fn client_config(
    trust: &Trust,
    identity: Option<Arc<IdentitySlot>>,
    alpn: Alpn,
) -> Result<Arc<ClientConfig>, TrustError> {
    config(trust, identity, alpn, &[&TLS13])
}

/// For connections to other people's servers, such as an external identity provider: TLS 1.2 is good enough.
pub fn issuer_config(trust: &Trust) -> Result<Arc<ClientConfig>, TrustError> {
    config(trust, None, Alpn::Http, &[&TLS13, &TLS12])
}

/// The name that an organisation's server has to prove: a DNS name or an address.
pub fn server_name(org: &OrgId) -> Option<ServerName<'static>> {
    let host = org.host();
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    ServerName::try_from(literal.unwrap_or(host).to_owned()).ok()
}

fn config(
    trust: &Trust,
    identity: Option<Arc<IdentitySlot>>,
    alpn: Alpn,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ClientConfig>, TrustError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|cause| TrustError::Unsupported { cause })?
        .dangerous() // the library's word for any verifier but its own
        .with_custom_certificate_verifier(trust.verifier()?);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity as Arc<dyn ResolvesClientCert>),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.protocols();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(super) fn store(roots: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    Ok(Arc::new(store))
}
