use std::str::FromStr;

use openidconnect::url::{Url, form_urlencoded};
use thiserror::Error;

/// The one public client: the connector on people's devices. It holds no secret, so its redirects are what protects it.
#[derive(Clone, Debug)]
pub struct Client {
    id: String,
    redirects: Vec<RedirectRule>,
}

/// Where the browser may be sent.
///
/// Written as the address itself; a loopback address without a port stands for every port:
/// `http://127.0.0.1/signed-in`, `http://[::1]/signed-in`, `https://acme.example/signed-in`, `com.example.app:/signed-in`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedirectRule {
    /// A loopback literal and path, on any port (RFC 8252, 7.3).
    Loopback {
        /// `http://127.0.0.1` or `http://[::1]`.
        host: &'static str,
        /// From the slash on, exact.
        path: String,
    },
    /// This address and no other, character by character.
    Exact(String),
}

/// Why an address cannot be a redirect.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RuleError {
    /// It is not an absolute address in plain ASCII.
    #[error("`{0}` is not an address")]
    NotAnAddress(String),
    /// Another app or a listener on the way could take it.
    #[error(
        "`{0}` is neither https, nor loopback, nor a private scheme with a dot in its name (RFC 8252, 7)"
    )]
    Unprotected(String),
    /// Fragments and user names have no place in it.
    #[error("`{0}` has a fragment, a user name or a password")]
    Decorated(String),
}

/// An address that a rule allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Redirect {
    address: String,
    form_target: String,
}

impl Client {
    /// The client called `id`.
    pub fn new(id: impl Into<String>, redirects: Vec<RedirectRule>) -> Self {
        Self { id: id.into(), redirects }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `address` as a redirect, if a rule allows it.
    pub(crate) fn redirect(&self, address: &str) -> Option<Redirect> {
        let allowed = address.len() <= LONGEST && self.redirects.iter().any(|rule| rule.allows(address));
        allowed.then(|| Redirect::new(address)).flatten()
    }
}

impl RedirectRule {
    fn allows(&self, address: &str) -> bool {
        match self {
            Self::Loopback { host, path } => {
                let rest = address.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
                rest.and_then(|rest| rest.split_once('/'))
                    .is_some_and(|(port, rest)| is_port(port) && path.strip_prefix('/') == Some(rest))
            }
            Self::Exact(exact) => exact == address,
        }
    }
}

impl FromStr for RedirectRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let url = Url::parse(text).ok().filter(|_| text.bytes().all(|c| matches!(c, b'!'..=b'~')));
        let url = url.ok_or_else(|| RuleError::NotAnAddress(text.into()))?;
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(RuleError::Decorated(text.into()));
        }
        let loopback = LOOPBACK.iter().find_map(|host| Some((*host, text.strip_prefix(host)?)));
        match (url.scheme(), loopback) {
            ("http", Some((host, path))) if path.starts_with('/') && !path.contains('?') => {
                Ok(Self::Loopback { host, path: path.into() })
            }
            ("https", _) => Ok(Self::Exact(text.into())),
            (scheme, _) if scheme.contains('.') => Ok(Self::Exact(text.into())),
            _ => Err(RuleError::Unprotected(text.into())),
        }
    }
}

impl Redirect {
    fn new(address: &str) -> Option<Self> {
        let form_target = form_target(&Url::parse(address).ok()?);
        Some(Self { address: address.into(), form_target })
    }

    /// The address, exactly as it was asked for.
    pub(crate) fn as_str(&self) -> &str {
        &self.address
    }

    /// The source expression that lets a form's answer lead there (CSP 3, `form-action`): browsers apply the login
    /// page's list to the redirect after it as well.
    pub(crate) fn form_target(&self) -> &str {
        &self.form_target
    }

    /// The address with `fields` added to its query.
    pub(crate) fn with(&self, fields: &[(&str, &str)]) -> String {
        let joint = if self.address.contains('?') { '&' } else { '?' };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        format!("{}{joint}{query}", self.address)
    }
}

