use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ztna_api::key::sha256_list;
use ztna_api::token::TokenResponse;
use ztna_model::{OrgId, Random, base64url};

/// A fresh token: 256 random bits, base64url.
pub(crate) fn fresh_token(random: &mut dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    base64url::encode(bytes)
}

/// Seals the answer that `token` was given, so that only who has the token can have it again.
pub(crate) fn seal(
    org: &OrgId,
    token: &str,
    answer: &TokenResponse,
    random: &mut dyn Random,
) -> Option<String> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    let mut bytes = serde_json::to_vec(answer).ok()?;
    let unique = Nonce::assume_unique_for_key(nonce);
    key(org, token)?.seal_in_place_append_tag(unique, Aad::empty(), &mut bytes).ok()?;
    Some(base64url::encode([&nonce, bytes.as_slice()].concat()))
}

/// The answer that was sealed for `token`.
pub(crate) fn open(org: &OrgId, token: &str, sealed: &str) -> Option<TokenResponse> {
    let bytes = base64url::decode(sealed)?;
    let (nonce, bytes) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let (nonce, mut bytes) = (Nonce::assume_unique_for_key(*nonce), bytes.to_vec());
    let plain = key(org, token)?.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
    serde_json::from_slice(plain).ok()
}

fn key(org: &OrgId, token: &str) -> Option<LessSafeKey> {
    // The token has 256 random bits of its own, so one hash makes a key of it; the label keeps that key apart from
    // the hash under which the token is kept.
    let key = sha256_list(&[b"openztna/answer/1", org.as_str().as_bytes(), token.as_bytes()]);
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use ztna_api::token::Admission;
    use ztna_model::{DeviceId, SessionId};
    use ztna_net::random::SystemRandom;

    use super::*;

    #[test]
    fn p3_4_an_answer_opens_with_its_token_alone() {
        let org: OrgId = "https://acme.example".parse().unwrap();
        let random = &mut SystemRandom::new();
        let (token, other) = (fresh_token(random), fresh_token(random));
        let answer = TokenResponse {
            access_token: fresh_token(random),
            issued_token_type: None,
            token_type: "DPoP".into(),
            expires_in: 300,
            refresh_token: fresh_token(random),
            sid: SessionId([1; 16]),
            device: DeviceId([2; 16]),
            state: Admission::Open,
        };
        let sealed = seal(&org, &token, &answer, random).unwrap();
        assert!(!sealed.contains(&answer.refresh_token));
        assert_eq!(open(&org, &token, &sealed), Some(answer));
        assert_eq!(open(&org, &other, &sealed), None);
        assert_eq!(open(&"https://other.example".parse().unwrap(), &token, &sealed), None);
    }
}
