use serde::{Deserialize, Serialize};
use ztna_api::key::sha256;
use ztna_model::{Secret, base64url};

/// A PKCE challenge by S256 (RFC 7636): the hash of a verifier that only who began the sign-in knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// The challenge in `text`: 43 characters of base64url.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        base64url::decode(text)?.try_into().ok().map(Self)
    }

    /// Whether `verifier` is the one (RFC 7636, 4.1 and 4.6).
    pub(crate) fn is_met_by(&self, verifier: &str) -> bool {
        let fits = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~".contains(&c));
        fits && Secret::new(self.0).matches(sha256(verifier.as_bytes()))
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> Self {
        base64url::encode(challenge.0)
    }
}

impl TryFrom<String> for Challenge {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a PKCE challenge by S256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_pair_of_the_rfc() {
        let challenge = Challenge::parse(CHALLENGE).unwrap();
        assert!(challenge.is_met_by(VERIFIER));
        assert_eq!(String::from(challenge), CHALLENGE);
    }

    #[test]
    fn c03_verifiers_that_are_refused() {
        let long = "a".repeat(129);
        let challenge = Challenge::parse(CHALLENGE).unwrap();
        for verifier in ["", CHALLENGE, &VERIFIER.replacen('d', "", 1), &VERIFIER.replace('-', "+"), &long] {
            assert!(!challenge.is_met_by(verifier), "{verifier}");
        }
        // What hashes right and has no form that may be sent is refused as well.
        for verifier in ["short", "a b".repeat(20).as_str(), &long] {
            let challenge = Challenge(sha256(verifier.as_bytes()));
            assert!(!challenge.is_met_by(verifier), "{verifier}");
        }
    }

    #[test]
    fn texts_that_are_no_challenge() {
        for text in [
            "",
            "E9Melhoa",
            &CHALLENGE.replacen('E', "", 1),
            &format!("{CHALLENGE}A"),
            &CHALLENGE.replace('-', "+"),
        ] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
    }
}