fn form_target(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    match (url.scheme(), url.host_str()) {
        // The grammar of sources has no IPv6 literals; the port is what remains of the address.
        (scheme @ ("http" | "https"), Some(host)) if host.starts_with('[') => format!("{scheme}://*{port}"),
        (scheme @ ("http" | "https"), Some(host)) => format!("{scheme}://{host}{port}"),
        (scheme, _) => format!("{scheme}:"),
    }
}

fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    digits && !text.starts_with('0') && text.parse::<u16>().is_ok()
}

const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let rules = [
            "http://127.0.0.1/back",
            "http://[::1]/back",
            "https://acme.example/back?app=1",
            "com.example.app:/back",
        ];
        Client::new("openztna", rules.map(|rule| rule.parse().unwrap()).to_vec())
    }

    #[test]
    fn a03_redirects_that_are_allowed_and_their_neighbours() {
        let rows = [
            ("http://127.0.0.1:7777/back", Some("http://127.0.0.1:7777")),
            ("http://127.0.0.1:1/back", Some("http://127.0.0.1:1")),
            ("http://[::1]:65535/back", Some("http://*:65535")),
            ("https://acme.example/back?app=1", Some("https://acme.example")),
            ("com.example.app:/back", Some("com.example.app:")),
            ("http://127.0.0.1/back", None),
            ("http://127.0.0.1:/back", None),
            ("http://127.0.0.1:0/back", None),
            ("http://127.0.0.1:07777/back", None),
            ("http://127.0.0.1:65536/back", None),
            ("http://127.0.0.1:7777/back/", None),
            ("http://127.0.0.1:7777/back?x=1", None),
            ("http://127.0.0.1:7777/back#x", None),
            ("http://127.0.0.1:7777/Back", None),
            ("http://127.0.0.1:7777/a/../back", None),
            ("http://127.0.0.1:7777@evil.example/back", None),
            ("http://127.0.0.1:7777.evil.example/back", None),
            ("http://127.0.0.1.evil.example:7777/back", None),
            ("http://127.0.0.2:7777/back", None),
            ("http://localhost:7777/back", None),
            ("https://127.0.0.1:7777/back", None),
            ("HTTP://127.0.0.1:7777/back", None),
            ("http://[::1]:7777\\@evil.example/back", None),
            ("https://acme.example/back", None),
            ("https://acme.example/back?app=1&more=2", None),
            ("https://acme.example:443/back?app=1", None),
            ("com.example.app:/back?x", None),
            ("com.example.app:/other", None),
            ("", None),
        ];
        for (address, expected) in rows {
            let redirect = client().redirect(address);
            assert_eq!(redirect.as_ref().map(Redirect::form_target), expected, "{address}");
        }
    }

    #[test]
    fn rules_that_nobody_may_write() {
        use RuleError::{Decorated, NotAnAddress, Unprotected};
        type Kind = fn(String) -> RuleError;
        let rows: [(&str, Kind); 11] = [
            ("", NotAnAddress),
            ("/back", NotAnAddress),
            ("https://acme.example/a b", NotAnAddress),
            ("https://acme.example/\r\nset-cookie: x", NotAnAddress),
            ("https://acme.example/#x", Decorated),
            ("https://ana@acme.example/", Decorated),
            ("http://acme.example/back", Unprotected),
            ("http://127.0.0.1:7777/back", Unprotected),
            ("http://127.0.0.1/back?x=1", Unprotected),
            ("javascript:alert(1)", Unprotected),
            ("openztna:/back", Unprotected),
        ];
        for (text, kind) in rows {
            assert_eq!(text.parse::<RedirectRule>(), Err(kind(text.into())));
        }
    }

    #[test]
    fn an_answer_is_added_to_the_query() {
        let with = |address: &str| {
            client().redirect(address).unwrap().with(&[("code", "a b"), ("iss", "https://i")])
        };
        assert_eq!(with("http://127.0.0.1:7/back"), "http://127.0.0.1:7/back?code=a+b&iss=https%3A%2F%2Fi");
        assert_eq!(
            with("https://acme.example/back?app=1"),
            "https://acme.example/back?app=1&code=a+b&iss=https%3A%2F%2Fi"
        );
        assert_eq!(with("com.example.app:/back"), "com.example.app:/back?code=a+b&iss=https%3A%2F%2Fi");
    }
}
