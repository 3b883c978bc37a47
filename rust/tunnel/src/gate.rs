use std::collections::BTreeMap;
use std::net::IpAddr;

use ztna_model::{Time, secs};

/// How many handshakes are worked on in a second: the bound behind cookies, which only prove an address.
pub(crate) struct Gate {
    second: Time,
    admitted: u32,
    /// INVARIANT: no more entries than `admitted`.
    sources: BTreeMap<Source, u32>,
}

/// One sender: an IPv4 address, or an IPv6 network of the size one customer is given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Gate {
    pub(crate) const fn new(now: Time) -> Self {
        Self { second: now, admitted: 0, sources: BTreeMap::new() }
    }

    /// Whether one more handshake from this address may be worked on in this second; counts it if so.
    pub(crate) fn admit(&mut self, from: IpAddr, now: Time) -> bool {
        if now.since(self.second) >= secs(1) {
            *self = Self::new(now);
        }
        let count = self.sources.get(&Source::of(from)).copied().unwrap_or(0);
        let is_calm = self.admitted < CALM;
        if self.admitted >= MOST || !is_calm && count >= MOST_OF_ONE {
            return false;
        }
        self.sources.insert(Source::of(from), count + 1);
        self.admitted += 1;
        true
    }
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => Self::V6(v6.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

/// Handshakes in a second that need no cookie. At about 60 µs for one by an unknown key and 250 µs for a full one,
/// this is an eighth of a core at most.
pub(crate) const CALM: u32 = 500;

/// Handshakes in a second altogether: half a core at most.
const MOST: u32 = 2_000;
/// Handshakes in a second from one address once cookies are asked for: what Linux allows.
const MOST_OF_ONE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h01_work_is_bounded_in_all_and_for_each_address() {
        let mut gate = Gate::new(Time::ZERO);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((0..10_000).filter(|_| gate.admit(one, Time::ZERO)).count(), CALM as usize);
        let neighbours = (0..20_000_u32).map(|n| IpAddr::from([10, 0, (n / 256) as u8, n as u8]));
        assert_eq!(neighbours.filter(|from| gate.admit(*from, Time::ZERO)).count(), (MOST - CALM) as usize);
        assert!(gate.sources.len() <= MOST as usize);

        assert!(!gate.admit(one, Time::from_millis(999)));
        assert!(gate.admit(one, Time::from_millis(1_000)));
    }

    #[test]
    fn h01_addresses_of_one_customer_count_as_one() {
        let mut gate = Gate::new(Time::ZERO);
        let first: IpAddr = "192.0.2.1".parse().unwrap();
        (0..CALM).for_each(|_| assert!(gate.admit(first, Time::ZERO)));
        let many = (0..1_000_u16).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 1, n, 0, 0, n]));
        assert_eq!(many.filter(|from| gate.admit(*from, Time::ZERO)).count(), MOST_OF_ONE as usize);
        assert!(gate.admit("2001:db8:0:2::1".parse().unwrap(), Time::ZERO));
    }
}
