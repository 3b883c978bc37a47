use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RecordType;
use ztna_gate::Held;
use ztna_model::{DomainName, Endpoint, Host, LeaseId, Match, Synthetic};
use ztna_tunnel::PeerId;

use super::question::Question;

/// What a device may be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Permit {
    /// That it may not ask. One answer, whether the name is there, is another's, or means nothing.
    Refused,
    /// That the name is there, with these stand-ins.
    StandIn(Synthetic),
    /// That this name stands for the address.
    Pointer(DomainName),
    /// That the name is there, and has no such records.
    Nothing,
    /// What the site's resolvers say of `name`; for addresses the stand-ins, never the addresses.
    AskSite {
        /// The lease that the answer is under.
        lease: LeaseId,
        /// The name at the site.
        name: DomainName,
        /// What stands in for its addresses.
        stand_in: Option<Synthetic>,
    },
}

/// A question that the site's resolvers are asked, for a device.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// Whose it is.
    pub(crate) peer: PeerId,
    /// Where the answer goes.
    pub(crate) from: Endpoint,
    /// The lease that it is under.
    pub(crate) lease: LeaseId,
    /// What the device asked.
    pub(crate) question: Question,
    /// The name at the site.
    pub(crate) name: DomainName,
    /// What stands in for its addresses.
    pub(crate) stand_in: Option<Synthetic>,
}

/// What the holder of these leases may be told.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else can be asked for is refused")]
pub(crate) fn permit<'a>(leases: impl Iterator<Item = &'a Held>, question: &Question) -> Permit {
    let (Some(name), Some(kind)) = (question.name(), question.kind()) else { return Permit::Refused };
    let mut leases = leases;
    let found = match kind {
        RecordType::PTR => {
            let Some(address) = reverse(name.as_str()) else { return Permit::Refused };
            leases.find_map(|held| pointer(held, address, &name))
        }
        RecordType::A | RecordType::AAAA => leases.find_map(|held| below(held, &name, 0)),
        RecordType::SRV | RecordType::TXT | RecordType::HTTPS | RecordType::SVCB => {
            leases.find_map(|held| below(held, &name, MOST_SERVICE_LABELS))
        }
        _ => None,
    };
    match found {
        // A stand-in is no answer to a question for a service.
        Some(Permit::StandIn(_)) if !kind.is_ip_addr() => Permit::Nothing,
        Some(permit) => permit,
        None => Permit::Refused,
    }
}

/// `name` is the lease's, or has up to `most` service labels before it (RFC 8552).
fn below(held: &Held, name: &DomainName, most: usize) -> Option<Permit> {
    let Match::Name { name: leased, synthetic } = &held.lease.rule.covers else { return None };
    let services = match name.as_str().strip_suffix(leased.as_str())? {
        "" => "",
        labels => labels.strip_suffix('.')?,
    };
    let mut labels = services.split('.').filter(|label| !label.is_empty());
    if labels.clone().count() > most || !labels.all(|label| label.starts_with('_')) {
        return None;
    }
    let target = match &held.lease.target.host {
        Host::Address(_) if services.is_empty() => return Some(Permit::StandIn(*synthetic)),
        Host::Address(_) => return Some(Permit::Nothing),
        Host::Name(target) => target,
    };
    let name =
        if services.is_empty() { target.clone() } else { format!("{services}.{target}").parse().ok()? };
    Some(Permit::AskSite { lease: held.lease.id, name, stand_in: Some(*synthetic) })
}

fn pointer(held: &Held, address: IpAddr, name: &DomainName) -> Option<Permit> {
    match &held.lease.rule.covers {
        Match::Name { name, synthetic } if synthetic.has(address) => Some(Permit::Pointer(name.clone())),
        Match::Prefix(prefix) if prefix.contains(address) => {
            Some(Permit::AskSite { lease: held.lease.id, name: name.clone(), stand_in: None })
        }
        Match::Name { .. } | Match::Prefix(_) => None,
    }
}

/// The address whose place in the reverse tree has this name (RFC 1035, 3.5; RFC 3596, 2.5).
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = octets.rsplit('.').collect();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let mut nibbles = name.strip_suffix(".ip6.arpa")?.rsplit('.');
    let mut bits = 0_u128;
    for _ in 0..32 {
        let digit = nibbles.next().filter(|label| label.len() == 1)?;
        bits = bits << 4 | u128::from_str_radix(digit, 16).ok()?;
    }
    nibbles.next().is_none().then(|| Ipv6Addr::from_bits(bits).into())
}

/// `_8443._https`, `_sip._tcp`, and one more.
const MOST_SERVICE_LABELS: usize = 3;
