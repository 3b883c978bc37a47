use ztna_api::admin::{AdminError, Answer, Group, Settings, Site};
use ztna_model::{
    Address, Cidr, GatewayId, GroupId, Inner, Ports, Protocol, Resource, ResourceId, SiteId, Synthetic,
    minutes,
};

use super::{Plan, Planned, Revocation, exists, in_use, invalid, unknown};
use crate::apply::requirements;
use crate::audit::{By, Event};
use crate::cedar::Known;
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::{EnrolmentKind, Gateway, Key, Organisation};

impl Pdp {
    pub(super) fn group_put(&mut self, group: Group, by: &By) -> Planned {
        if let Some(claim) = group.claims.iter().find(|claim| self.trust.issuer(&claim.issuer).is_none()) {
            return Err(invalid(format!("`{}` is no issuer of this organisation", claim.issuer)));
        }
        let mut change = self.administered("group-put", &group.id, by);
        change.put(group);
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn group_remove(&mut self, group: &GroupId, by: &By) -> Planned {
        if !self.rows.groups.contains_key(group) {
            return Err(unknown("group", group));
        }
        let members = self.rows.people.values().filter(|person| person.groups.contains(group)).count();
        let invited = self.rows.invitations.values().filter(|row| row.groups.contains(group)).count();
        if members + invited > 0 {
            let people = match members + invited {
                1 => "one person is".to_owned(),
                many => format!("{many} people are"),
            };
            return Err(in_use(format!("{people} in the group `{group}`")));
        }
        self.check_named(|known| known.groups.remove(group))?;
        let mut change = self.administered("group-remove", group, by);
        change.delete(Key::Group(group.clone()));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    /// No policy may be left naming what is about to go: a forbid would silently forbid nothing.
    fn check_named(&self, remove: impl FnOnce(&mut Known) -> bool) -> Result<(), AdminError> {
        let mut known = self.known();
        remove(&mut known);
        let language = self.engine.language();
        let naming = self
            .engine
            .rules()
            .iter()
            .find_map(|(id, rule)| rule.stranger(&known, language).map(|name| (id, name)));
        match naming {
            Some((policy, name)) => Err(in_use(format!("the policy `{policy}` names {name}"))),
            None => Ok(()),
        }
    }

    pub(super) fn resource_put(&mut self, resource: Resource, by: &By) -> Planned {
        self.check_resource(&resource)?;
        let mut change = self.administered("resource-put", &resource.id, by);
        change.put(resource);
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    fn check_resource(&self, resource: &Resource) -> Result<(), AdminError> {
        if !self.rows.sites.contains_key(&resource.site) {
            return Err(unknown("site", &resource.site));
        }
        if resource.title.trim().is_empty() || resource.title.chars().any(char::is_control) {
            return Err(invalid("a resource needs a title, in plain text"));
        }
        if resource.protocol == Protocol::IcmpEcho && resource.ports != Ports::all() {
            return Err(invalid("echo has no ports: write `*`"));
        }
        let Address::Prefix(cidr) = &resource.address else {
            let fits = !resource.by_name;
            return fits.then_some(()).ok_or_else(|| invalid("only addresses have names at their sites"));
        };
        if resource.by_name && self.suffixes().is_empty() {
            return Err(invalid("no address has a name before the setting `suffixes` says below what"));
        }
        if ours().iter().any(|ours| ours.overlaps(cidr)) {
            return Err(invalid(format!("`{cidr}` overlaps the addresses that stand in for names")));
        }
        let clash = self.rows.resources.values().find(|other| {
            let Address::Prefix(theirs) = &other.address else { return false };
            let both_by_name = other.by_name && resource.by_name;
            other.id != resource.id && other.site != resource.site && theirs.overlaps(cidr) && !both_by_name
        });
        match clash {
            Some(other) => Err(invalid(format!(
                "`{cidr}` overlaps the resource `{}` at the site `{}`: reach both by name",
                other.id, other.site
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn resource_remove(&mut self, resource: &ResourceId, by: &By) -> Planned {
        if !self.rows.resources.contains_key(resource) {
            return Err(unknown("resource", resource));
        }
        self.check_named(|known| known.resources.remove(resource))?;
        let mut change = self.administered("resource-remove", resource, by);
        change.delete(Key::Resource(resource.clone()));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn site_put(&mut self, site: Site, by: &By) -> Planned {
        let mut change = self.administered("site-put", &site.id, by);
        change.put(site);
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn site_remove(&mut self, site: &SiteId, by: &By) -> Planned {
        if !self.rows.sites.contains_key(site) {
            return Err(unknown("site", site));
        }
        if let Some(resource) = self.rows.resources.values().find(|row| row.site == *site) {
            return Err(in_use(format!("the resource `{}` lives there", resource.id)));
        }
        let standing = |row: &&Gateway| row.site == *site && row.revoked.is_none();
        if let Some(gateway) = self.rows.gateways.values().find(standing) {
            return Err(in_use(format!("the gateway `{}` stands there", gateway.id)));
        }
        self.check_named(|known| known.sites.remove(site))?;
        let mut change = self.administered("site-remove", site, by);
        change.delete(Key::Site(site.clone()));
        Ok(Plan::Propose(change, Answer::Done {}))
    }

    pub(super) fn gateway_create(&mut self, gateway: GatewayId, site: SiteId, by: &By) -> Planned {
        if !self.rows.sites.contains_key(&site) {
            return Err(unknown("site", site));
        }
        let known = self.rows.gateways.get(&gateway);
        if known.is_some_and(|row| row.key.is_some() || row.revoked.is_some()) {
            return Err(exists("gateway", gateway));
        }
        let mut change = self.administered("gateway-create", &gateway, by);
        let kind = EnrolmentKind::Gateway { gateway: gateway.clone(), site: site.clone() };
        let until = self.clock.wall() + minutes(10);
        let token = self.single_use(kind, until, &mut change);
        change.put(Gateway { id: gateway, site, key: None, revoked: None });
        Ok(Plan::Propose(change, token))
    }

    /// The gateway's leases end with the floors that follow; then its stream is cut.
    pub(super) fn gateway_revoke(&mut self, gateway: &GatewayId, by: &By) -> Planned {
        let row = self.rows.gateways.get(gateway).filter(|row| row.revoked.is_none()).cloned();
        let row = row.ok_or_else(|| unknown("gateway", gateway))?;
        let leases = self.index.leases_at(gateway);
        let mut sids: Vec<_> =
            leases.iter().filter_map(|id| self.rows.leases.get(id)).map(|row| row.lease.sid).collect();
        sids.dedup();
        let event = Event::GatewayRevoked { gateway: gateway.clone() };
        let mut change = Change { audit: vec![self.entry(by.clone(), event)], ..Change::default() };
        change.put(Gateway { revoked: Some(self.clock.wall()), ..row });
        Ok(Plan::Enforce(change, Revocation { hold: None, sids }))
    }

    pub(super) fn settings_put(&mut self, settings: Settings, by: &By) -> Planned {
        let ranges = [
            ("lease_ttl_s", settings.lease_ttl_s, 5..=300),
            ("devices_per_person", u64::from(settings.devices_per_person), 1..=100),
            ("lease_flows", u64::from(settings.lease_flows), 1..=1_000_000),
            ("silence_s", settings.silence_s, 10..=86_400),
            ("idp_seen_max_s", settings.idp_seen_max_s, 300..=30 * 86_400),
            ("idle_s", settings.idle_s, 300..=7 * 86_400),
            ("session_s", settings.session_s, 300..=30 * 86_400),
            ("asks_per_second", u64::from(settings.asks_per_second), 1..=100_000),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                return Err(invalid(format!("`{name}` is {value}: it may be from {least} to {most}")));
            }
        }
        if !(-840..=840).contains(&settings.utc_offset_minutes) {
            return Err(invalid("`utc_offset_minutes` may be from -840 to 840"));
        }
        if settings.suffixes.len() > MOST_SUFFIXES {
            return Err(invalid(format!("`suffixes` may be {MOST_SUFFIXES} at most")));
        }
        if let Some(suffix) = settings.suffixes.iter().find(|suffix| !suffix.may_be_private()) {
            return Err(invalid(format!("`suffixes`: `{suffix}` is not one organisation's alone")));
        }
        requirements(&settings).map_err(|error| invalid(format!("`requirements`: {error}")))?;
        let mut change = self.administered("settings-put", "organisation", by);
        change.put(Organisation { incarnation: self.incarnation(), settings });
        Ok(Plan::Propose(change, Answer::Done {}))
    }
}

/// The ranges that stand in for names, and those inside tunnels (RFC 2544, RFC 5180).
fn ours() -> [Cidr; 2] {
    let synthetic = Synthetic::from_index(0);
    let v4 = Cidr::new(synthetic.v4.into(), 15).unwrap_or(Cidr::host(Inner::DEVICE.v4.into()));
    let inner = std::net::Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0);
    [v4, Cidr::new(inner.into(), 48).unwrap_or(Cidr::host(Inner::DEVICE.v6.into()))]
}

/// The most domain names that are an organisation's.
const MOST_SUFFIXES: usize = 32;
