use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ztna_model::Cidr;
use ztna_tunnel::PeerId;

/// The ranges that peers' own addresses are from, one of each family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PeerRanges {
    pub(crate) v4: Cidr,
    pub(crate) v6: Cidr,
}

impl PeerRanges {
    /// Both.
    pub(crate) const fn all(&self) -> [Cidr; 2] {
        [self.v4, self.v6]
    }

    /// Whether `address` is in one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.all().iter().any(|range| range.contains(address))
    }

    /// How many peers have room, the first and the last address of a range being nobody's.
    fn room(&self) -> u32 {
        let bits = |range: Cidr, all: u8| u32::from(all.saturating_sub(range.length())).min(MOST_BITS);
        (1 << bits(self.v4, 32).min(bits(self.v6, 128))) - 2
    }

    fn numbered(&self, number: u32, like: IpAddr) -> IpAddr {
        match (like, self.v4.first(), self.v6.first()) {
            (IpAddr::V4(_), IpAddr::V4(first), _) => Ipv4Addr::from_bits(first.to_bits() + number).into(),
            (IpAddr::V6(_), _, IpAddr::V6(first)) => {
                Ipv6Addr::from_bits(first.to_bits() + u128::from(number)).into()
            }
            // The settings have been looked at: each range is of its family.
            (like, IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => like,
        }
    }
}

/// Which peer has which addresses: one pair each, which nobody else gets for a long time.
#[derive(Debug)]
pub(crate) struct Addresses {
    ranges: PeerRanges,
    by_peer: BTreeMap<PeerId, u32>,
    /// INVARIANT: the same the other way round.
    taken: BTreeMap<u32, PeerId>,
    latest: u32,
}

impl Addresses {
    pub(crate) const fn new(ranges: PeerRanges) -> Self {
        Self { ranges, by_peer: BTreeMap::new(), taken: BTreeMap::new(), latest: 0 }
    }

    /// The address of `peer` of the family of `like`; the first time it is given one. `None` if all are taken.
    pub(crate) fn of(&mut self, peer: PeerId, like: IpAddr) -> Option<IpAddr> {
        let number = match self.by_peer.get(&peer) {
            Some(number) => *number,
            None => self.give(peer)?,
        };
        Some(self.ranges.numbered(number, like))
    }

    /// Takes the addresses of `peer` back.
    pub(crate) fn release(&mut self, peer: PeerId) {
        if let Some(number) = self.by_peer.remove(&peer) {
            self.taken.remove(&number);
        }
    }

    /// The one after the latest that nobody has: what was given back rests as long as it can.
    fn give(&mut self, peer: PeerId) -> Option<u32> {
        let room = self.ranges.room();
        if self.taken.len() >= room as usize {
            return None;
        }
        loop {
            self.latest = self.latest % room + 1;
            if !self.taken.contains_key(&self.latest) {
                self.taken.insert(self.latest, peer);
                self.by_peer.insert(peer, self.latest);
                return Some(self.latest);
            }
        }
    }
}

/// More peers than a tunnel has room for.
const MOST_BITS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_in_turn_and_never_twice() {
        let ranges = PeerRanges { v4: "100.64.0.0/29".parse().unwrap(), v6: "fd00::/112".parse().unwrap() };
        let mut addresses = Addresses::new(ranges);
        let v4 = |peer, addresses: &mut Addresses| {
            addresses.of(PeerId::from_number(peer), Ipv4Addr::UNSPECIFIED.into()).map(|a| a.to_string())
        };
        let given: Vec<_> = (1..=7).map(|peer| v4(peer, &mut addresses)).collect();
        let expected = ["100.64.0.1", "100.64.0.2", "100.64.0.3", "100.64.0.4", "100.64.0.5", "100.64.0.6"];
        assert_eq!(given[..6], expected.map(|text| Some(text.to_owned())));
        assert_eq!(given[6], None);
        assert_eq!(v4(3, &mut addresses).unwrap(), "100.64.0.3");
        let v6 = addresses.of(PeerId::from_number(3), Ipv6Addr::UNSPECIFIED.into()).unwrap();
        assert_eq!(v6.to_string(), "fd00::3");
        addresses.release(PeerId::from_number(2));
        addresses.release(PeerId::from_number(5));
        assert_eq!(v4(8, &mut addresses).unwrap(), "100.64.0.2");
        assert_eq!(v4(9, &mut addresses).unwrap(), "100.64.0.5");
        assert!(
            ranges.contains("100.64.0.7".parse().unwrap()) && ranges.contains("fd00::ff".parse().unwrap())
        );
        assert!(!ranges.contains("100.64.0.8".parse().unwrap()));
    }
}
