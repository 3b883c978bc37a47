use std::net::IpAddr;

use ztna_model::{Cidr, Endpoint, LeaseId, Match, Protocol};

use crate::index::Index;
use crate::key::HashKey;
use crate::rule::{Effect, Rule, Scope, Via};

/// Which rule covers a destination: what a packet asks that belongs to no live flow.
///
/// Prefixes are found by hash, one look for each length that occurs, longest first; then protocol and ports decide.
pub(crate) struct Destinations {
    index: Index,
    places: Vec<Place>,
    // INVARIANT: as long as `places`. The arms of each behind its best one, sorted.
    others: Vec<Vec<Arm>>,
    free: Vec<u32>,
    v4: Lengths,
    v6: Lengths,
}

/// One prefix of one scope, and what lies there: one cache line, since most places have a single arm.
#[repr(align(64))]
struct Place {
    prefix: Prefix,
    // INVARIANT: none of the others comes before it. Of arms in order the first match is the best: Allow, Ask, Deny,
    // then the lowest lease id.
    best: Arm,
    has_others: bool,
}

/// One port range of one rule, and all of the rule that it takes to begin a flow: a rule itself lies elsewhere, and seldom
/// in the caches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arm {
    pub(crate) rank: Rank,
    lease: LeaseId,
    first: u16,
    last: u16,
    protocol: Protocol,
    pub(crate) rule: u32,
    pub(crate) via: Via,
    pub(crate) flows: u32,
}

/// The order of effects at one prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Allow,
    Ask,
    Deny,
}

impl Destinations {
    /// Room for `most` rules.
    pub(crate) fn with_room(most: u32) -> Self {
        let prefixes = most.saturating_mul(PREFIXES);
        Self {
            index: Index::with_room(prefixes),
            places: Vec::with_capacity(prefixes as usize),
            others: Vec::with_capacity(prefixes as usize),
            free: Vec::with_capacity(prefixes as usize),
            v4: Lengths::default(),
            v6: Lengths::default(),
        }
    }

    /// What [`Destinations::with_room`] takes, in bytes.
    pub(crate) const fn bytes(most: u32) -> usize {
        let prefixes = most.saturating_mul(PREFIXES);
        let place = size_of::<Place>() + size_of::<Vec<Arm>>() + size_of::<u32>();
        Index::bytes(prefixes) + prefixes as usize * place
    }

    /// The rule for packets from `scope` to `to`, among those that are live:
    ///
    /// 1. The longest prefix that allows or asks; where one prefix does both, what is granted already.
    /// 2. Else the longest prefix that denies: an explanation never stands in the way of a right.
    /// 3. Among equals the lowest lease id, so that the order of coming does not matter and both ends agree.
    pub(crate) fn find(
        &self,
        secret: &HashKey,
        scope: Scope,
        protocol: Protocol,
        to: &Endpoint,
        is_live: impl Fn(u32) -> bool,
    ) -> Option<Arm> {
        let mut explained = None;
        for length in self.lengths(to.address).longest_first() {
            let prefix = Prefix::around(scope, to.address, length);
            let Some(at) = self.number(prefix.hash(secret), &prefix) else { continue };
            let covers = |arm: &&Arm| arm.covers(protocol, to.port) && is_live(arm.rule);
            match self.arms(at).find(covers) {
                Some(arm @ Arm { rank: Rank::Allow | Rank::Ask, .. }) => return Some(*arm),
                Some(arm @ Arm { rank: Rank::Deny, .. }) => explained = explained.or(Some(*arm)),
                None => {}
            }
        }
        explained
    }

    /// Adds `rule`, numbered `number`.
    pub(crate) fn add(&mut self, secret: &HashKey, rule: &Rule, number: u32) {
        for cidr in prefixes(&rule.terms.covers) {
            let prefix = Prefix::of(rule.scope, cidr);
            let hash = prefix.hash(secret);
            for range in rule.terms.ports.ranges() {
                let arm = Arm {
                    rank: Rank::of(rule.effect),
                    lease: rule.lease,
                    first: range.first(),
                    last: range.last(),
                    protocol: rule.terms.protocol,
                    rule: number,
                    via: rule.via,
                    flows: rule.flows,
                };
                match self.number(hash, &prefix) {
                    Some(at) => self.join(at, arm),
                    None => self.begin(hash, prefix, arm),
                }
            }
        }
    }

