use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use ztna_model::{Cidr, Inner, has_forbidden_target};
use ztna_net::link::{DeviceIndex, Family, LinkError, Links, OwnNetwork, Route, Rule, Way};

/// Addresses were granted that this machine's own network uses: the network keeps them, and the application is reached
/// by its name instead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Clash {
    /// What was granted.
    pub granted: Cidr,
    /// The network that this machine stands in.
    pub own: Cidr,
    /// Through which device.
    pub device: String,
}

/// The routing table of ours, and the rules that lead to it.
#[derive(Debug)]
pub(super) struct Routes {
    links: Links,
    name: String,
    device: DeviceIndex,
    has_v6: bool,
}

/// What the table should hold, and what it can't.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    into_tunnel: BTreeSet<Cidr>,
    /// Exceptions within those.
    around_it: BTreeSet<Cidr>,
    pub(super) clashes: Vec<Clash>,
    /// What no organisation can ask for.
    pub(super) refused: Vec<Cidr>,
}

impl Routes {
    /// Readies the device called `name`: it is on and has its addresses. Nothing is routed to it.
    pub(super) fn open(name: &str) -> Result<Self, LinkError> {
        let mut links = Links::open()?;
        let device = links.device(name)?.ok_or(LinkError::Missing)?;
        links.turn_on(device)?;
        links.put_address(device, Inner::DEVICE.v4.into())?;
        let has_v6 = match links.put_address(device, Inner::DEVICE.v6.into()) {
            Ok(()) => true,
            Err(LinkError::FamilyOff) => false,
            Err(error) => return Err(error),
        };
        Ok(Self { links, name: name.into(), device, has_v6 })
    }

    pub(super) const fn device(&self) -> DeviceIndex {
        self.device
    }

    /// Makes the table lead into the tunnel what `wish` holds, and nothing else.
    pub(super) fn apply(&mut self, wish: &[Cidr]) -> Result<Plan, LinkError> {
        let plan = Plan::new(wish, &self.links.own_networks(&self.name)?);
        let wanted: BTreeSet<Route> = plan.routes(self.device, self.has_v6).collect();
        let found: BTreeSet<Route> = self.links.routes(TABLE)?.into_iter().collect();
        // New ones first: what is in both is never without a route.
        for route in wanted.difference(&found) {
            self.links.put_route(TABLE, route)?;
        }
        for route in found.difference(&wanted) {
            self.links.remove_route(TABLE, route)?;
        }
        for family in self.families() {
            self.links.put_rule(&rule(family))?;
        }
        Ok(plan)
    }

    fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let has_v6 = self.has_v6;
        Family::ALL.into_iter().filter(move |family| *family == Family::V4 || has_v6)
    }
}

/// Removes every route and rule of ours, whichever process put them.
pub(super) fn remove_all() -> Result<(), LinkError> {
    let mut links = Links::open()?;
    for rule in links.rules()?.iter().filter(|rule| rule.table == TABLE) {
        links.remove_rule(rule)?;
    }
    for route in links.routes(TABLE)? {
        links.remove_route(TABLE, &route)?;
    }
    Ok(())
}

impl Plan {
    pub(super) fn new(wish: &[Cidr], own: &[OwnNetwork]) -> Self {
        let mut plan = Self::default();
        for prefix in wish {
            if is_synthetic(prefix) {
                plan.into_tunnel.insert(*prefix);
            } else if is_too_much(prefix) {
                plan.refused.push(*prefix);
            } else {
                plan.add_granted(*prefix, own);
            }
        }
        plan.clashes.sort();
        plan.clashes.dedup();
        plan
    }

    fn add_granted(&mut self, granted: Cidr, own: &[OwnNetwork]) {
        let mut is_within_own = false;
        for network in own.iter().filter(|network| network.prefix.overlaps(&granted)) {
            let (own, device) = (network.prefix, network.device.clone());
            self.clashes.push(Clash { granted, own, device });
            if own.length() <= granted.length() {
                is_within_own = true;
            } else {
                self.around_it.insert(own);
            }
        }
        if !is_within_own {
            self.into_tunnel.insert(granted);
        }
    }

