use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::{ParseError, serde_as_text};

/// What a flow speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
    /// ICMP and ICMPv6 echo (RFC 792, RFC 4443); its identifier stands where the others have a port.
    IcmpEcho,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::IcmpEcho => "icmp-echo",
        })
    }
}

impl FromStr for Protocol {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp-echo" => Ok(Self::IcmpEcho),
            _ => Err(ParseError::new(text, "`tcp`, `udp` or `icmp-echo`")),
        }
    }
}

/// One end of a flow: an address and a port (for echo, the identifier at the device's end and 0 at the other).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// `address` and `port`.
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.address, endpoint.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 5-tuple, seen from the packet that carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where the packet comes from.
    pub source: Endpoint,
    /// Where it goes.
    pub destination: Endpoint,
}

impl Flow {
    /// The same flow, seen from the answer.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

/// A port that can be dialled: 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// The lowest: what stands where a protocol has no ports.
    pub const LOWEST: Self = Self(NonZeroU16::MIN);

    /// `number`, unless it is 0.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
        text.parse()
            .ok()
            .filter(|_| digits)
            .and_then(Self::new)
            .ok_or_else(|| ParseError::new(text, "a port from 1 to 65535"))
    }
}

/// Ports from `first` to `last`, both included; `first` is never above `last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// The range, unless it is upside down.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A set of ports, sorted and merged: `80,443,8000-8010`, or `*` for all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ports(Vec<PortRange>);

impl Ports {
    /// Every port: what an ICMP echo resource has.
    pub fn all() -> Self {
        Self(vec![PortRange::ALL])
    }

    /// `port` alone.
    pub fn one(port: Port) -> Self {
        Self(vec![PortRange { first: port.number(), last: port.number() }])
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }

    /// The ranges, rising, never touching.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    fn merged(mut ranges: Vec<PortRange>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl FromStr for Ports {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "*" {
            return Ok(Self::all());
        }
        let error = || ParseError::new(text, "ports such as `443`, `80,443` or `8000-8010`, or `*`");
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (Port, Port) = (first.parse().ok()?, last.parse().ok()?);
            PortRange::new(first.number(), last.number())
        };
        let ranges: Option<Vec<PortRange>> = text.split(',').map(range).collect();
        ranges.filter(|ranges| ranges.len() <= 64).map(Self::merged).ok_or_else(error)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == [PortRange::ALL] {
            return f.write_str("*");
        }
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match (range.first, range.last) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

serde_as_text!(Ports);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_sets() {
        let rows = [
            ("443", "443"),
            ("443,80", "80,443"),
            ("80,81,82", "80-82"),
            ("8000-8010,8005-8020", "8000-8020"),
            ("65535", "65535"),
            ("*", "*"),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), expected);
        }
        for text in ["", "0", "65536", "90-80", "80,", "-", "80-", "a", "080", "+80", " 80"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        let ports: Ports = "80,8000-8010".parse().unwrap();
        assert!(ports.contains(80) && ports.contains(8010) && !ports.contains(81) && !ports.contains(0));
    }
}
