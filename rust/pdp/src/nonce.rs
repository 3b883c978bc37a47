use std::time::Duration;

use ring::hmac;
use ztna_api::dpop::Proof;
use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::{OrgId, Random, Secret, SessionId, WallTime, base64url, minutes, secs};

use crate::refusal::refusal;

/// Nonces that any broker of the organisation opens without having kept them: sealed broker times.
#[derive(Clone)]
pub struct Nonces {
    key: hmac::Key,
    org: OrgId,
}

/// What a nonce is good for; it opens for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// DPoP proofs, and the salt of a sign-in.
    Request,
    /// Statements on one stream of one session.
    Statement(SessionId, StreamSalt),
}

/// Random bytes that tell streams apart, on all brokers alike.
pub(crate) type StreamSalt = [u8; 16];

/// How long a nonce carries a DPoP proof or a statement.
pub(crate) const NONCE_LIFE: Duration = minutes(5);
/// How long a sign-in may take.
pub(crate) const SALT_LIFE: Duration = minutes(10);

impl Nonces {
    pub(crate) fn new(key: &Secret<[u8; 32]>, org: &OrgId) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), org: org.clone() }
    }

    /// Whether the proof was made over a nonce of ours that is at most five minutes old at `now` (RFC 9449, 8). Who has
    /// none is told so before anything that costs more is looked at.
    pub fn check(&self, proof: &Proof, now: WallTime) -> Result<(), TokenError> {
        let nonce = proof.nonce.as_deref().unwrap_or_default();
        match self.open(nonce, Purpose::Request, now, NONCE_LIFE) {
            Some(_) => Ok(()),
            None => Err(refusal(TokenErrorCode::UseDpopNonce, "the proof needs a fresh nonce")),
        }
    }

    /// A nonce that says it is `now`.
    pub(crate) fn seal(&self, purpose: Purpose, now: WallTime, random: &mut dyn Random) -> String {
        let mut body = [0; BODY];
        random.fill(&mut body);
        for (byte, time) in body.iter_mut().zip(now.as_millis().to_be_bytes()) {
            *byte = time;
        }
        let tag = hmac::sign(&self.key, &self.message(purpose, &body));
        base64url::encode([&body, tag.as_ref()].concat())
    }

    /// When the nonce was sealed, if we did it, for this purpose, at most `life` ago.
    pub(crate) fn open(
        &self,
        text: &str,
        purpose: Purpose,
        now: WallTime,
        life: Duration,
    ) -> Option<WallTime> {
        let bytes = base64url::decode(text)?;
        let (body, tag) = bytes.split_first_chunk::<BODY>()?;
        hmac::verify(&self.key, &self.message(purpose, body), tag).ok()?;
        let sealed = WallTime::from_millis(u64::from_be_bytes(*body.first_chunk()?));
        let fits = now.since(sealed) <= life && sealed.since(now) <= SKEW;
        fits.then_some(sealed)
    }

    fn message(&self, purpose: Purpose, body: &[u8; BODY]) -> Vec<u8> {
        let org = self.org.as_str().as_bytes();
        match purpose {
            Purpose::Request => [b"openztna/nonce/request\0", body.as_slice(), org].concat(),
            Purpose::Statement(sid, salt) => {
                [b"openztna/nonce/statement\0", body.as_slice(), &sid.0, &salt, org].concat()
            }
        }
    }
}

/// Eight bytes of time, twelve of chance.
const BODY: usize = 20;

/// How far the clocks of two brokers may lie apart.
const SKEW: Duration = secs(60);

#[cfg(test)]
mod tests {
    use ztna_net::random::SystemRandom;

    use super::*;

    #[test]
    fn p3_8_a_nonce_opens_on_any_broker_for_its_purpose_and_for_its_life_alone() {
        let (random, now) = (&mut SystemRandom::new(), WallTime::from_secs(1_000_000));
        let acme: OrgId = "https://acme.example".parse().unwrap();
        let nonces = |key, org: &OrgId| Nonces::new(&Secret::new([key; 32]), org);
        let stream = |n| Purpose::Statement(SessionId([n; 16]), [n; 16]);
        let text = nonces(1, &acme).seal(stream(1), now, random);
        let replica = nonces(1, &acme);
        let open = |purpose, at| replica.open(&text, purpose, at, NONCE_LIFE);
        assert_eq!(open(stream(1), now), Some(now));
        assert_eq!(open(stream(1), now + minutes(5)), Some(now));
        assert_eq!(open(stream(1), now + minutes(5) + secs(1)), None);
        assert_eq!(open(stream(1), now - secs(61)), None);
        assert_eq!(open(stream(2), now), None);
        assert_eq!(open(Purpose::Request, now), None);
        assert_eq!(nonces(2, &acme).open(&text, stream(1), now, NONCE_LIFE), None);
        let other = nonces(1, &"https://other.example".parse().unwrap());
        assert_eq!(other.open(&text, stream(1), now, NONCE_LIFE), None);
        for text in ["", "AAAA", &format!("{text}A"), &text.to_uppercase()] {
            assert_eq!(replica.open(text, stream(1), now, NONCE_LIFE), None);
        }
    }
}
