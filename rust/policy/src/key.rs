use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher13;
use ztna_model::{Endpoint, Flow, Protocol};

use crate::rule::Scope;

/// The secret that makes hashes unpredictable. Flows are chosen by whoever sends packets, and who could compute
/// their hashes could choose flows that collide; SipHash is a pseudorandom function under its key.
pub(crate) struct HashKey {
    k0: u64,
    k1: u64,
    // For mixing: drawn from the key, so that whatever key it is, they are as good as random.
    m0: u64,
    m1: u64,
}

impl HashKey {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        let mut key = Self { k0: bits as u64, k1: (bits >> 64) as u64, m0: 0, m1: 0 };
        [key.m0, key.m1] = [0, 1].map(|number| {
            let mut hasher = key.hasher();
            hasher.write_u8(number);
            hasher.finish()
        });
        key
    }

    /// A hasher that has read nothing. Begun anew each time, not cloned: its empty state is then known when it is compiled.
    #[inline(always)]
    pub(crate) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }

    /// Mixes two words: light, keyed, and no match for somebody who may try out what is stored.
    #[inline(always)]
    pub(crate) fn mix(&self, a: u64, b: u64) -> u64 {
        let product = u128::from(a ^ self.m0) * u128::from(b ^ self.m1);
        product as u64 ^ (product >> 64) as u64
    }
}

/// A flow of one scope, packed for comparing and hashing; both directions of a flow have the same key.
///
/// The family is part of the key: `10.0.0.1` and `::ffff:10.0.0.1` never meet.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    device: Words,
    resource: Words,
    ports_and_scope: u64,
    family: Family,
    protocol: Protocol,
}

