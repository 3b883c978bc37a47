use std::collections::BTreeMap;

use ztna_api::device::Wanted;
use ztna_model::{
    Address, DenyReason, Endpoint, GatewayId, Grant, Host, LeaseId, Port, Protocol, ResourceId, Visible,
};
use ztna_names::Book;
use ztna_proxy::Verdict;

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
}

impl Resources {
    /// The resource that an application means, if it may be known of: a granted one before others, the most exact first.
    pub(crate) fn meant(&self, host: &Host, protocol: Protocol, port: Port) -> Option<&Visible> {
        let fits = |visible: &&Visible| {
            visible.protocol == protocol
                && visible.ports.contains(port.number())
                && match (&visible.address, host) {
                    (Address::Name(pattern), Host::Name(name)) => pattern.matches(name),
                    (Address::Prefix(cidr), Host::Address(address)) => cidr.contains(*address),
                    (Address::Name(_), Host::Address(_)) | (Address::Prefix(_), Host::Name(_)) => false,
                }
        };
        let rank = |visible: &&Visible| (visible.decision.is_granted(), exactness(&visible.address));
        self.visible.values().filter(fits).max_by_key(rank)
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

/// Where flows to `wanted` go inside the tunnel.
pub(crate) fn destination(wanted: &Wanted, port: Port) -> Endpoint {
    match wanted {
        Wanted::Name { synthetic, .. } => Endpoint::new(synthetic.v4.into(), port.number()),
        Wanted::Address(address) => Endpoint::new(*address, port.number()),
    }
}

/// What to ask the broker for, to reach `host`.
pub(crate) fn wanted(host: &Host, book: &mut Book) -> Result<Wanted, Verdict> {
    match host {
        Host::Address(address) => Ok(Wanted::Address(*address)),
        Host::Name(name) => {
            let synthetic = book.address(name).map_err(|_| Verdict::denied(DenyReason::LimitReached))?;
            Ok(Wanted::Name { name: name.clone(), synthetic })
        }
    }
}

impl Session {
    /// The broker told all that may be known of.
    pub(crate) fn know_resources(&mut self, visible: Vec<Visible>) {
        self.resources.visible =
            visible.into_iter().map(|visible| (visible.resource.clone(), visible)).collect();
        self.resources.known = true;
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
    }

    /// Whether the person can reach something, as far as the state is concerned.
    pub(crate) fn judge(&mut self) {
        if self.resources.known && !self.facts.graded.is_empty() {
            self.happen(Happened::Judged { all_denied: self.resources.nothing_granted() });
            self.retry_dials();
        }
    }

    /// Ends what is no longer granted, before any gateway has to.
    fn follow_decisions(&mut self) {
        let grants = self.resources.grants.values().filter(|grant| !self.resources.granted(&grant.resource));
        let leases: Vec<LeaseId> = grants.map(|grant| grant.lease).collect();
        for lease in leases {
            self.disallow(lease, DenyReason::Revoked);
        }
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
