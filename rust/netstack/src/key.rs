use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use ztna_model::{Endpoint, Flow, Random};

use crate::stream::Scope;

/// The secrets that make places in the table, sequence numbers and ports unpredictable: whoever sends packets
/// chooses flows, and must not be able to choose ones that collide, or to guess what another's connection uses.
pub(crate) struct Keys {
    places: SipHasher13,
    numbers: SipHasher13,
}

impl Keys {
    pub(crate) fn new(random: &mut dyn Random) -> Self {
        let mut hasher = || {
            let mut key = [0; 16];
            random.fill(&mut key);
            SipHasher13::new_with_key(&key)
        };
        Self { places: hasher(), numbers: hasher() }
    }

    /// Where a flow lies in the table.
    #[inline]
    pub(crate) fn place(&self, scope: Scope, flow: &Flow) -> u32 {
        hash(self.places, scope, flow) as u32
    }

    /// A number that nobody else can know. `count` must differ whenever the same flow asks again.
    pub(crate) fn number(&self, scope: Scope, flow: &Flow, count: u64) -> u64 {
        let mut hasher = self.numbers;
        hasher.write_u64(count);
        hash(hasher, scope, flow)
    }
}

/// Of 21 or 45 bytes, so that no IPv4 flow is spelt like an IPv6 flow.
#[inline]
fn hash(mut hasher: SipHasher13, scope: Scope, flow: &Flow) -> u64 {
    let ports = u64::from(flow.source.port) << 16 | u64::from(flow.destination.port);
    write_address(&mut hasher, &flow.source);
    write_address(&mut hasher, &flow.destination);
    hasher.write_u64(u64::from(scope.0) << 32 | ports);
    hasher.write_u8(flow.protocol as u8);
    hasher.finish()
}

#[inline]
fn write_address(hasher: &mut SipHasher13, end: &Endpoint) {
    match end.address {
        IpAddr::V4(v4) => hasher.write_u32(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            hasher.write_u64((bits >> 64) as u64);
            hasher.write_u64(bits as u64);
        }
    }
}