/// An address: its upper and lower bits.
#[derive(Clone, Copy)]
struct Words(u64, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

// What a packet goes through is inlined all the way, so that its key stays in registers: written to the stack and
// read back in other widths it would cost more than everything else together.
impl Key {
    /// The key of a packet from the device's side; `None` if its addresses are of two families.
    #[inline(always)]
    pub(crate) fn outgoing(scope: Scope, flow: &Flow) -> Option<Self> {
        Self::between(scope, flow.protocol, &flow.source, &flow.destination)
    }

    /// The key of a packet from the resource's side; `None` if its addresses are of two families.
    #[inline(always)]
    pub(crate) fn returning(scope: Scope, flow: &Flow) -> Option<Self> {
        Self::between(scope, flow.protocol, &flow.destination, &flow.source)
    }

    #[inline(always)]
    fn between(scope: Scope, protocol: Protocol, device: &Endpoint, resource: &Endpoint) -> Option<Self> {
        let ports = u64::from(device.port) << 16 | u64::from(resource.port);
        let ports_and_scope = u64::from(scope.0) << 32 | ports;
        let (family, device, resource) = match (device.address, resource.address) {
            (IpAddr::V4(device), IpAddr::V4(resource)) => (Family::V4, v4(device), v4(resource)),
            (IpAddr::V6(device), IpAddr::V6(resource)) => (Family::V6, v6(device), v6(resource)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        Some(Self { device, resource, ports_and_scope, family, protocol })
    }

    /// Whether both are the same flow of the same scope. No early exit: nearly every comparison succeeds.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        let device = self.device.0 ^ other.device.0 | self.device.1 ^ other.device.1;
        let resource = self.resource.0 ^ other.resource.0 | self.resource.1 ^ other.resource.1;
        let ends = self.ports_and_scope ^ other.ports_and_scope;
        device | resource | ends == 0 && self.family == other.family && self.protocol == other.protocol
    }

    /// Its place in an index: 17 or 41 bytes, so that no IPv4 flow is spelt like an IPv6 flow.
    #[inline(always)]
    pub(crate) fn hash(&self, secret: &HashKey) -> u64 {
        let Self { device, resource, .. } = self;
        let mut hasher = secret.hasher();
        match self.family {
            Family::V4 => hasher.write_u64(device.1 << 32 | resource.1),
            Family::V6 => {
                hasher.write_u64(device.0);
                hasher.write_u64(device.1);
                hasher.write_u64(resource.0);
                hasher.write_u64(resource.1);
            }
        }
        hasher.write_u64(self.ports_and_scope);
        hasher.write_u8(self.protocol as u8);
        hasher.finish()
    }

    /// Its ports, scope and resource thrown together: differs between most flows that live at one time, and costs next
    /// to nothing.
    #[inline(always)]
    pub(crate) const fn guess(&self) -> usize {
        let ends = self.ports_and_scope ^ self.ports_and_scope >> 16 ^ self.ports_and_scope >> 32;
        (ends ^ self.resource.1) as usize
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) const fn scope(&self) -> Scope {
        Scope((self.ports_and_scope >> 32) as u32)
    }

    /// The flow, as the device's packets show it.
    pub(crate) fn flow(&self) -> Flow {
        let ends = self.ports_and_scope;
        Flow {
            protocol: self.protocol,
            source: Endpoint::new(self.address(self.device), (ends >> 16) as u16),
            destination: Endpoint::new(self.address(self.resource), ends as u16),
        }
    }

    fn address(&self, Words(high, low): Words) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::from_bits(low as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
        }
    }
}

#[inline(always)]
fn v4(address: Ipv4Addr) -> Words {
    Words(0, u64::from(address.to_bits()))
}

#[inline(always)]
fn v6(address: Ipv6Addr) -> Words {
    let bits = address.to_bits();
    Words((bits >> 64) as u64, bits as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(protocol: Protocol, source: &str, destination: &str) -> Flow {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap().into();
        Flow { protocol, source: end(source), destination: end(destination) }
    }

    #[test]
    fn whatever_differs_has_another_key_and_another_hash() {
        let flows = [
            (1, flow(Protocol::Tcp, "10.0.0.1:5", "10.0.0.2:80")),
            (2, flow(Protocol::Tcp, "10.0.0.1:5", "10.0.0.2:80")),
            (1, flow(Protocol::Udp, "10.0.0.1:5", "10.0.0.2:80")),
            (1, flow(Protocol::IcmpEcho, "10.0.0.1:5", "10.0.0.2:80")),
            (1, flow(Protocol::Tcp, "10.0.0.2:5", "10.0.0.1:80")),
            (1, flow(Protocol::Tcp, "10.0.0.1:80", "10.0.0.2:5")),
            (1, flow(Protocol::Tcp, "[::a00:1]:5", "[::a00:2]:80")),
            (1, flow(Protocol::Tcp, "[::ffff:10.0.0.1]:5", "[::ffff:10.0.0.2]:80")),
        ];
        let secret = HashKey::new([7; 16]);
        let keys = flows.map(|(scope, flow)| Key::outgoing(Scope(scope), &flow).unwrap());
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert!(!a.is(b) && a.hash(&secret) != b.hash(&secret));
            }
        }
        assert!(Key::outgoing(Scope(1), &flow(Protocol::Tcp, "10.0.0.1:5", "[::a00:2]:80")).is_none());
    }

    /// Numbers in a row, as prefixes are, under keys that are not random at all.
    #[test]
    fn what_is_mixed_spreads_whatever_the_key_is() {
        for byte in [0, 1, 0x5a, 0xff] {
            let secret = HashKey::new([byte; 16]);
            let mut places = vec![0_u32; 4_096];
            for number in 0..4_096_u64 {
                places[secret.mix(0x0a00_0000 | number << 8, 0x118) as usize % 4_096] += 1;
            }
            let most = places.iter().max().copied();
            assert!(most < Some(12), "{most:?} in one place under {byte}");
        }
    }

    proptest! {
        #[test]
        fn a_key_gives_back_its_flow(scope: u32, from: u128, to: u128, v4: bool, sport: u16, dport: u16) {
            let address = |bits: u128| match v4 {
                true => IpAddr::from(Ipv4Addr::from_bits(bits as u32)),
                false => Ipv6Addr::from_bits(bits).into(),
            };
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::IcmpEcho] {
                let (source, destination) = (Endpoint::new(address(from), sport), Endpoint::new(address(to), dport));
                let flow = Flow { protocol, source, destination };
                let key = Key::outgoing(Scope(scope), &flow).unwrap();
                prop_assert_eq!((key.scope(), key.flow()), (Scope(scope), flow));
                prop_assert!(Key::returning(Scope(scope), &flow.reversed()).is_some_and(|back| back.is(&key)));
            }
        }
    }
}
