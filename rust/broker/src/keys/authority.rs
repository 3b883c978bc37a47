use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
    SerialNumber, SigningKey, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use thiserror::Error;
use ztna_model::{Host, OrgId, PublicKey, Random, Secret, WallTime, secs};
use ztna_net::tls::{GatewayName, Identity, IdentityError};

/// A key that certifies others, and the certificates that make it one.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate first.
    chain: Vec<CertificateDer<'static>>,
}

/// A gateway's request to be certified, which its own key has signed.
#[derive(Debug)]
pub struct GatewayRequest {
    parsed: CertificateSigningRequestParams,
    key: PublicKey,
}

/// Why nobody was certified.
#[derive(Debug, Error)]
pub enum CertifyError {
    /// It is not a PKCS #10 request that its own key has signed.
    #[error("the certificate request is not sound")]
    BadRequest,
    /// Its key is not on P-256.
    #[error("the certificate request is for a key that is not on P-256")]
    WrongKey,
    /// The certificate could not be made.
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
    /// The certificate cannot be presented.
    #[error(transparent)]
    Unusable(#[from] IdentityError),
}

/// What an authority below the root may certify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Tls,
    Gateways,
}

impl Authority {
    pub(super) fn new(
        pair: KeyPair,
        own: CertificateDer<'static>,
        above: &[&CertificateDer<'static>],
    ) -> Result<Self, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_der(&own, pair)?;
        let chain = [own].into_iter().chain(above.iter().map(|above| (*above).clone())).collect();
        Ok(Self { issuer, chain })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }

    /// A fresh key and certificate for a server of these names, with all certificates up to the root.
    pub fn server(
        &self,
        names: &[Host],
        now: WallTime,
        random: &mut dyn Random,
    ) -> Result<Identity, CertifyError> {
        let mut params = params(now, SERVER_BEFORE, SERVER_LIFE, random);
        params.subject_alt_names = names.iter().map(subject).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = [CertificateDer::from(leaf)].into_iter().chain(self.chain.iter().cloned()).collect();
        Ok(Identity::from_der(chain, &Secret::new(key.serialize_der()))?)
    }

    /// Certifies a gateway for 24 hours, whatever names its request holds. Returns the certificate.
    pub fn gateway(
        &self,
        name: &GatewayName,
        request: &GatewayRequest,
        now: WallTime,
        random: &mut dyn Random,
    ) -> Result<CertificateDer<'static>, CertifyError> {
        let mut params = params(now, GATEWAY_BEFORE, GATEWAY_LIFE, random);
        params.distinguished_name.push(DnType::CommonName, name.gateway.as_str());
        params.subject_alt_names = vec![SanType::URI(name.to_string().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(&request.parsed.public_key, &self.issuer)?.into())
    }
}

impl GatewayRequest {
    /// Reads a PKCS #10 request in DER and verifies that its own key signed it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertifyError> {
        let request = CertificateSigningRequestDer::from(der);
        let parsed =
            CertificateSigningRequestParams::from_der(&request).map_err(|_| CertifyError::BadRequest)?;
        let on_p256 = *parsed.public_key.algorithm() == rcgen::PKCS_ECDSA_P256_SHA256;
        let key = PublicKey::from_p256_point(parsed.public_key.der_bytes()).filter(|_| on_p256);
        Ok(Self { key: key.ok_or(CertifyError::WrongKey)?, parsed })
    }

    /// The key to be certified.
    pub const fn key(&self) -> PublicKey {
        self.key
    }
}

/// A root that vouches for itself.
pub(super) fn root(
    pair: KeyPair,
    org: &OrgId,
    now: WallTime,
    random: &mut dyn Random,
) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = authority(&format!("OpenZTNA root of {}", org.authority()), now, random);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    CertifiedIssuer::self_signed(params, pair)
}

/// An authority below the root. What it may certify stands in its own certificate, too.
pub(super) fn below<S: SigningKey>(
    root: &CertifiedIssuer<'_, S>,
    pair: &KeyPair,
    kind: Kind,
    org: &OrgId,
    now: WallTime,
    random: &mut dyn Random,
) -> Result<rcgen::Certificate, rcgen::Error> {
    let (what, purpose) = match kind {
        Kind::Tls => ("TLS", ExtendedKeyUsagePurpose::ServerAuth),
        Kind::Gateways => ("gateways", ExtendedKeyUsagePurpose::ClientAuth),
    };
    let mut params = authority(&format!("OpenZTNA {what} of {}", org.authority()), now, random);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = vec![purpose];
    params.signed_by(pair, root)
}

fn authority(name: &str, now: WallTime, random: &mut dyn Random) -> CertificateParams {
    let mut params = params(now, DAY, AUTHORITY_LIFE, random);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What all certificates share: a random serial number, and a time.
fn params(now: WallTime, before: Duration, life: Duration, random: &mut dyn Random) -> CertificateParams {
    let mut serial = [0; 16];
    random.fill(&mut serial);
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = epoch + secs((now - before).as_secs());
    params.not_after = epoch + secs((now + life).as_secs());
    params.use_authority_key_identifier_extension = true;
    params
}

fn subject(host: &Host) -> Result<SanType, rcgen::Error> {
    match host {
        Host::Name(name) => Ok(SanType::DnsName(name.to_string().try_into()?)),
        Host::Address(IpAddr::V4(address)) => Ok(SanType::IpAddress((*address).into())),
        Host::Address(IpAddr::V6(address)) => Ok(SanType::IpAddress((*address).into())),
    }
}

const DAY: Duration = secs(24 * 3600);
/// Certificates of authorities are renewed with their keys: by hand, and rarely.
const AUTHORITY_LIFE: Duration = secs(20 * 365 * 24 * 3600);
/// A device's clock may be behind.
const SERVER_BEFORE: Duration = DAY;
const SERVER_LIFE: Duration = secs(7 * 24 * 3600);
/// A gateway's clock may be a little behind.
const GATEWAY_BEFORE: Duration = secs(300);
const GATEWAY_LIFE: Duration = DAY;

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn request(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(["admin.acme.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn requests() {
        let good = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert!(matches!(GatewayRequest::from_der(&good).unwrap().key(), PublicKey::P256 { .. }));
        for other in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
            let outcome = GatewayRequest::from_der(&request(other));
            assert!(matches!(outcome, Err(CertifyError::WrongKey)), "{outcome:?}");
        }
        for at in [good.len() / 4, good.len() / 2, good.len() - 1] {
            let mut forged = good.clone();
            forged[at] ^= 1;
            assert!(GatewayRequest::from_der(&forged).is_err(), "byte {at}");
        }
        for broken in [&b""[..], b"x", &good[..good.len() - 1]] {
            assert!(matches!(GatewayRequest::from_der(broken), Err(CertifyError::BadRequest)));
        }
    }
}
