use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_api::gateway::Enrolled;
use ztna_api::keyset::{KeySet, KeySetError, KeyUse};
use ztna_model::{
    GatewayId, Host, OrgId, ParseError, Port, RootHash, Secret, SiteId, Target, WallTime, base64url,
};
use ztna_net::tls::{ChainError, Identity, IdentityError, check_gateway_chain};

/// What a gateway was enrolled as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    /// The organisation.
    pub(crate) org: OrgId,
    /// The root under which the organisation's keys are.
    pub(crate) root: RootHash,
    /// The gateway.
    pub(crate) gateway: GatewayId,
    /// Its site.
    pub(crate) site: SiteId,
    /// Its certificates, leaf first, base64url DER.
    pub(crate) chain: Vec<String>,
    /// The root-signed key set.
    pub(crate) keys: String,
    /// The broker's listener for gateways.
    pub(crate) listener: Listener,
}

/// `host:port` of the broker's listener for gateways.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Target", into = "Target")]
pub(crate) struct Listener {
    /// The host, whose name or address its certificate proves.
    pub(crate) host: Host,
    /// The port.
    pub(crate) port: Port,
}

/// Why what the broker certifies is not taken.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The key set is not the organisation's.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// Certificate and key cannot be used together.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No authority of the key set issued the certificate.
    #[error("the certificate: {0}")]
    Chain(#[from] ChainError),
    /// The key set names no authority for gateways.
    #[error("the organisation has no authority for gateways")]
    NoAuthority,
    /// The certificate is not base64url.
    #[error("the certificates cannot be read")]
    Unreadable,
    /// It is for another gateway, or another organisation's.
    #[error("the answer is for another gateway")]
    OtherGateway,
    /// The listener's address is none.
    #[error("the listener: {0}")]
    Listener(#[from] ParseError),
    /// No request could be made.
    #[error("cannot make a certificate request: {0}")]
    Request(#[from] rcgen::Error),
}

impl Enrolment {
    /// Reads the broker's answer, which counts only as far as `root` vouches for it; `known` is the number of the latest
    /// key set that was seen.
    pub(crate) fn accept(
        answer: Enrolled,
        root: RootHash,
        known: u64,
        key: &Secret<Vec<u8>>,
        now: WallTime,
    ) -> Result<Self, CertificateError> {
        let Enrolled { org, gateway, site, chain, keys, listener } = answer;
        let set = KeySet::verify(&keys, &org, &root, known)?;
        let listener = Listener::try_from(listener.parse::<Target>()?)?;
        let enrolment = Self { org, root, gateway, site, chain, keys, listener };
        enrolment.check_chain(&set, now)?;
        enrolment.identity(key)?;
        Ok(enrolment)
    }

    /// The number of its key set.
    pub(crate) fn known(&self) -> u64 {
        KeySet::verify(&self.keys, &self.org, &self.root, 0).map_or(0, |set| set.seq)
    }

    /// Certificates and key, to be presented.
    pub(crate) fn identity(&self, key: &Secret<Vec<u8>>) -> Result<Identity, CertificateError> {
        let chain = self.certificates()?.into_iter().map(CertificateDer::from).collect();
        Ok(Identity::from_der(chain, key)?)
    }

    fn certificates(&self) -> Result<Vec<Vec<u8>>, CertificateError> {
        let chain: Option<Vec<Vec<u8>>> = self.chain.iter().map(|text| base64url::decode(text)).collect();
        chain.ok_or(CertificateError::Unreadable)
    }

    /// Whether an authority of the key set certifies this very gateway.
    fn check_chain(&self, keys: &KeySet, now: WallTime) -> Result<(), CertificateError> {
        let chain = self.certificates()?;
        let mut outcome = Err(CertificateError::NoAuthority);
        for key in keys.of(KeyUse::GatewayCa) {
            let Some(authority) = key.certificate.as_deref().and_then(base64url::decode) else { continue };
            match check_gateway_chain(&chain, &authority, &self.org, now) {
                Ok(peer) if peer.name.gateway == self.gateway => return Ok(()),
                Ok(_) => outcome = Err(CertificateError::OtherGateway),
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }
}

impl Listener {
    /// The name or address that its certificate has to prove.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
            Host::Address(address) => Some(ServerName::from(*address)),
        }
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        Target::from(self.clone()).to_string()
    }
}

impl TryFrom<Target> for Listener {
    type Error = ParseError;

    fn try_from(target: Target) -> Result<Self, ParseError> {
        let port = target.port.ok_or_else(|| {
            ParseError::new(&target.to_string(), "a host and a port such as broker.example:8443")
        })?;
        Ok(Self { host: target.host, port })
    }
}

impl From<Listener> for Target {
    fn from(listener: Listener) -> Self {
        Self { host: listener.host, port: Some(listener.port) }
    }
}

/// A certificate signing request for `key` (PKCS #10, base64url DER). The broker alone decides what is certified.
pub(crate) fn request(key: &Secret<Vec<u8>>) -> Result<String, CertificateError> {
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.expose().as_slice()))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "OpenZTNA gateway");
    Ok(base64url::encode(params.serialize_request(&pair)?.der()))
}
