use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::{ParseError, serde_as_text};
use crate::random::Random;

/// Ids that nobody chooses: 128 random bits, written as 32 lower-case hexadecimal digits.
macro_rules! random_ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh id.
            pub fn random(random: &mut dyn Random) -> Self {
                let mut bytes = [0; 16];
                random.fill(&mut bytes);
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                parse_hex(text)
                    .map(Self)
                    .ok_or_else(|| ParseError::new(text, "an id of 32 lower-case hexadecimal digits"))
            }
        }

        serde_as_text!($name);
    )*};
}

random_ids! {
    /// One device's signed-in session (`sid`).
    SessionId,
    /// One device: a device key that was admitted, or waits to be.
    DeviceId,
    /// A person as leases, gateways and the audit log know them.
    Pseudonym,
    /// One lease; a renewal keeps it.
    LeaseId,
    /// One run of a gateway process.
    RunId,
    /// One life of the broker's store; a restore changes it.
    Incarnation,
    /// One decision, as the audit log names it.
    DecisionId,
    /// One standing denial.
    HoldId,
    /// One device waiting to be admitted.
    ApprovalId,
    /// One control stream, in the chain by which a session's streams follow each other.
    LinkId,
}

/// Ids that an administrator chooses: 1 to 63 of `a-z`, `0-9` and `-`, not starting or ending with `-`.
macro_rules! chosen_ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_slug(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseError::new(text, "1 to 63 of a-z, 0-9 and -, not starting or ending with -"))
                }
            }
        }

        serde_as_text!($name);
    )*};
}

chosen_ids! {
    /// One application that someone may reach.
    ResourceId,
    /// One place where applications live, and gateways with them.
    SiteId,
    /// One gateway.
    GatewayId,
    /// One policy.
    PolicyId,
    /// One group of people, as the organisation names it.
    GroupId,
}

/// An organisation: the HTTPS origin at which its broker answers, `https://host[:port]`, lower case, no path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgId(String);

impl OrgId {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `host[:port]`.
    pub fn authority(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or_default()
    }

    /// The host alone; an IPv6 literal keeps its brackets.
    pub fn host(&self) -> &str {
        split_port(self.authority()).0
    }

    /// The port; 443 where none is written.
    pub fn port(&self) -> u16 {
        split_port(self.authority()).1.and_then(|port| port.parse().ok()).unwrap_or(443)
    }
}

impl FromStr for OrgId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "an HTTPS origin such as https://acme.example");
        let (host, port) = split_port(text.strip_prefix("https://").ok_or_else(error)?);
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_fits = match literal {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.parse::<crate::DomainName>().is_ok() || host.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        let port_fits =
            port.is_none_or(|port| !port.starts_with('0') && port.parse().is_ok_and(|port: u16| port != 443));
        if host_fits && port_fits { Ok(Self(text.to_owned())) } else { Err(error()) }
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(OrgId);

/// SHA-256 of the root key's SubjectPublicKeyInfo (RFC 7469, 2.4): what a device pins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootHash(pub [u8; 32]);

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RootHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.strip_prefix("sha256-")
            .and_then(parse_hex)
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "`sha256-` and 64 lower-case hexadecimal digits"))
    }
}

serde_as_text!(RootHash);

/// The one string a device needs: an origin, and optionally the hash of the root key to pin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrgString {
    /// The organisation.
    pub org: OrgId,
    /// The root key to pin; without it, the TLS certificate must be publicly trusted.
    pub root: Option<RootHash>,
}

impl FromStr for OrgString {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (origin, root) = match text.split_once('#') {
            Some((origin, root)) => (origin, Some(root.parse()?)),
            None => (text, None),
        };
        Ok(Self { org: origin.parse()?, root })
    }
}

impl fmt::Display for OrgString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            Some(root) => write!(f, "{}#{root}", self.org),
            None => write!(f, "{}", self.org),
        }
    }
}

serde_as_text!(OrgString);

/// A person: who an issuer says they are. An e-mail address is never an identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PersonId {
    /// The issuer's identifier, exact (OIDC Core 2, `iss`).
    pub issuer: String,
    /// The issuer's name for the person (`sub`).
    pub subject: String,
}

/// `N` bytes from exactly `2 N` lower-case hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// `host` and `port` of an authority; the colons of a bracketed IPv6 literal are no port's.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_3_organisation_strings() {
        let accepted = [
            "https://acme.example",
            "https://acme.example:8443",
            "https://127.0.0.1:4433",
            "https://[::1]:4433",
            "https://acme.example#sha256-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ];
        for text in accepted {
            let parsed: OrgString = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        let refused = [
            "",
            "acme.example",
            "http://acme.example",
            "https://",
            "https://ACME.example",
            "https://acme.example/",
            "https://acme.example/path",
            "https://user@acme.example",
            "https://acme.example:443", // one organisation, one spelling
            "https://acme.example:08443",
            "https://acme.example:99999",
            "https://acme.example#",
            "https://acme.example#sha256-00",
            "https://[::1",
        ];
        for text in refused {
            assert!(text.parse::<OrgString>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_a_host_and_a_port() {
        let org: OrgId = "https://[::1]:4433".parse().unwrap();
        assert_eq!((org.host(), org.port()), ("[::1]", 4433));
        let org: OrgId = "https://acme.example".parse().unwrap();
        assert_eq!((org.host(), org.port()), ("acme.example", 443));
    }

    #[test]
    fn ids_read_back_what_they_write() {
        let id = LeaseId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &"zz".repeat(16)] {
            assert!(text.parse::<LeaseId>().is_err(), "{text}");
        }
        for text in ["", "-wiki", "wiki-", "Wiki", "wi ki", &"a".repeat(64)] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
