use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;
use ztna_model::DomainName;

use crate::label::from_wire;

/// What a question is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topic {
    /// A name that an application may mean.
    Name(DomainName),
    /// Who has an address (RFC 1035, 3.5; RFC 3596, 2.5).
    Reverse(IpAddr, DomainName),
    /// Whether a browser may ask a resolver of its own (`use-application-dns.net`): work names would be hidden from it.
    Canary,
    /// Whether the resolver can be spoken to in other ways (RFC 9462).
    Discovery,
    /// A name that no host has.
    Odd,
}

/// The reverse trees of the addresses that stand in for names.
pub const REVERSE_ZONES: [&str; 2] = ["18.198.in-addr.arpa", "1.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.ip6.arpa"];

impl Topic {
    pub(crate) fn of(name: &Name) -> Self {
        let Some(name) = from_wire(name) else { return Self::Odd };
        match name.as_str() {
            "use-application-dns.net" => Self::Canary,
            text if text == "resolver.arpa" || text.ends_with(".resolver.arpa") => Self::Discovery,
            text => match reverse(text) {
                Some(address) => Self::Reverse(address, name),
                None => Self::Name(name),
            },
        }
    }
}

/// Whether `name` is one of `ours` with a search domain of some network's behind it: `wiki.corp.example.lan`. Nobody
/// else is to hear of it.
pub fn is_strayed(name: &DomainName, ours: impl Fn(&DomainName) -> bool) -> bool {
    let rests = SEARCH_DOMAINS.iter().filter_map(|tail| name.as_str().strip_suffix(tail)?.strip_suffix('.'));
    rests.filter_map(|rest| rest.parse().ok()).any(|rest| ours(&rest))
}

fn reverse(text: &str) -> Option<IpAddr> {
    if let Some(octets) = text.strip_suffix(".in-addr.arpa") {
        let mut parts: Vec<&str> = octets.split('.').collect();
        parts.reverse();
        return parts.join(".").parse::<Ipv4Addr>().map(IpAddr::V4).ok();
    }
    let nibbles = text.strip_suffix(".ip6.arpa")?;
    let digits: Vec<u32> = nibbles.split('.').rev().map_while(nibble).collect();
    let is_whole = digits.len() == 32 && nibbles.len() == 63;
    let bits = digits.iter().fold(0_u128, |bits, digit| bits << 4 | u128::from(*digit));
    is_whole.then(|| Ipv6Addr::from_bits(bits).into())
}

fn nibble(label: &str) -> Option<u32> {
    let mut chars = label.chars();
    let digit = chars.next()?.to_digit(16)?;
    chars.next().is_none().then_some(digit)
}

/// What home and office networks hand out as search domains, and the public DNS does not have.
const SEARCH_DOMAINS: [&str; 9] =
    ["corp", "home", "home.arpa", "internal", "intranet", "lan", "local", "localdomain", "private"];
