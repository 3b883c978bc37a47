use std::fmt;

use thiserror::Error;
use ztna_model::{DomainName, Host, Port, Target};

/// What an app wants to reach, exactly as it said: a name is never resolved here, an address never rewritten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Where.
    pub host: Host,
    /// On which port.
    pub port: Port,
    /// How the app asked.
    pub form: Form,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Target { host: self.host.clone(), port: Some(self.port) }.fmt(f)
    }
}

/// How an app asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Form {
    /// SOCKS5 CONNECT (RFC 1928).
    Socks,
    /// HTTP CONNECT (RFC 9110, 9.3.6).
    Connect,
    /// One plain HTTP request to an `http://` URL (RFC 9112, 3.2.2).
    Absolute,
}

/// Why a text names no destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum DestinationError {
    /// It is not `host:port`.
    #[error("not a host and a port")]
    Malformed,
    /// It is, but nothing can have that name, so it is answered like a name that nothing has.
    #[error("not a name that anything can have")]
    NoSuchName,
}

/// Reads the `host:port` of a URL or of CONNECT (RFC 3986, 3.2); user information is refused.
pub(crate) fn authority(text: &str, default: Option<Port>) -> Result<(Host, Port), DestinationError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) | None => (text, ""),
    };
    let port = if port.is_empty() { default } else { port.parse().ok() };
    let port = port.ok_or(DestinationError::Malformed)?;
    Ok((host_of_authority(host)?, port))
}

fn host_of_authority(text: &str) -> Result<Host, DestinationError> {
    if text.starts_with('[') {
        return text.parse().map_err(|_| DestinationError::Malformed);
    }
    if text.is_empty() || text.contains(['@', ':']) {
        return Err(DestinationError::Malformed);
    }
    host_from(text).ok_or(DestinationError::NoSuchName)
}

/// The host in a text that apps may write in any case and with a final dot. An address counts only in its one
/// strict spelling: `127.1`, `0177.0.0.1` and `2130706433` are neither names nor addresses.
pub(crate) fn host_from(text: &str) -> Option<Host> {
    text.parse().ok().or_else(|| DomainName::from_any_case(text).ok().map(Host::Name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, DestinationError>) {
        let read = authority(text, Port::new(80))
            .map(|(host, port)| Destination { host, port, form: Form::Absolute }.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn authorities() {
        let rows = [
            ("wiki.demo", "wiki.demo:80"),
            ("wiki.demo:", "wiki.demo:80"),
            ("WIKI.Demo.:8080", "wiki.demo:8080"),
            ("10.0.0.1:8080", "10.0.0.1:8080"),
            ("[2001:DB8::1]", "[2001:db8::1]:80"),
            ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
            ("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80"),
        ];
        for (text, expected) in rows {
            check(text, Ok(expected));
        }
        let malformed = [
            "",
            ":80",
            "wiki.demo:0",
            "wiki.demo:080",
            "wiki.demo:+80",
            "wiki.demo:65536",
            "wiki.demo:80:80",
            "ana@wiki.demo",
            "ana:pw@wiki.demo",
            "2001:db8::1",
            "::1",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[10.0.0.1]:80",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[]",
        ];
        for text in malformed {
            check(text, Err(DestinationError::Malformed));
        }
        for text in ["wiki demo", "wiki..demo", "-a", "wiki%2edemo", "bücher.demo", "wiki\\demo", "*", "."] {
            check(text, Err(DestinationError::NoSuchName));
        }
    }

    #[test]
    fn e03_other_spellings_of_an_address_are_neither_name_nor_address() {
        let spellings = [
            "127.1",
            "0177.0.0.1",
            "010.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "10.0.0.1.",
            "10.0.0.256",
            "10.0.0",
        ];
        for text in spellings {
            check(text, Err(DestinationError::NoSuchName));
        }
    }
}
