use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ztna_model::Time;

use crate::config::LimitsConfig;

/// How much each source of connections has had: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug)]
pub(crate) struct Sources {
    limits: LimitsConfig,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    connections: usize,
    of: BTreeMap<IpAddr, Source>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    connections: usize,
    /// Thousandths of requests that it may still make.
    left: u64,
    filled: Time,
}

/// A connection's place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    pub(crate) fn new(limits: LimitsConfig) -> Arc<Self> {
        Arc::new(Self { limits, known: Mutex::default() })
    }

    /// How much each may do.
    pub(crate) const fn limits(&self) -> &LimitsConfig {
        &self.limits
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn take_place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let (source, mut known) = (network(address), self.known());
        if known.connections >= self.limits.connections {
            return None;
        }
        let entry = known.of.entry(source).or_insert_with(|| self.fresh(Time::ZERO));
        if entry.connections >= self.limits.connections_per_source {
            return None;
        }
        entry.connections += 1;
        known.connections += 1;
        Some(Place { sources: Arc::clone(self), source })
    }

    /// Whether one more request is within what `address` may have.
    pub(crate) fn may_ask(&self, address: IpAddr, now: Time) -> bool {
        let (source, mut known) = (network(address), self.known());
        if known.of.len() >= MOST_SOURCES {
            self.forget_idle(&mut known, now);
        }
        let entry = known.of.entry(source).or_insert_with(|| self.fresh(now));
        self.fill(entry, now);
        let may = entry.left >= 1_000;
        if may {
            entry.left -= 1_000;
        }
        may
    }

    fn fresh(&self, now: Time) -> Source {
        Source { connections: 0, left: self.most(), filled: now }
    }

    fn fill(&self, source: &mut Source, now: Time) {
        let passed = u64::try_from(now.since(source.filled).as_millis()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(u64::from(self.limits.requests_per_second));
        source.left = source.left.saturating_add(gained).min(self.most());
        source.filled = source.filled.max(now);
    }

    fn most(&self) -> u64 {
        u64::from(self.limits.requests_at_once).saturating_mul(1_000)
    }

    fn forget_idle(&self, known: &mut Known, now: Time) {
        known.of.retain(|_, source| {
            self.fill(source, now);
            source.connections > 0 || source.left < self.most()
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.sources.known();
        known.connections = known.connections.saturating_sub(1);
        if let Some(source) = known.of.get_mut(&self.source) {
            source.connections = source.connections.saturating_sub(1);
        }
    }
}

/// What one party can have as many addresses of as it likes counts as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Some 5 MiB.
const MOST_SOURCES: usize = 50_000;

#[cfg(test)]
mod tests {
    use ztna_model::{millis, secs};

    use super::*;

    fn sources() -> Arc<Sources> {
        let limits = LimitsConfig {
            connections: 3,
            connections_per_source: 2,
            requests_per_second: 2,
            requests_at_once: 3,
            ..LimitsConfig::default()
        };
        Sources::new(limits)
    }

    #[test]
    fn h01_a_source_may_ask_at_a_rate_and_others_are_not_its_concern() {
        let (sources, start) = (sources(), Time::ZERO + secs(100));
        let ask = |address: &str, at| sources.may_ask(address.parse().unwrap(), start + at);
        let asked = |address: &str, at, times| (0..times).filter(|_| ask(address, at)).count();
        assert_eq!(asked("192.0.2.1", millis(0), 10), 3);
        assert_eq!(asked("192.0.2.1", millis(499), 10), 0);
        assert_eq!(asked("192.0.2.1", millis(500), 10), 1);
        assert_eq!(asked("192.0.2.2", millis(0), 10), 3);
        assert_eq!(asked("::ffff:192.0.2.2", millis(0), 10), 0, "the same one");
        assert_eq!(asked("192.0.2.1", secs(3600), 10), 3, "no more than at first");
        assert_eq!(asked("2001:db8::1", millis(0), 2) + asked("2001:db8::ffff:2", millis(0), 9), 3);
        assert_eq!(asked("2001:db8:0:1::1", millis(0), 10), 3);
    }

    #[test]
    fn h01_connections_are_counted_and_freed() {
        let sources = sources();
        let take = |address: &str| sources.take_place(address.parse().unwrap());
        let (first, second) = (take("192.0.2.1").unwrap(), take("192.0.2.1").unwrap());
        assert!(take("192.0.2.1").is_none(), "two from one source");
        let third = take("192.0.2.2").unwrap();
        assert!(take("192.0.2.3").is_none(), "three in all");
        drop(first);
        let fourth = take("192.0.2.1").unwrap();
        drop((second, third, fourth));
        assert_eq!(sources.known().connections, 0);
    }

    #[test]
    fn what_is_idle_is_forgotten_when_room_is_needed() {
        let sources = sources();
        for n in 0..MOST_SOURCES + 10 {
            let address = IpAddr::from((n as u32).to_be_bytes());
            assert!(sources.may_ask(address, Time::ZERO + secs(n as u64)));
        }
        assert!(sources.known().of.len() <= MOST_SOURCES + 1);
    }
}