    fn routes(&self, device: DeviceIndex, has_v6: bool) -> impl Iterator<Item = Route> {
        let fits = move |to: &&Cidr| to.first().is_ipv4() || has_v6;
        let tunnel = self.into_tunnel.iter().filter(fits).flat_map(move |to| {
            let source = Some(Inner::DEVICE.like(to.first()));
            let into = Route { to: *to, way: Way::Device(device), metric: NEAR, source };
            // A device that is gone takes its routes along. What was meant for the tunnel must not leave in the clear then.
            let else_nowhere = Route { to: *to, way: Way::Unreachable, metric: FAR, source: None };
            [into, else_nowhere]
        });
        let around = self.around_it.iter().filter(fits);
        tunnel.chain(around.map(|to| Route { to: *to, way: Way::NextTable, metric: NEAR, source: None }))
    }
}

/// Stand-ins for names, and what the tunnel itself uses: nobody else has a use for them, so they never lose.
fn is_synthetic(prefix: &Cidr) -> bool {
    let mut ranges = SYNTHETIC.iter().filter_map(|(first, length)| Cidr::new(*first, *length));
    ranges.any(|range| range.contains(prefix.first()) && range.length() <= prefix.length())
}

/// The default route, half of it, or ranges that mean something on every machine.
fn is_too_much(prefix: &Cidr) -> bool {
    let shortest = if prefix.first().is_ipv4() { 8 } else { 16 };
    prefix.length() < shortest || has_forbidden_target(prefix)
}

const fn rule(family: Family) -> Rule {
    Rule { family, priority: PRIORITY, table: TABLE, unless_mark: MARK }
}

/// What packets of the connector's own bear that must not go through its tunnel: those of its carriers, where a gateway
/// has an address among those granted, and its questions to the system's resolvers.
pub const MARK: u32 = 0x7a74_6e61;
/// Our routing table.
const TABLE: u32 = 0x7a74;
/// After `local` (0) and before everything else that is usual: other tunnels (5210 and above), policies of a network
/// manager (30000 and above), `main` (32766). A route in another table, however exact, is not looked at for what is in
/// ours; and what is not in ours goes on as if there were no connector.
const PRIORITY: u32 = 5000;
const NEAR: u32 = 1;
const FAR: u32 = 4096;
/// The benchmarking ranges, which nobody else has a use for (RFC 2544, RFC 5180).
const SYNTHETIC: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0)), 48),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What is routed into the tunnel, around it, what clashes and what is refused, for a wish on a machine in networks.
    fn check(wish: &[&str], own: &[&str], expected: [&[&str]; 4]) {
        let cidrs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Cidr>>();
        let own: Vec<OwnNetwork> =
            cidrs(own).into_iter().map(|prefix| OwnNetwork { prefix, device: "eth0".into() }).collect();
        let plan = Plan::new(&cidrs(wish), &own);
        let tunnel: Vec<Cidr> = plan.into_tunnel.iter().copied().collect();
        let around: Vec<Cidr> = plan.around_it.iter().copied().collect();
        let clashes: Vec<Cidr> = plan.clashes.iter().map(|clash| clash.own).collect();
        let found = [tunnel, around, clashes, plan.refused];
        assert_eq!(found, expected.map(cidrs), "{wish:?} in {own:?}");
    }

    #[test]
    fn p6_5_granted_prefixes_are_routed_exactly_and_the_own_network_wins() {
        let lan = &["192.168.1.0/24", "10.8.0.0/16", "2001:db8:1::/64"][..];
        check(&["192.168.2.0/24", "10.1.2.3"], lan, [&["10.1.2.3", "192.168.2.0/24"], &[], &[], &[]]);
        check(&["192.168.1.0/24"], lan, [&[], &[], &["192.168.1.0/24"], &[]]);
        check(&["192.168.1.7"], lan, [&[], &[], &["192.168.1.0/24"], &[]]);
        check(&["10.0.0.0/8"], lan, [&["10.0.0.0/8"], &["10.8.0.0/16"], &["10.8.0.0/16"], &[]]);
        check(&["2001:db8::/32"], lan, [&["2001:db8::/32"], &["2001:db8:1::/64"], &["2001:db8:1::/64"], &[]]);
        check(&["2001:db8:1::5"], lan, [&[], &[], &["2001:db8:1::/64"], &[]]);
    }

    #[test]
    fn g05_a_network_that_uses_our_ranges_takes_nothing() {
        let lan = &["198.18.0.0/15", "198.18.7.0/24", "2001:2::/48", "198.18.0.1"][..];
        let names = &["198.18.0.0/16", "2001:2:0:1::/64"][..];
        check(names, lan, [names, &[], &[], &[]]);
    }

    #[test]
    fn f01_no_organisation_can_ask_for_everything() {
        let wish =
            &["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "2000::/3", "127.0.0.0/8", "169.254.169.254"];
        check(wish, &[], [&[], &[], &[], wish]);
    }
}
