use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ztna_api::dpop::{self, Claims};
use ztna_api::key;
use ztna_api::token::Nonce;
use ztna_model::{Jkt, OrgId, Random, Secret, SignError, Signer, Time, base64url};

use crate::call::Response;
use crate::clock::BrokerClock;

/// The device key towards one organisation's broker: proves itself on every call (RFC 9449).
#[derive(Clone)]
pub struct Possession {
    org: OrgId,
    signer: Arc<dyn Signer>,
    clock: BrokerClock,
    nonce: Option<String>,
}

impl Possession {
    /// `signer` is the device key for `org` alone.
    pub fn new(org: OrgId, signer: Arc<dyn Signer>) -> Self {
        Self { org, signer, clock: BrokerClock::default(), nonce: None }
    }

    /// The organisation.
    pub const fn org(&self) -> &OrgId {
        &self.org
    }

    /// The device key.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The device key's thumbprint.
    pub fn jkt(&self) -> Jkt {
        key::thumbprint(&self.signer.public_key())
    }

    /// The broker's clock, as last heard.
    pub const fn clock(&self) -> BrokerClock {
        self.clock
    }

    /// Takes the nonce and the clock that the broker gave in an answer that arrived at `now`.
    pub fn learn(&mut self, nonce: &Nonce, now: Time) {
        self.clock = BrokerClock::new(nonce.time, now);
        self.nonce = Some(nonce.nonce.clone());
    }

    /// Takes the next nonce, if `answer` brings one; says whether it did.
    pub fn learn_from(&mut self, answer: &Response) -> bool {
        let nonce = answer.headers().get(DPOP_NONCE).and_then(|value| value.to_str().ok());
        let Some(nonce) = nonce.filter(|nonce| nonce.len() <= LONGEST_NONCE) else { return false };
        self.nonce = Some(nonce.to_owned());
        true
    }

    /// A request to `path` of the organisation, with a fresh proof, and `access` if it needs a token.
    pub fn request(
        &self,
        method: http::Method,
        path: &str,
        access: Option<&Secret<String>>,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<http::request::Builder, SignError> {
        let uri = format!("{}{path}", self.org);
        let access = access.map(|token| token.expose().as_str());
        let proof = dpop::prove(&*self.signer, &self.claims(method.as_str(), &uri, access, now, random))?;
        let mut request = http::Request::builder().method(method).uri(uri).header(DPOP, proof);
        if let Some(token) = access {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        Ok(request)
    }

    fn claims(
        &self,
        method: &str,
        uri: &str,
        access: Option<&str>,
        now: Time,
        random: &mut dyn Random,
    ) -> Claims {
        let mut jti = [0; 16];
        random.fill(&mut jti);
        Claims {
            jti: base64url::encode(jti),
            htm: method.into(),
            htu: uri.into(),
            iat: self.clock.at(now).as_secs(),
            nonce: self.nonce.clone(),
            ath: access.map(dpop::token_hash),
        }
    }
}

impl std::fmt::Debug for Possession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Possession").field("org", &self.org).field("jkt", &self.jkt()).finish_non_exhaustive()
    }
}

fn bearer(token: &str) -> Result<HeaderValue, SignError> {
    let value = HeaderValue::from_str(&format!("DPoP {token}"));
    let mut value =
        value.map_err(|_| SignError::Refused("the token has a character no header may hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const LONGEST_NONCE: usize = 256;

#[cfg(test)]
mod tests {
    use ztna_api::dpop::{Expected, ProofError};
    use ztna_model::WallTime;
    use ztna_net::keys::P256Key;
    use ztna_net::random::SystemRandom;

    use super::*;

    #[test]
    fn p3_4_a_proof_names_its_request_its_token_and_the_broker_s_time() {
        let key = P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap();
        let mut possession = Possession::new("https://acme.example".parse().unwrap(), Arc::new(key));
        let learnt = Time::from_millis(7_000);
        // This device's own clock may show what it likes.
        let nonce = Nonce { nonce: "n".into(), time: WallTime::from_secs(1_800_000_000) };
        possession.learn(&nonce, learnt);
        let token = Secret::new("token".to_owned());
        let later = Time::from_millis(607_000);
        let random = &mut SystemRandom::new();
        let request =
            possession.request(http::Method::GET, "/v1/stream", Some(&token), later, random).unwrap();
        let headers = request.headers_ref().unwrap();
        let authorization = headers.get(AUTHORIZATION).unwrap();
        assert_eq!(authorization, "DPoP token");
        assert!(authorization.is_sensitive());
        let proof = headers.get(DPOP).unwrap().to_str().unwrap();
        let check = |method, access_token, now| {
            let uri = "https://acme.example/v1/stream";
            dpop::verify(proof, Expected { method, uri, access_token, now })
        };
        let now = WallTime::from_secs(1_800_000_600);
        let verified = check("GET", Some("token"), now).unwrap();
        assert_eq!((verified.jkt, verified.nonce.as_deref()), (possession.jkt(), Some("n")));
        assert_eq!(check("POST", Some("token"), now), Err(ProofError::WrongMethod));
        assert_eq!(check("GET", Some("other"), now), Err(ProofError::WrongToken));
        assert_eq!(check("GET", None, now), Err(ProofError::WrongToken));
        let another = possession.request(http::Method::GET, "/v1/stream", Some(&token), later, random);
        let another = another.unwrap().headers_ref().unwrap().get(DPOP).cloned().unwrap();
        let another = another.to_str().unwrap().to_owned();
        let uri = "https://acme.example/v1/stream";
        let expected = Expected { method: "GET", uri, access_token: Some("token"), now };
        assert_ne!(dpop::verify(&another, expected).unwrap().jti, verified.jti, "each has an id of its own");
    }
}
