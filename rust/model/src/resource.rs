use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::{Cidr, Synthetic};
use crate::flow::{Port, Ports, Protocol};
use crate::id::{ResourceId, SiteId};
use crate::name::{DomainName, NamePattern};
use crate::parse::{ParseError, serde_as_text};

/// One application at one site.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// What people call it.
    pub title: String,
    /// Where it lives.
    pub site: SiteId,
    /// How people address it.
    pub address: Address,
    /// What it speaks.
    pub protocol: Protocol,
    /// On which ports.
    pub ports: Ports,
    /// What the gateway dials instead of what people dial; without it, the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether its addresses are reached by the names alone that they have at their site ([`crate::AddressName`]): another
    /// site may have the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
}

/// How people address a resource: by a name, a wildcard name, an address or a prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// A name, or a wildcard over names.
    Name(NamePattern),
    /// An address or a prefix.
    Prefix(Cidr),
}

/// What a lease covers: one concrete name with its stand-in addresses, or a prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// One name.
    Name {
        /// The name, never a wildcard.
        name: DomainName,
        /// Its stand-ins in this session.
        synthetic: Synthetic,
    },
    /// An address or a prefix.
    Prefix(Cidr),
}

impl Match {
    /// Whether packets to `address` are meant.
    pub fn covers(&self, address: IpAddr) -> bool {
        match self {
            Self::Name { synthetic, .. } => synthetic.has(address),
            Self::Prefix(cidr) => cidr.contains(address),
        }
    }
}

/// A name to resolve, or an address to take as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// A name.
    Name(DomainName),
    /// An address.
    Address(IpAddr),
}

impl FromStr for Host {
    type Err = ParseError;

    /// Reads `wiki.example`, `10.0.0.1`, `2001:db8::1` or `[2001:db8::1]`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(text).parse::<IpAddr>()
            && (literal.is_none() || address.is_ipv6())
        {
            return Ok(Self::Address(address));
        }
        text.parse()
            .map(Self::Name)
            .map_err(|_| ParseError::new(text, "a DNS name in lower case or an address"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

serde_as_text!(Host);

/// What a gateway dials: `wiki.internal`, `wiki.internal:8080`, `10.0.0.1:8080`, `[2001:db8::1]:443`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// Where.
    pub host: Host,
    /// On which port; without it, the one that was dialled.
    pub port: Option<Port>,
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a name or an address, perhaps with `:` and a port");
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = Port::new(address.port()).ok_or_else(error)?;
            return Ok(Self { host: Host::Address(address.ip()), port: Some(port) });
        }
        if let Ok(host) = text.parse() {
            return Ok(Self { host, port: None });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let host = host.parse().map(Host::Name).map_err(|_| error())?;
        Ok(Self { host, port: Some(port.parse().map_err(|_| error())?) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (host, None) => host.fmt(f),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Address(address), Some(port)) => SocketAddr::new(*address, port.number()).fmt(f),
        }
    }
}

serde_as_text!(Target);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let texts =
            ["wiki.demo", "wiki.demo:80", "10.0.0.1", "10.0.0.1:80", "2001:db8::1", "[2001:db8::1]:80"];
        for text in texts {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in
            ["", ":80", "wiki.demo:", "wiki.demo:0", "Wiki", "10.0.0.1:0", "[10.0.0.1]", "0x7f.1", "a b"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