    /// Takes away `rule`, numbered `number`.
    pub(crate) fn remove(&mut self, secret: &HashKey, rule: &Rule, number: u32) {
        for cidr in prefixes(&rule.terms.covers) {
            let prefix = Prefix::of(rule.scope, cidr);
            let hash = prefix.hash(secret);
            if let Some(at) = self.number(hash, &prefix)
                && self.leave(at, number)
            {
                self.index.remove(hash, at);
                self.free.push(at);
                self.lengths_mut(&prefix).remove(prefix.length());
            }
        }
    }

    /// The arms at place `at`, the best first.
    #[inline]
    fn arms(&self, at: u32) -> impl Iterator<Item = &Arm> {
        let place = self.places.get(at as usize);
        let others = place.filter(|place| place.has_others).and_then(|_| self.others.get(at as usize));
        place.map(|place| &place.best).into_iter().chain(others.into_iter().flatten())
    }

    #[inline]
    fn number(&self, hash: u64, prefix: &Prefix) -> Option<u32> {
        self.index.find(hash, |at| self.places.get(at as usize).is_some_and(|place| place.prefix.is(prefix)))
    }

    /// Adds a place with its first arm.
    fn begin(&mut self, hash: u64, prefix: Prefix, best: Arm) {
        let place = Place { prefix, best, has_others: false };
        let at = self.free.pop().unwrap_or(self.places.len() as u32);
        match self.places.get_mut(at as usize) {
            Some(vacant) => *vacant = place,
            None => {
                self.places.push(place);
                self.others.push(Vec::new());
            }
        }
        self.index.insert(hash, at);
        self.lengths_mut(&prefix).add(prefix.length());
    }

    /// Adds an arm to those at place `at`.
    fn join(&mut self, at: u32, mut arm: Arm) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        let Some(others) = self.others.get_mut(at as usize) else { return };
        if arm < place.best {
            std::mem::swap(&mut arm, &mut place.best);
        }
        others.insert(others.partition_point(|known| *known < arm), arm);
        place.has_others = true;
    }

    /// Takes the arms of rule `number` away from place `at`. Whether none is left.
    fn leave(&mut self, at: u32, number: u32) -> bool {
        let Some(place) = self.places.get_mut(at as usize) else { return false };
        let Some(others) = self.others.get_mut(at as usize) else { return false };
        others.retain(|arm| arm.rule != number);
        let is_over = place.best.rule == number && others.is_empty();
        if place.best.rule == number && !is_over {
            place.best = others.remove(0);
        }
        place.has_others = !others.is_empty();
        if !place.has_others {
            *others = Vec::new();
        }
        is_over
    }

    const fn lengths(&self, address: IpAddr) -> &Lengths {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }

    const fn lengths_mut(&mut self, prefix: &Prefix) -> &mut Lengths {
        if prefix.is_v4() { &mut self.v4 } else { &mut self.v6 }
    }
}

impl Arm {
    #[inline]
    fn covers(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && self.first <= port && port <= self.last
    }
}

impl Rank {
    const fn of(effect: Effect) -> Self {
        match effect {
            Effect::Allow => Self::Allow,
            Effect::Ask => Self::Ask,
            Effect::Deny(_) => Self::Deny,
        }
    }
}

/// A prefix as one scope sees it: the first address in its upper and lower bits, and all that tells it from another.
#[derive(Clone, Copy)]
struct Prefix {
    high: u64,
    low: u64,
    // Scope, family and length.
    rest: u64,
}

impl Prefix {
    fn of(scope: Scope, cidr: Cidr) -> Self {
        Self::around(scope, cidr.first(), cidr.length())
    }

