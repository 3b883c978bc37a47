use std::collections::BTreeMap;
use std::net::IpAddr;

use ztna_api::device::Wanted;
use ztna_model::{
    Address, AddressName, DenyReason, DomainName, Endpoint, GatewayId, Grant, Host, LeaseId, Port, Protocol,
    ResourceId, Visible,
};

use crate::fate::{Named, Open};
use crate::output::{Output, Plane};
use crate::session::Session;
use crate::transitions::Happened;

/// What may be known of, and what is granted.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) visible: BTreeMap<ResourceId, Visible>,
    pub(crate) grants: BTreeMap<LeaseId, Grant>,
    /// The full list has come since the stream was opened.
    pub(crate) known: bool,
    /// Some list has come since rights were last forgotten.
    pub(crate) told: bool,
}

impl Resources {
    /// The resource that an application means, if it may be known of: a granted one before others, the most exact first.
    pub(crate) fn meant(
        &self,
        host: &Host,
        protocol: Protocol,
        port: Port,
        suffixes: &[DomainName],
    ) -> Option<&Visible> {
        let serves = |visible: &&Visible| {
            visible.protocol == protocol
                && (protocol == Protocol::IcmpEcho || visible.ports.contains(port.number()))
        };
        let rank = |visible: &&Visible| (visible.decision.is_granted(), exactness(&visible.address));
        self.at(host, suffixes).into_iter().filter(serves).max_by_key(rank)
    }

    /// What a name means, on whichever ports, if it may be known of.
    pub(crate) fn named(&self, name: &DomainName, suffixes: &[DomainName]) -> Option<Named> {
        let all = self.at(&Host::Name(name.clone()), suffixes);
        let is_exact = all.iter().any(|visible| exactness(&visible.address).0);
        let granted = all.iter().filter(|visible| visible.decision.is_granted());
        let granted = granted.max_by_key(|visible| exactness(&visible.address)).map(|visible| open(visible));
        (!all.is_empty()).then_some(Named { is_exact, granted })
    }

    /// What an address means that is one of a resource's, on whichever ports: whether it may be known of, and what of it
    /// is granted.
    pub(crate) fn numbered(&self, address: IpAddr) -> Option<Option<Open>> {
        let all = self.at(&Host::Address(address), &[]);
        let granted = all.iter().filter(|visible| visible.decision.is_granted());
        let granted = granted.max_by_key(|visible| exactness(&visible.address)).map(|visible| open(visible));
        (!all.is_empty()).then_some(granted)
    }

    /// Whether some name that may be known of stands below `name`.
    pub(crate) fn stand_below(&self, name: &DomainName) -> bool {
        self.visible.values().any(|visible| match (&visible.address, &visible.site) {
            (Address::Name(pattern), _) => pattern.base().is_within(name),
            (Address::Prefix(_), Some(site)) => name.labels().next() == Some(site.as_str()),
            (Address::Prefix(_), None) => false,
        })
    }

    /// All that `host` may mean.
    fn at(&self, host: &Host, suffixes: &[DomainName]) -> Vec<&Visible> {
        let spelled = match host {
            Host::Name(name) => AddressName::read(name, suffixes),
            Host::Address(_) => None,
        };
        let fits = |visible: &&Visible| match (&visible.address, host) {
            (Address::Name(pattern), Host::Name(name)) => pattern.matches(name),
            (Address::Prefix(cidr), Host::Address(address)) => !visible.by_name && cidr.contains(*address),
            (Address::Prefix(cidr), Host::Name(_)) => spelled
                .as_ref()
                .is_some_and(|at| visible.site.as_ref() == Some(&at.site) && cidr.contains(at.address)),
            (Address::Name(_), Host::Address(_)) => false,
        };
        self.visible.values().filter(fits).collect()
    }

    /// A grant under which `wanted` can be reached right now.
    pub(crate) fn grant(&self, wanted: &Wanted, protocol: Protocol, port: Port) -> Option<&Grant> {
        self.grants.values().find(|grant| covers(grant, wanted, protocol, port))
    }

    fn granted(&self, resource: &ResourceId) -> bool {
        self.visible.get(resource).is_some_and(|visible| visible.decision.is_granted())
    }

    fn nothing_granted(&self) -> bool {
        !self.visible.is_empty() && !self.visible.values().any(|visible| visible.decision.is_granted())
    }
}

/// Whether flows to `wanted` pass under `grant`.
pub(crate) fn covers(grant: &Grant, wanted: &Wanted, protocol: Protocol, port: Port) -> bool {
    grant.protocol == protocol
        && grant.ports.contains(port.number())
        && match wanted {
            Wanted::Name { synthetic, .. } => grant.covers.covers(synthetic.v4.into()),
            Wanted::Address(address) => grant.covers.covers(*address),
        }
}

