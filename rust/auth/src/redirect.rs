use openidconnect::url::Url;
use thiserror::Error;
use ztna_model::Secret;

/// Why what came back from the browser is not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RedirectError {
    /// It is not an address, or says something twice.
    #[error("the answer of the browser could not be read")]
    Unreadable,
    /// It answers another sign-in, or none.
    #[error("the answer belongs to another sign-in")]
    WrongState,
    /// It comes from another identity provider (RFC 9207), or one that promised to name itself did not.
    #[error("the answer comes from another identity provider")]
    WrongIssuer,
    /// The identity provider said no.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// It holds no code.
    #[error("the answer holds no code")]
    NoCode,
}

impl RedirectError {
    /// Whether the answer says nothing about this sign-in, which goes on.
    pub(crate) const fn is_anothers(&self) -> bool {
        matches!(self, Self::Unreadable | Self::WrongState)
    }
}

/// What an answer must match.
pub(crate) struct Expected<'a> {
    pub(crate) state: &'a Secret<String>,
    pub(crate) issuer: &'a str,
    /// The provider's metadata promises `iss` in every answer.
    pub(crate) names_itself: bool,
}

/// The authorization code in `address`, if the answer is to this very sign-in and from the right provider.
///
/// State first: an answer that is not ours must not end ours, whatever else it says.
pub(crate) fn code(address: &str, expected: &Expected<'_>) -> Result<Secret<String>, RedirectError> {
    let address = Url::parse(address).map_err(|_| RedirectError::Unreadable)?;
    let field = |name: &str| single(&address, name);
    let state = field("state")?.ok_or(RedirectError::WrongState)?;
    if !expected.state.matches(state) {
        return Err(RedirectError::WrongState);
    }
    match field("iss")? {
        Some(issuer) if issuer == expected.issuer => {}
        None if !expected.names_itself => {}
        Some(_) | None => return Err(RedirectError::WrongIssuer),
    }
    if let Some(error) = field("error")? {
        return Err(RedirectError::Refused(printable(&error)));
    }
    field("code")?.map(Secret::new).ok_or(RedirectError::NoCode)
}

fn single(address: &Url, name: &str) -> Result<Option<String>, RedirectError> {
    let mut values =
        address.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(RedirectError::Unreadable),
    }
}

/// The provider's own words are shown to a person: keep them to the characters that RFC 6749, 4.1.2.1 allows.
fn printable(error: &str) -> String {
    error.chars().filter(|c| matches!(c, ' '..='~')).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK: &str = "http://127.0.0.1:7777/back";

    fn check(query: &str, names_itself: bool) -> Result<String, RedirectError> {
        let state = Secret::new("s1".to_owned());
        let expected = Expected { state: &state, issuer: "https://id.example", names_itself };
        code(&format!("{BACK}?{query}"), &expected).map(|code| code.expose().clone())
    }

    #[test]
    fn a02_a04_answers() {
        use RedirectError::{NoCode, Refused, Unreadable, WrongIssuer, WrongState};
        let rows: [(&str, bool, Result<&str, RedirectError>); 11] = [
            ("code=c&state=s1", false, Ok("c")),
            ("code=c&state=s1&iss=https%3A%2F%2Fid.example", true, Ok("c")),
            ("code=c&state=s1", true, Err(WrongIssuer)),
            ("code=c&state=s1&iss=https%3A%2F%2Fevil.example", false, Err(WrongIssuer)),
            ("code=c&state=s2", false, Err(WrongState)),
            ("code=c", false, Err(WrongState)),
            ("code=c&code=d&state=s1", false, Err(Unreadable)),
            ("code=c&state=s1&state=s2", false, Err(Unreadable)),
            ("error=access_denied&state=s1", false, Err(Refused("access_denied".into()))),
            ("error=access_denied&state=s2", false, Err(WrongState)),
            ("state=s1", false, Err(NoCode)),
        ];
        for (query, names_itself, expected) in rows {
            assert_eq!(check(query, names_itself), expected.map(str::to_owned), "{query}");
        }
    }

    #[test]
    fn a_provider_cannot_write_to_the_terminal() {
        let refused = check("error=%1b%5b2Jx&state=s1", false);
        assert_eq!(refused, Err(RedirectError::Refused("[2Jx".into())));
    }
}
