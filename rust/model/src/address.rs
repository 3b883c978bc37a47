use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::{ParseError, serde_as_text};

/// An address prefix whose host bits are zero: `10.1.0.0/16`, `2001:db8::/32`. A bare address is a full prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: IpAddr,
    length: u8,
}

impl Cidr {
    /// The prefix of `length` bits that begins at `first`, if no host bit is set.
    pub fn new(first: IpAddr, length: u8) -> Option<Self> {
        (length <= bits(first) && masked(first, length) == first).then_some(Self { first, length })
    }

    /// The prefix that holds `address` alone.
    pub const fn host(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { first: address, length }
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The number of bits that all addresses share.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` is in the prefix. Families never mix: `::ffff:10.0.0.1` is not in `10.0.0.0/8`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.length) == self.first
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl FromStr for Cidr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            || ParseError::new(text, "an address or a prefix with no host bits set such as 10.1.0.0/16");
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| error());
        };
        let length_fits = length == "0" || !length.starts_with(['0', '+']);
        let address = address.parse().map_err(|_| error())?;
        let length = length.parse().ok().filter(|_| length_fits).ok_or_else(error)?;
        Self::new(address, length).ok_or_else(error)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(Cidr);

/// The per-session stand-in for a named resource: one address of each family, drawn from benchmarking ranges
/// (RFC 2544, RFC 5180), so that browsers treat both as public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Synthetic {
    /// In `198.18.0.0/16`.
    pub v4: Ipv4Addr,
    /// In `2001:2:0:1::/64`.
    pub v6: Ipv6Addr,
}

impl Synthetic {
    /// The ranges that all pairs are drawn from.
    pub const RANGES: [Cidr; 2] = [v4([198, 18, 0, 0], 16), v6([0x2001, 2, 0, 1], 64)];

    /// The pair numbered `index`.
    pub const fn from_index(index: u16) -> Self {
        let [high, low] = index.to_be_bytes();
        Self { v4: Ipv4Addr::new(198, 18, high, low), v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, index) }
    }

    /// Whether both addresses lie in the ranges for names, and carry the same number.
    pub fn is_sound(&self) -> bool {
        let [_, _, high, low] = self.v4.octets();
        *self == Self::from_index(u16::from_be_bytes([high, low]))
    }

    /// Whether `address` is one of the two.
    pub fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.v4,
            IpAddr::V6(v6) => v6 == self.v6,
        }
    }
}

/// The inner addresses that are the same on every device: identity is the WireGuard peer, never the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// IPv4, in `198.19.0.0/16`.
    pub v4: Ipv4Addr,
    /// IPv6, in `2001:2::/64`.
    pub v6: Ipv6Addr,
}

impl Inner {
    /// The device's own source addresses.
    pub const DEVICE: Self = Self::numbered(1);
    /// Where the gateway's notices come from and go to.
    pub const NOTICES: Self = Self::numbered(2);
    /// The resolver inside the tunnel.
    pub const RESOLVER: Self = Self::numbered(53);
    /// The UDP port of notices, at both ends.
    pub const NOTICES_PORT: u16 = 4711;
    /// The UDP port of the resolver.
    pub const RESOLVER_PORT: u16 = 53;

    const fn numbered(number: u8) -> Self {
        Self {
            v4: Ipv4Addr::new(198, 19, 0, number),
            v6: Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, number as u16),
        }
    }

    /// The address of the same family as `other`.
    pub const fn like(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => IpAddr::V4(self.v4),
            IpAddr::V6(_) => IpAddr::V6(self.v6),
        }
    }

    /// Whether `address` is one of the two.
    pub fn has(&self, address: IpAddr) -> bool {
        self.like(address) == address
    }
}

/// Whether a gateway must refuse to dial `address` unless its `reach` names that exact address and port: this
/// machine, link-local and metadata services, multicast, our own ranges, and every IPv6 form that carries an
/// IPv4 address past a check (v4-mapped and v4-compatible, NAT64, 6to4, Teredo).
pub fn is_forbidden_target(address: IpAddr) -> bool {
    FORBIDDEN.iter().any(|range| range.contains(address))
}

/// Whether a gateway must refuse to dial some address of `prefix`.
pub fn has_forbidden_target(prefix: &Cidr) -> bool {
    FORBIDDEN.iter().any(|range| range.overlaps(prefix))
}

const FORBIDDEN: [Cidr; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([224, 0, 0, 0], 3),
    v6([0, 0, 0, 0], 80), // ::, ::1, v4-compatible, v4-mapped
    v6([0x64, 0xff9b, 0, 0], 96),
    v6([0x64, 0xff9b, 1, 0], 48),
    v6([0x2001, 0, 0, 0], 32),
    v6([0x2001, 2, 0, 0], 48),
    v6([0x2002, 0, 0, 0], 16),
    v6([0xfd00, 0xec2, 0, 0], 32), // metadata of AWS,
    v6([0xfd20, 0xce, 0, 0], 32),  // of Google Cloud
    v6([0xfe80, 0, 0, 0], 10),
    v6([0xfec0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0], 8),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Cidr {
    Cidr { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
}

const fn v6([a, b, c, d]: [u16; 4], length: u8) -> Cidr {
    Cidr { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), length }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let rows = [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "10.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
        ];
        for (cidr, address, expected) in rows {
            let cidr: Cidr = cidr.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), expected, "{cidr} {address}");
        }
        for text in [
            "",
            "10.1.2.3/16",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "::/129",
            "010.0.0.1",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn p6_3_synthetic_pairs_carry_one_number() {
        let pair = Synthetic::from_index(0x1234);
        assert_eq!(pair.v4.to_string(), "198.18.18.52");
        assert_eq!(pair.v6.to_string(), "2001:2:0:1::1234");
        assert!(pair.is_sound());
        assert!(!Synthetic { v4: Synthetic::from_index(1).v4, v6: Synthetic::from_index(2).v6 }.is_sound());
        assert!(!Synthetic { v4: Inner::DEVICE.v4, v6: Inner::DEVICE.v6 }.is_sound());
    }

    #[test]
    fn e03_forms_that_carry_a_forbidden_address_are_forbidden() {
        let forbidden = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "198.18.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:2::1",
            "2001:2:0:1::5",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in forbidden {
            assert!(is_forbidden_target(text.parse().unwrap()), "{text}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "1.1.1.1",
            "198.20.0.1",
            "2001:db8::1",
            "fd00::1",
            "2600::1",
            "2001:2:1::1",
        ] {
            assert!(!is_forbidden_target(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn e03_a_prefix_that_holds_a_forbidden_address_is_found_out() {
        for text in [
            "127.0.0.1",
            "126.0.0.0/7",
            "0.0.0.0/0",
            "169.254.169.254",
            "::/0",
            "fe00::/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(has_forbidden_target(&text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.0/8", "128.0.0.0/3", "192.168.1.0/24", "2001:db8::/32", "fd12::/16", "2600::/12"]
        {
            assert!(!has_forbidden_target(&text.parse().unwrap()), "{text}");
        }
        for range in FORBIDDEN {
            assert_eq!(Cidr::new(range.first, range.length), Some(range), "{range} has no host bits");
        }
    }
}
