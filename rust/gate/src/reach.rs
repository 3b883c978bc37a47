use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ztna_model::{
    Carrier, Cidr, DomainName, Host, NamePattern, ParseError, Port, Ports, has_forbidden_target,
    is_forbidden_target,
};

/// Where a gateway may go at all, whatever any lease says. Empty: nowhere.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reach(Vec<ReachEntry>);

/// One place that a gateway may go to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReachEntry {
    /// Hosts by name, whatever they resolve to, but for forbidden ranges: `wiki.internal`, `*.internal`.
    Name(NamePattern),
    /// Addresses, but for forbidden ranges: `10.0.0.0/8`.
    Prefix(Cidr),
    /// One address and port, even in a forbidden range: `127.0.0.1:8080`.
    Exact(SocketAddr),
}

impl Reach {
    /// These places.
    pub const fn new(entries: Vec<ReachEntry>) -> Self {
        Self(entries)
    }

    /// The places.
    pub fn entries(&self) -> &[ReachEntry] {
        &self.0
    }

    /// Whether a lease for `host` may be taken, on some of `ports`. What a name resolves to is looked at when a flow
    /// begins.
    pub fn may_hold(&self, host: &Host, ports: &Ports) -> bool {
        match host {
            Host::Address(address) => self.admits_address(*address, ports),
            Host::Name(name) => {
                self.names(name) || self.0.iter().any(|entry| !matches!(entry, ReachEntry::Name(_)))
            }
        }
    }

    /// Whether every address of `prefix` is in reach, on some of `ports`.
    pub fn may_hold_prefix(&self, prefix: &Cidr, ports: &Ports) -> bool {
        let single = *prefix == Cidr::host(prefix.first());
        let whole = |cidr: &Cidr| cidr.length() <= prefix.length() && cidr.contains(prefix.first());
        self.0.iter().any(|entry| match entry {
            ReachEntry::Prefix(cidr) => whole(cidr) && !has_forbidden_target(prefix),
            ReachEntry::Exact(exact) => {
                single && exact.ip() == prefix.first() && ports.contains(exact.port())
            }
            ReachEntry::Name(_) => false,
        })
    }

    /// Whether a datagram may be sent to where a device says it is: a public address, or one in reach. This machine is
    /// meant only where it `serves_own_machine`.
    pub fn may_open_path(&self, to: Carrier, serves_own_machine: bool) -> bool {
        let Carrier::Udp(to) = to;
        let address = to.ip();
        let is_near = if address.is_loopback() {
            serves_own_machine
        } else {
            let within =
                |entry: &ReachEntry| matches!(entry, ReachEntry::Prefix(cidr) if cidr.contains(address));
            !is_forbidden_target(address) && (is_public(address) || self.0.iter().any(within))
        };
        is_near && to.port() != 0
    }

    /// Whether `host`, which resolved to `address`, may be connected to on `port`.
    pub fn admits(&self, host: &Host, address: IpAddr, port: Port) -> bool {
        let by_name = match host {
            Host::Name(name) => self.names(name) && !is_forbidden_target(address),
            Host::Address(_) => false,
        };
        by_name || self.admits_address(address, &Ports::one(port))
    }

    /// Whether `host`, which resolved to `address`, may be sent an echo. An entry with a port is for that port alone.
    pub fn admits_echo(&self, host: &Host, address: IpAddr) -> bool {
        let by_name = matches!(host, Host::Name(name) if self.names(name));
        let within = |entry: &ReachEntry| matches!(entry, ReachEntry::Prefix(cidr) if cidr.contains(address));
        !is_forbidden_target(address) && (by_name || self.0.iter().any(within))
    }

    /// Whether `address` is named itself, with its port: then it is meant even if it is one of this machine's own.
    pub fn names_exactly(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|entry| match entry {
            ReachEntry::Exact(exact) => *exact == address,
            ReachEntry::Prefix(_) | ReachEntry::Name(_) => false,
        })
    }

    fn names(&self, name: &DomainName) -> bool {
        self.0.iter().any(|entry| matches!(entry, ReachEntry::Name(pattern) if pattern.matches(name)))
    }

    fn admits_address(&self, address: IpAddr, ports: &Ports) -> bool {
        self.0.iter().any(|entry| match entry {
            ReachEntry::Prefix(cidr) => cidr.contains(address) && !is_forbidden_target(address),
            ReachEntry::Exact(exact) => exact.ip() == address && ports.contains(exact.port()),
            ReachEntry::Name(_) => false,
        })
    }
}

impl FromStr for ReachEntry {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            || ParseError::new(text, "a prefix, a name, a `*.` or `**.` pattern, or an address with a port");
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(error()) } else { Ok(Self::Exact(address)) };
        }
        if let Ok(cidr) = text.parse() {
            return Ok(Self::Prefix(cidr));
        }
        text.parse().map(Self::Name).map_err(|_| error())
    }
}