/// Where a flow goes inside the tunnel: to the very address that was dialled, or to a name's IPv4 stand-in. Echo has no
/// port.
pub(crate) fn destination(wanted: &Wanted, dialled: &Host, protocol: Protocol, port: Port) -> Endpoint {
    let address = match (wanted, dialled) {
        (_, Host::Address(address)) | (Wanted::Address(address), Host::Name(_)) => *address,
        (Wanted::Name { synthetic, .. }, Host::Name(_)) => synthetic.v4.into(),
    };
    match protocol {
        Protocol::Tcp | Protocol::Udp => Endpoint::new(address, port.number()),
        Protocol::IcmpEcho => Endpoint::new(address, 0),
    }
}

fn open(visible: &Visible) -> Open {
    let first = visible.ports.ranges().first().and_then(|range| Port::new(range.first()));
    Open {
        resource: visible.resource.clone(),
        protocol: visible.protocol,
        port: first.unwrap_or(Port::LOWEST),
    }
}

impl Session {
    /// Domain names under which everything is the organisation's, while the tunnel is wanted.
    pub(crate) fn suffixes(&self) -> &[DomainName] {
        self.account.as_ref().filter(|_| self.wanted).map_or(&[], |account| &account.suffixes)
    }

    /// The broker told all that may be known of.
    pub(crate) fn know_resources(&mut self, visible: Vec<Visible>) {
        self.resources.visible =
            visible.into_iter().map(|visible| (visible.resource.clone(), visible)).collect();
        (self.resources.known, self.resources.told) = (true, true);
        self.follow_decisions();
    }

    /// The broker told what is different.
    pub(crate) fn change_resources(&mut self, visible: Vec<Visible>, gone: Vec<ResourceId>) {
        for resource in gone {
            self.resources.visible.remove(&resource);
        }
        self.resources.visible.extend(visible.into_iter().map(|visible| (visible.resource.clone(), visible)));
        self.follow_decisions();
    }

    /// A lease is in place.
    pub(crate) fn allow(&mut self, grant: Grant) {
        let (gateway, key, carriers) = (grant.gateway.clone(), grant.gateway_key, grant.carriers.clone());
        self.push(Output::Plane(Plane::Peer { gateway, key, carriers }));
        self.push(Output::Plane(Plane::Allow(Box::new(grant.clone()))));
        self.resources.grants.insert(grant.lease, grant);
        self.push(Output::Changed);
    }

    /// A lease is over.
    pub(crate) fn disallow(&mut self, lease: LeaseId, reason: DenyReason) {
        if self.resources.grants.remove(&lease).is_some() {
            self.push(Output::Plane(Plane::End { lease, reason }));
            self.cut_lookups(lease);
            self.push(Output::Changed);
        }
    }

    /// A gateway ended a lease and said so inside the tunnel.
    pub fn handle_notice(&mut self, gateway: &GatewayId, lease: LeaseId, reason: DenyReason) {
        // A gateway speaks for its own leases alone.
        if self.resources.grants.get(&lease).is_some_and(|grant| grant.gateway == *gateway) {
            self.disallow(lease, reason);
        }
    }

    /// A gateway does not answer: its leases are of no use, and the next is asked for elsewhere.
    pub fn handle_gateway_silent(&mut self, gateway: &GatewayId) {
        self.avoid = Some(gateway.clone());
        let grants = self.resources.grants.values().filter(|grant| grant.gateway == *gateway);
        let leases: Vec<LeaseId> = grants.map(|grant| grant.lease).collect();
        for lease in leases {
            self.push(Output::Send(Box::new(ztna_api::device::Release { lease }.into())));
            self.disallow(lease, DenyReason::GatewayAway);
        }
    }

    /// Everything that could be reached is no longer.
    pub(crate) fn forget_rights(&mut self, reason: DenyReason) {
        self.resources = Resources::default();
        self.refuse_all_dials(reason);
        self.fail_all_lookups();
        self.follow_network();
    }

    /// Whether the person can reach something, as far as the state is concerned.
    pub(crate) fn judge(&mut self) {
        if self.resources.known && !self.facts.graded.is_empty() {
            self.happen(Happened::Judged { all_denied: self.resources.nothing_granted() });
            self.retry_dials();
            self.retry_lookups();
        }
    }

    /// Ends what is no longer granted, before any gateway has to.
    fn follow_decisions(&mut self) {
        let grants = self.resources.grants.values().filter(|grant| !self.resources.granted(&grant.resource));
        let leases: Vec<LeaseId> = grants.map(|grant| grant.lease).collect();
        for lease in leases {
            self.disallow(lease, DenyReason::Revoked);
        }
        self.follow_network();
        self.judge();
        self.push(Output::Changed);
    }
}

/// How narrowly an address is meant: more labels or bits come first, and no wildcard before an exact name.
fn exactness(address: &Address) -> (bool, usize) {
    match address {
        Address::Name(pattern) => (pattern.exact().is_some(), pattern.base().labels().count()),
        Address::Prefix(cidr) => (true, usize::from(cidr.length())),
    }
}
