use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use ztna_model::{GatewayId, OrgId, ParseError, WallTime};

/// A gateway as its certificate names it: `spiffe://acme.example/gateway/berlin-1` (SPIFFE ID, in a URI SAN).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GatewayName {
    /// The organisation that the broker's origin stands for.
    pub org: OrgId,
    /// Which of its gateways.
    pub gateway: GatewayId,
}

/// What a gateway's certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayPeer {
    /// Its name.
    pub name: GatewayName,
    /// Its public key, a DER SubjectPublicKeyInfo: a renewal is for the same one.
    pub spki: Vec<u8>,
    /// When the certificate ceases to hold.
    pub not_after: WallTime,
}

/// Why a certificate is not a gateway's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PeerError {
    /// None was presented.
    #[error("no certificate was presented")]
    NoCertificate,
    /// It is no X.509 certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It names none, or several (SPIFFE X.509-SVID, section 2: exactly one).
    #[error("the certificate does not hold exactly one URI")]
    NotOneUri,
    /// The URI names something else.
    #[error("the certificate's URI does not name a gateway")]
    NotAGateway,
    /// It belongs to another organisation.
    #[error("the certificate names a gateway of another organisation")]
    OtherOrganisation,
}

impl GatewayPeer {
    /// Reads what a DER certificate says, without judging who signed it.
    pub fn from_certificate(der: &[u8]) -> Result<Self, PeerError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Unreadable)?;
        let not_after = u64::try_from(certificate.validity().not_after.timestamp());
        let not_after = not_after.map(WallTime::from_secs).map_err(|_| PeerError::Unreadable)?;
        if !rest.is_empty() {
            return Err(PeerError::Unreadable);
        }
        let name = only_uri(&certificate)?.parse().map_err(|_| PeerError::NotAGateway)?;
        Ok(Self { name, spki: certificate.public_key().raw.to_vec(), not_after })
    }

    /// Whether the certificate ran out: such a gateway may renew it, and nothing else.
    pub fn is_expired(&self, now: WallTime) -> bool {
        now > self.not_after
    }

    /// Whether it ran out longer ago than a renewal is possible.
    pub(super) fn is_lost(&self, now: WallTime) -> bool {
        now.since(self.not_after) > RENEWABLE
    }
}

impl FromStr for GatewayName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            || ParseError::new(text, "a gateway's name such as spiffe://acme.example/gateway/berlin-1");
        let (authority, path) =
            text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or_else(error)?;
        let gateway = path.strip_prefix("gateway/").ok_or_else(error)?.parse().map_err(|_| error())?;
        let org = format!("https://{authority}").parse().map_err(|_| error())?;
        Ok(Self { org, gateway })
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/gateway/{}", self.org.authority(), self.gateway)
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, PeerError> {
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    // A name that cannot be read might have been a second one.
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(PeerError::Unreadable);
    }
    let mut uris =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) | (Some(_), Some(_)) => Err(PeerError::NotOneUri),
    }
}

/// How long after its end a certificate may still be renewed with its own key.
const RENEWABLE: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let accepted = [
            "spiffe://acme.example/gateway/berlin-1",
            "spiffe://acme.example:8443/gateway/a",
            "spiffe://127.0.0.1:4433/gateway/a",
            "spiffe://[::1]:4433/gateway/a",
        ];
        for text in accepted {
            assert_eq!(text.parse::<GatewayName>().unwrap().to_string(), text);
        }
        let refused = [
            "",
            "spiffe://",
            "spiffe://acme.example",
            "spiffe://acme.example/",
            "spiffe://acme.example/gateway/",
            "spiffe://acme.example/gateway/a/b",
            "spiffe://acme.example/gateway/a/",
            "spiffe://acme.example//gateway/a",
            "spiffe://acme.example/x/gateway/a",
            "spiffe://acme.example/Gateway/a",
            "spiffe://acme.example/gateway/A",
            "spiffe://acme.example/gateway/a?b",
            "spiffe://acme.example/gateway/a#b",
            "spiffe://acme.example/gateway/%61",
            "spiffe://acme.example/relay/a",
            "spiffe://ACME.example/gateway/a",
            "spiffe://user@acme.example/gateway/a",
            "spiffe://acme.example:443/gateway/a",
            "SPIFFE://acme.example/gateway/a",
            "https://acme.example/gateway/a",
            " spiffe://acme.example/gateway/a",
        ];
        for text in refused {
            assert!(text.parse::<GatewayName>().is_err(), "{text}");
        }
    }
}