impl fmt::Display for ReachEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => pattern.fmt(f),
            Self::Prefix(cidr) => cidr.fmt(f),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

impl Serialize for ReachEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReachEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an address belongs to the internet, and not to networks of somebody's own (RFC 1918, 6598, 4193).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !v4.is_private() && (a, b & 0xc0) != (100, 64)
        }
        IpAddr::V6(v6) => !v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(entries: &[&str]) -> Reach {
        Reach::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    #[test]
    fn e02_e03_where_a_flow_may_go() {
        let rows = [
            (&["10.0.0.0/8"][..], "10.1.2.3", "10.1.2.3", 80, true),
            (&["10.0.0.0/8"], "10.1.2.3", "11.1.2.3", 80, false),
            (&["10.0.0.0/8"], "wiki.internal", "10.1.2.3", 80, true),
            (&["*.internal"], "wiki.internal", "192.168.1.1", 80, true),
            // A name in reach that resolves into a forbidden range.
            (&["*.internal"], "wiki.internal", "127.0.0.1", 80, false),
            (&["*.internal"], "wiki.internal", "169.254.169.254", 80, false),
            (&["*.internal"], "wiki.internal", "::ffff:10.0.0.1", 80, false),
            (&["*.internal"], "wiki.internal", "64:ff9b::a00:1", 80, false),
            (&["*.internal"], "wiki.internal", "0.0.0.0", 80, false),
            (&["*.internal"], "wiki.external", "10.1.2.3", 80, false),
            // A prefix never opens a forbidden range, however wide it is.
            (&["0.0.0.0/0", "::/0"], "127.0.0.1", "127.0.0.1", 80, false),
            (&["0.0.0.0/0", "::/0"], "::1", "::1", 80, false),
            (&["127.0.0.0/8"], "127.0.0.1", "127.0.0.1", 80, false),
            // One that is named exactly does, for that port alone.
            (&["127.0.0.1:8080"], "127.0.0.1", "127.0.0.1", 8080, true),
            (&["127.0.0.1:8080"], "127.0.0.1", "127.0.0.1", 8081, false),
            (&["127.0.0.1:8080"], "wiki.internal", "127.0.0.1", 8080, true),
            (&["127.0.0.1:8080"], "127.0.0.2", "127.0.0.2", 8080, false),
            (&[], "10.1.2.3", "10.1.2.3", 80, false),
        ];
        for (entries, host, address, port, expected) in rows {
            let (host, address, port) =
                (host.parse().unwrap(), address.parse().unwrap(), Port::new(port).unwrap());
            assert_eq!(
                reach(entries).admits(&host, address, port),
                expected,
                "{entries:?} {host} {address}:{port}"
            );
        }
    }

    #[test]
    fn e02_e03_where_an_echo_may_go() {
        let rows = [
            (&["10.0.0.0/8"][..], "10.1.2.3", "10.1.2.3", true),
            (&["10.0.0.0/8"], "11.1.2.3", "11.1.2.3", false),
            (&["10.1.2.3:80"], "10.1.2.3", "10.1.2.3", false),
            (&["*.internal"], "wiki.internal", "10.1.2.3", true),
            (&["*.internal"], "wiki.internal", "127.0.0.1", false),
            (&["0.0.0.0/0"], "wiki.internal", "169.254.169.254", false),
            (&["127.0.0.1:80"], "127.0.0.1", "127.0.0.1", false),
        ];
        for (entries, host, address, expected) in rows {
            let (host, at) = (host.parse().unwrap(), address.parse().unwrap());
            assert_eq!(reach(entries).admits_echo(&host, at), expected, "{entries:?} {host} {address}");
        }
    }

    #[test]
    fn p5_3_e03_prefixes_are_held_whole_or_not_at_all() {
        let ports = "80,443".parse().unwrap();
        let rows = [
            (&["10.0.0.0/8"][..], "10.1.0.0/16", true),
            (&["10.1.0.0/16"], "10.0.0.0/8", false),
            (&["10.0.0.0/16"], "10.0.0.0/8", false),
            (&["10.0.0.1:80"], "10.0.0.1/32", true),
            (&["10.0.0.1:80"], "10.0.0.0/31", false),
            (&["*.internal"], "10.0.0.1/32", false),
            // However wide what is in reach is, nothing forbidden is held, nor what holds something forbidden.
            (&["0.0.0.0/0"], "11.0.0.0/8", true),
            (&["0.0.0.0/0"], "127.0.0.0/8", false),
            (&["0.0.0.0/0"], "0.0.0.0/0", false),
            (&["169.254.0.0/16"], "169.254.169.254/32", false),
            (&["127.0.0.1:80"], "127.0.0.1/32", true),
            (&["127.0.0.1:81"], "127.0.0.1/32", false),
        ];
        for (entries, prefix, expected) in rows {
            assert_eq!(
                reach(entries).may_hold_prefix(&prefix.parse().unwrap(), &ports),
                expected,
                "{entries:?} {prefix}"
            );
        }
    }
}
