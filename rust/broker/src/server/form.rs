use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use openidconnect::url::form_urlencoded;
use serde_json::{Map, Value};
use ztna_api::token::{EXCHANGE, REFRESH, TokenError, TokenErrorCode, TokenRequest};

use super::answer::token_error;

/// Reads a form that asks for tokens; each field may be there once (RFC 6749, 3.2).
pub(super) fn token_request(headers: &HeaderMap, body: &[u8]) -> Result<TokenRequest, TokenError> {
    let fields = fields(headers, body)?;
    match fields.get("grant_type").and_then(Value::as_str) {
        Some(EXCHANGE | REFRESH) => {}
        Some(_) => {
            return Err(token_error(TokenErrorCode::UnsupportedGrantType, "use token exchange or refresh"));
        }
        None => return Err(invalid("`grant_type` is missing")),
    }
    // What is wrong is not repeated: it may hold a token.
    serde_json::from_value(Value::Object(fields)).map_err(|_| invalid("a field is missing"))
}

/// Reads the form by which a provider says that somebody signed out (OpenID Connect Back-Channel Logout 1.0, 2.5).
pub(super) fn logout_token(headers: &HeaderMap, body: &[u8]) -> Result<String, TokenError> {
    match fields(headers, body)?.remove("logout_token") {
        Some(Value::String(token)) => Ok(token),
        _ => Err(invalid("`logout_token` is missing")),
    }
}

fn fields(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, TokenError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM)) {
        return Err(invalid("the request must be a form"));
    }
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if fields.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
            return Err(invalid("a field is there twice"));
        }
    }
    Ok(fields)
}

fn invalid(why: &str) -> TokenError {
    token_error(TokenErrorCode::InvalidRequest, why)
}

const FORM: &str = "application/x-www-form-urlencoded";

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(kind: &'static str, body: &str) -> Result<TokenRequest, TokenErrorCode> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        token_request(&headers, body.as_bytes()).map_err(|error| error.error)
    }

    #[test]
    fn forms() {
        use TokenErrorCode::{InvalidRequest, UnsupportedGrantType};
        let refresh = TokenRequest::Refresh { refresh_token: "a b".to_owned().into() };
        let exchange = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
        let rows = [
            (FORM, "grant_type=refresh_token&refresh_token=a+b", Ok(refresh.clone())),
            (
                "application/x-www-form-urlencoded; charset=utf-8",
                "refresh_token=a%20b&grant_type=refresh_token&x=1",
                Ok(refresh),
            ),
            ("application/json", "grant_type=refresh_token&refresh_token=a", Err(InvalidRequest)),
            (FORM, "grant_type=refresh_token&refresh_token=a&refresh_token=a", Err(InvalidRequest)),
            (FORM, "grant_type=refresh_token&grant_type=refresh_token", Err(InvalidRequest)),
            (FORM, "grant_type=refresh_token", Err(InvalidRequest)),
            (FORM, "refresh_token=a", Err(InvalidRequest)),
            (FORM, "", Err(InvalidRequest)),
            (FORM, "grant_type=password&username=a", Err(UnsupportedGrantType)),
            (FORM, exchange, Err(InvalidRequest)),
        ];
        for (kind, body, expected) in rows {
            assert_eq!(check(kind, body), expected, "{body}");
        }
        let whole = format!("{exchange}&subject_token=t&subject_token_type=x&salt=s&device_name=phone");
        assert!(matches!(check(FORM, &whole), Ok(TokenRequest::Exchange(_))));
    }
}
