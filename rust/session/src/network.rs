use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ztna_model::{Address, Cidr, DomainName, Inner, Synthetic, has_forbidden_target};

use crate::fate::reverse_zones;
use crate::output::Output;
use crate::session::Session;

/// What the machine's network is to be like: everything else stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Network {
    /// What goes into the tunnel: the addresses that stand in for names, the resolver's, and those of granted resources
    /// that are addresses.
    pub routes: Vec<Cidr>,
    /// What the resolver inside the tunnel is to be asked about: these names and all below them. None stands below
    /// another one.
    pub domains: Vec<DomainName>,
}

impl Session {
    /// Takes the organisation's domain names, as far as they can be one organisation's, and keeps them.
    pub(crate) fn take_suffixes(&mut self, mut suffixes: Vec<DomainName>) {
        let Some(account) = &mut self.account else { return };
        suffixes.retain(DomainName::may_be_private);
        suffixes.sort();
        suffixes.dedup();
        suffixes.truncate(MOST_SUFFIXES);
        if account.suffixes != suffixes {
            account.suffixes = suffixes;
            self.save();
        }
    }

    /// Tells what the network is to be like, if that is different.
    pub(crate) fn follow_network(&mut self) {
        let network = self.wished();
        if network != self.network {
            self.network = network.clone();
            self.push(Output::Network(Box::new(network)));
        }
    }

    fn wished(&self) -> Network {
        if !self.wanted || self.account.is_none() {
            return Network::default();
        }
        Network { routes: self.routes(), domains: self.domains() }
    }

    fn routes(&self) -> Vec<Cidr> {
        let mut routes = Synthetic::RANGES.to_vec();
        routes.extend([Cidr::host(Inner::RESOLVER.v4.into()), Cidr::host(Inner::RESOLVER.v6.into())]);
        let granted = self.resources.visible.values().filter(|visible| visible.decision.is_granted());
        routes.extend(granted.filter_map(|visible| match visible.address {
            Address::Prefix(cidr) if !visible.by_name => Some(cidr).filter(may_be_routed),
            Address::Prefix(_) | Address::Name(_) => None,
        }));
        routes.sort();
        routes.dedup();
        routes
    }

    fn domains(&self) -> Vec<DomainName> {
        let named = self.resources.visible.values().filter_map(|visible| match &visible.address {
            Address::Name(pattern) => Some(pattern.base().clone()),
            Address::Prefix(_) => None,
        });
        let named = named.filter(DomainName::may_be_private);
        let all = self.suffixes().iter().cloned().chain(named).chain(reverse_zones());
        // What others stand below comes right before them.
        let by_labels: BTreeMap<Vec<String>, DomainName> =
            all.map(|name| (name.labels().rev().map(str::to_owned).collect(), name)).collect();
        let mut domains: Vec<DomainName> = Vec::new();
        for name in by_labels.into_values() {
            if !domains.last().is_some_and(|above| name.is_within(above)) {
                domains.push(name);
            }
        }
        domains
    }
}

/// No organisation takes all of a device's traffic, or what is the device's own.
fn may_be_routed(cidr: &Cidr) -> bool {
    let narrow = if cidr.first().is_ipv4() { NARROW_V4 } else { NARROW_V6 };
    cidr.length() >= narrow && !has_forbidden_target(cidr)
}

const NARROW_V4: u8 = 8;
const NARROW_V6: u8 = 16;
const MOST_SUFFIXES: usize = 32;
