use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// An address translator of the strictest kind in front of a device: a port of its own for each destination, and
/// nothing comes in but from there.
pub(crate) struct Nat {
    inside: SocketAddr,
    outside: IpAddr,
    ports: BTreeMap<SocketAddr, u16>,
    next: u16,
}

impl Nat {
    pub(crate) fn new(inside: SocketAddr, outside: IpAddr) -> Self {
        Self { inside, outside, ports: BTreeMap::new(), next: 20_000 }
    }

    /// It was switched off and on: who was reached through it cannot answer any more.
    pub(crate) fn forget(&mut self) {
        self.ports.clear();
    }

    /// How many ports are in use.
    pub(crate) fn ports(&self) -> usize {
        self.ports.len()
    }

    /// Where a datagram from `from` to `to` seems to come from.
    pub(super) fn outward(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        if from != self.inside {
            return from;
        }
        let next = &mut self.next;
        let port = *self.ports.entry(to).or_insert_with(|| {
            *next += 1;
            *next
        });
        SocketAddr::new(self.outside, port)
    }

    /// Where a datagram from `from` to `to` goes: nowhere if nothing was sent there first.
    pub(super) fn inward(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        if to != self.inside && to.ip() != self.outside {
            return Some(to);
        }
        (self.ports.get(&from) == Some(&to.port())).then_some(self.inside)
    }
}
