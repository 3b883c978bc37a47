use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::id::SiteId;
use crate::name::DomainName;

/// The name that every address at a site has besides: `10-1-2-3.berlin.corp.example`, `2001-db8--7.berlin.corp.example`.
/// Two sites with the same plan of addresses are told apart by it.
///
/// The first label is the address with `-` for `.` and `:`; the second one is the site; the rest is a suffix of the
/// organisation's. An address has one spelling alone, the shortest (RFC 5952), with a `0` where a label would begin or
/// end with `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressName {
    /// The address.
    pub address: IpAddr,
    /// The site at which it is meant.
    pub site: SiteId,
}

impl AddressName {
    /// What `name` spells below one of `suffixes`, if it spells an address at all.
    pub fn read(name: &DomainName, suffixes: &[DomainName]) -> Option<Self> {
        let (label, rest) = name.as_str().split_once('.')?;
        let (site, suffix) = rest.split_once('.')?;
        suffixes.iter().find(|known| known.as_str() == suffix)?;
        Some(Self { address: read_label(label)?, site: site.parse().ok()? })
    }

    /// The name below `suffix`, unless that is longer than a name may be. An IPv4 address in IPv6's clothes has none.
    pub fn below(&self, suffix: &DomainName) -> Option<DomainName> {
        format!("{}.{}.{suffix}", label_of(self.address)?, self.site).parse().ok()
    }
}

fn read_label(label: &str) -> Option<IpAddr> {
    let v4 = || label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6);
    v4().or_else(|_| v6()).ok().filter(|address| label_of(*address).as_deref() == Some(label))
}

fn label_of(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V4(v4) => Some(v4.to_string().replace('.', "-")),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        IpAddr::V6(v6) => {
            let spelled = v6.to_string().replace(':', "-");
            let first = if spelled.starts_with('-') { "0" } else { "" };
            let last = if spelled.ends_with('-') { "0" } else { "" };
            Some(format!("{first}{spelled}{last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_5_every_address_at_a_site_has_a_name() {
        let rows = [
            ("10.1.2.3", "10-1-2-3.berlin.corp.example"),
            ("2001:db8::7", "2001-db8--7.berlin.corp.example"),
            ("fd00:1:2:3:4:5:6:7", "fd00-1-2-3-4-5-6-7.berlin.corp.example"),
            ("fd00::", "fd00--0.berlin.corp.example"),
            ("::7", "0--7.berlin.corp.example"),
        ];
        for (address, name) in rows {
            let meant = AddressName { address: address.parse().unwrap(), site: "berlin".parse().unwrap() };
            assert_eq!(meant.below(&suffix()).unwrap().as_str(), name);
            assert_eq!(AddressName::read(&name.parse().unwrap(), &[suffix()]), Some(meant), "{name}");
        }
    }

    #[test]
    fn e03_an_address_has_one_spelling() {
        let rows = [
            "010-1-2-3.berlin.corp.example",
            "10-1-2.berlin.corp.example",
            "10-1-2-3-4.berlin.corp.example",
            "10-1-2-256.berlin.corp.example",
            "2001-0db8--7.berlin.corp.example",
            "2001-db8-0-0-0-0-0-7.berlin.corp.example",
            "2001-db8--7-0.berlin.corp.example.example",
            "0-0--7.berlin.corp.example",
            "0--ffff-a01-203.berlin.corp.example",
            "10-1-2-3.corp.example",
            "10-1-2-3.a.berlin.corp.example",
            "10-1-2-3.berlin.other.example",
            "a.10-1-2-3.berlin.corp.example",
            "wiki.berlin.corp.example",
            "corp.example",
            "example",
        ];
        for name in rows {
            assert_eq!(AddressName::read(&name.parse().unwrap(), &[suffix()]), None, "{name}");
        }
    }

    fn suffix() -> DomainName {
        "corp.example".parse().unwrap()
    }
}
