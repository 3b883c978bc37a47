use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use ztna_model::{OrgId, RootHash, Secret, base64url};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::tls::{Identity, root_hash_of};

/// A certificate authority, and its key for other signatures.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(super) key: P256Key,
}

impl Authority {
    pub(super) fn root() -> Self {
        let (pair, key) = key();
        Self { issuer: CertifiedIssuer::self_signed(ca("root"), pair).unwrap(), key }
    }

    pub(super) fn below(&self, name: &str) -> Self {
        let (pair, key) = key();
        Self { issuer: CertifiedIssuer::signed_by(ca(name), pair, &self.issuer).unwrap(), key }
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(super) fn pin(&self) -> RootHash {
        root_hash_of(&self.der()).unwrap()
    }

    /// A server's certificate for this machine's loopback, with the root behind it.
    pub(super) fn server(&self) -> Identity {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.der()];
        Identity::from_der(chain, &Secret::new(pair.serialize_der())).unwrap()
    }

    /// What a gateway's request is answered with: its certificate, base64url DER, of which so much life is over.
    pub(super) fn certify(&self, request: &str, org: &OrgId, gateway: &str, lived: Duration) -> String {
        let request = CertificateSigningRequestDer::from(base64url::decode(request).unwrap());
        let mut request = CertificateSigningRequestParams::from_der(&request).unwrap();
        let uri = format!("spiffe://{}/gateway/{gateway}", org.authority());
        request.params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(Clock.wall().as_secs());
        (request.params.not_before, request.params.not_after) = (now - lived, now - lived + DAY);
        base64url::encode(request.signed_by(&self.issuer).unwrap().der())
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key() -> (KeyPair, P256Key) {
    let document = P256Key::generate().unwrap();
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(document.expose().as_slice())).unwrap();
    (pair, P256Key::from_pkcs8(&document).unwrap())
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
