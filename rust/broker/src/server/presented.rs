use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, Method};
use ztna_api::dpop::{self, Expected, Proof};
use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::Secret;

use super::answer::token_error;
use super::front::Front;

/// The proof in `headers`, verified but for nonce and first use.
pub(super) fn proof(
    front: &Front,
    headers: &HeaderMap,
    method: &Method,
    path: &str,
    token: Option<&Secret<String>>,
) -> Result<Proof, TokenError> {
    let bad = |why: &str| token_error(TokenErrorCode::InvalidDpopProof, why);
    let text = only(headers, &DPOP).ok_or_else(|| bad("there must be one DPoP header"))?;
    let expected = Expected {
        method: method.as_str(),
        uri: &front.uri(path),
        access_token: token.map(|token| token.expose().as_str()),
        now: front.clock.wall(),
    };
    dpop::verify(text, expected).map_err(|error| bad(&error.to_string()))
}

/// The access token in `headers` (RFC 9449, 7.1).
pub(super) fn access_token(headers: &HeaderMap) -> Result<Secret<String>, TokenError> {
    let bad = || token_error(TokenErrorCode::InvalidToken, "there must be one access token, bound by DPoP");
    let (scheme, token) =
        only(headers, &AUTHORIZATION).and_then(|text| text.split_once(' ')).ok_or_else(bad)?;
    let sound = scheme.eq_ignore_ascii_case("DPoP") && !token.is_empty() && token.len() <= LONGEST;
    if sound { Ok(Secret::new(token.to_owned())) } else { Err(bad()) }
}

/// The value of a header that must be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const LONGEST: usize = 1024;