    /// The prefix of `length` bits that `address` is in.
    #[inline]
    fn around(scope: Scope, address: IpAddr, length: u8) -> Self {
        let scope = u64::from(scope.0) << 32;
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
                Self { high: 0, low: u64::from(v4.to_bits() & mask), rest: scope | V4 | u64::from(length) }
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
                let bits = v6.to_bits() & mask;
                Self { high: (bits >> 64) as u64, low: bits as u64, rest: scope | V6 | u64::from(length) }
            }
        }
    }

    const fn is(&self, other: &Self) -> bool {
        self.high ^ other.high | self.low ^ other.low | self.rest ^ other.rest == 0
    }

    const fn is_v4(&self) -> bool {
        self.rest & (V4 | V6) == V4
    }

    const fn length(&self) -> u8 {
        self.rest as u8
    }

    /// Its place in the index. What is in there comes from leases, and a packet can only search: so a light hash will
    /// do, under the key all the same.
    #[inline]
    fn hash(&self, secret: &HashKey) -> u64 {
        let rest = secret.mix(self.low, self.rest);
        if self.is_v4() { rest } else { secret.mix(self.high, rest) }
    }
}

// Families, in `Prefix::rest` above the length.
const V4: u64 = 1 << 8;
const V6: u64 = 1 << 9;

/// The lengths of prefix that occur in one family, and how often.
#[derive(Default)]
struct Lengths(Vec<(u8, u32)>);

impl Lengths {
    fn longest_first(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(|(length, _)| *length)
    }

    fn add(&mut self, length: u8) {
        match self.at(length) {
            Ok(at) => self.0.get_mut(at).into_iter().for_each(|(_, times)| *times += 1),
            Err(at) => self.0.insert(at, (length, 1)),
        }
    }

    fn remove(&mut self, length: u8) {
        if let Ok(at) = self.at(length)
            && let Some((_, times)) = self.0.get_mut(at)
        {
            *times -= 1;
            if *times == 0 {
                self.0.remove(at);
            }
        }
    }

    fn at(&self, length: u8) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| length.cmp(known))
    }
}

/// What a match covers, as prefixes.
fn prefixes(covers: &Match) -> impl Iterator<Item = Cidr> {
    let (one, other) = match covers {
        Match::Name { synthetic, .. } => {
            (Cidr::host(synthetic.v4.into()), Some(Cidr::host(synthetic.v6.into())))
        }
        Match::Prefix(cidr) => (*cidr, None),
    };
    std::iter::once(one).chain(other)
}

// How many prefixes a rule covers at most: a name's two synthetic addresses.
const PREFIXES: u32 = 2;

const _: () = assert!(size_of::<Place>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_occur_are_looked_for_longest_first() {
        let mut lengths = Lengths::default();
        for length in [16, 32, 24, 16] {
            lengths.add(length);
        }
        assert!(lengths.longest_first().eq([32, 24, 16]));
        for (length, left) in [(16, vec![32, 24, 16]), (24, vec![32, 16]), (16, vec![32]), (32, vec![])] {
            lengths.remove(length);
            assert!(lengths.longest_first().eq(left));
        }
    }

    #[test]
    fn a_prefix_holds_its_own_addresses() {
        let around = |address: &str, length| Prefix::around(Scope(1), address.parse().unwrap(), length);
        let rows = [
            ("10.1.2.3", "10.1.0.0", 16, true),
            ("10.1.2.3", "10.1.0.0", 23, false),
            ("10.1.2.3", "0.0.0.0", 0, true),
            ("10.1.2.3", "10.1.2.3", 32, true),
            ("2001:db8::7:8", "2001:db8::7:0", 112, true),
            ("2001:db8::7:8", "2001:db8::7:8", 128, true),
            ("2001:db8::7:8", "::", 0, true),
            ("::", "0.0.0.0", 0, false),
        ];
        for (address, first, length, expected) in rows {
            assert_eq!(
                around(address, length).is(&around(first, length)),
                expected,
                "{address} {first}/{length}"
            );
        }
    }
}
