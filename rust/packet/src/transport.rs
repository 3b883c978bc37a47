use std::net::IpAddr;

use crate::checksum::Sum;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// What follows the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
}

impl Transport {
    /// The protocol's number, as IP headers write it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Icmp => ICMP,
            Self::Icmpv6 => ICMPV6,
        }
    }

    /// The ICMP of the family of `address`.
    pub(crate) const fn icmp_of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Icmp,
            IpAddr::V6(_) => Self::Icmpv6,
        }
    }

    /// Where its checksum lies, from the transport header's beginning.
    #[inline]
    pub(crate) const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
            Self::Icmp | Self::Icmpv6 => 2,
        }
    }

    /// Whether the checksum covers the addresses.
    #[inline]
    pub(crate) const fn covers_addresses(self) -> bool {
        match self {
            Self::Tcp | Self::Udp | Self::Icmpv6 => true,
            Self::Icmp => false,
        }
    }

    /// What the checksum covers besides the transport header and what follows it (RFC 9293, section 3.1; RFC 8200,
    /// section 8.1).
    #[inline]
    pub(crate) const fn pseudo_header(self, addresses: Sum, length: usize) -> Sum {
        if !self.covers_addresses() {
            return Sum::ZERO;
        }
        let length = Sum::of_word((length >> 16) as u16).plus(Sum::of_word(length as u16));
        addresses.plus(length).plus(Sum::of_word(self.number() as u16))
    }

    /// A checksum as it is written: for UDP, where 0 means that there is none, 0 is written as its equal.
    #[inline]
    pub(crate) const fn written(self, checksum: u16) -> u16 {
        match (self, checksum) {
            (Self::Udp, 0) => u16::MAX,
            (Self::Tcp | Self::Udp | Self::Icmp | Self::Icmpv6, checksum) => checksum,
        }
    }
}
