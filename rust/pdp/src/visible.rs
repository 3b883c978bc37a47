use std::collections::BTreeMap;
use std::net::IpAddr;

use ztna_model::{
    Address, AddressName, Cidr, Decision, DomainName, NamePattern, Port, Protocol, ResourceId, SessionId,
    Visible,
};

use crate::pdp::Pdp;
use crate::rows::Session;

/// All that a session may know of, with today's answers.
///
/// INVARIANT: requests are looked up here and nowhere else. What is hidden is not in here, so it takes the same way
/// through the same code as what does not exist: there is nothing by which to tell the two apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct VisibleSet {
    all: BTreeMap<ResourceId, Visible>,
    names: BTreeMap<DomainName, Vec<ResourceId>>,
    patterns: Vec<(NamePattern, ResourceId)>,
    prefixes: Vec<(Cidr, ResourceId)>,
    suffixes: Vec<DomainName>,
}

impl VisibleSet {
    pub(crate) fn new(visible: impl IntoIterator<Item = Visible>, suffixes: &[DomainName]) -> Self {
        let mut set = Self { suffixes: suffixes.to_vec(), ..Self::default() };
        for one in visible {
            let id = one.resource.clone();
            match &one.address {
                Address::Name(pattern) => match pattern.exact() {
                    Some(name) => set.names.entry(name.clone()).or_default().push(id.clone()),
                    None => set.patterns.push((pattern.clone(), id.clone())),
                },
                Address::Prefix(cidr) => set.prefixes.push((*cidr, id.clone())),
            }
            set.all.insert(id, one);
        }
        // The closest comes first: the longest base, the longest prefix.
        let labels = |pattern: &NamePattern| pattern.base().labels().count();
        set.patterns.sort_by_key(|(pattern, id)| (std::cmp::Reverse(labels(pattern)), id.clone()));
        set.prefixes.sort_by_key(|(cidr, id)| (std::cmp::Reverse(cidr.length()), id.clone()));
        set
    }

    pub(crate) fn list(&self) -> Vec<Visible> {
        self.all.values().cloned().collect()
    }

    /// The organisation's domain names.
    pub(crate) fn suffixes(&self) -> &[DomainName] {
        &self.suffixes
    }

    /// The resource that `name` means on this port; exact names come first, then names of addresses, then patterns.
    pub(crate) fn by_name(&self, name: &DomainName, protocol: Protocol, port: Port) -> Option<&Visible> {
        let exact = self.names.get(name).into_iter().flatten();
        let spelled = AddressName::read(name, &self.suffixes);
        let lives = |id: &&ResourceId, at: &AddressName| {
            self.all.get(*id).is_some_and(|visible| visible.site.as_ref() == Some(&at.site))
        };
        let spelling = spelled.iter().flat_map(|at| {
            let matching = self.prefixes.iter().filter(|(cidr, _)| cidr.contains(at.address));
            matching.map(|(_, id)| id).filter(move |id| lives(id, at))
        });
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(name)).map(|(_, id)| id);
        self.first(exact.chain(spelling).chain(matching), protocol, port)
    }

    /// The resource that `address` belongs to on this port.
    pub(crate) fn by_address(&self, address: IpAddr, protocol: Protocol, port: Port) -> Option<&Visible> {
        let matching = self.prefixes.iter().filter(|(cidr, _)| cidr.contains(address)).map(|(_, id)| id);
        let by_number = |id: &&ResourceId| self.all.get(*id).is_some_and(|visible| !visible.by_name);
        self.first(matching.filter(by_number), protocol, port)
    }

    /// The first that speaks the protocol on the port; among those, one that is granted.
    fn first<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a ResourceId>,
        protocol: Protocol,
        port: Port,
    ) -> Option<&'a Visible> {
        let fits = |visible: &&Visible| {
            visible.protocol == protocol
                && (protocol == Protocol::IcmpEcho || visible.ports.contains(port.number()))
        };
        let mut found = ids.filter_map(|id| self.all.get(id)).filter(fits).peekable();
        let first = found.peek().copied();
        found.find(|visible| visible.decision.is_granted()).or(first)
    }

    /// What is new or has another answer in `self`, and what is gone.
    pub(crate) fn since(&self, before: &Self) -> (Vec<Visible>, Vec<ResourceId>) {
        let changed = self.all.values().filter(|one| before.all.get(&one.resource) != Some(*one));
        let gone = before.all.keys().filter(|id| !self.all.contains_key(*id));
        (changed.cloned().collect(), gone.cloned().collect())
    }
}

impl Pdp {
    /// What the session may know of: what it is granted, and what the person may see.
    pub(crate) fn visible_to(&self, session: &Session) -> VisibleSet {
        let now = self.clock.wall();
        if !session.is_open() {
            return VisibleSet::default();
        }
        let standing = self.standing(session, now);
        let Some(scene) = self.scene(session, now) else { return VisibleSet::default() };
        let visible = self.rows.resources.values().filter_map(|resource| {
            let decision = match &standing {
                Some((reason, fix)) => Decision::Denied { reason: *reason, fixes: vec![fix.clone()] },
                None => self.decide_in(&scene, &resource.id, now).decision,
            };
            let known = decision.is_granted() || self.engine.sees(&scene, &resource.id);
            known.then(|| Visible {
                resource: resource.id.clone(),
                title: resource.title.clone(),
                address: resource.address.clone(),
                protocol: resource.protocol,
                ports: resource.ports.clone(),
                site: Some(resource.site.clone()),
                by_name: resource.by_name,
                decision,
            })
        });
        VisibleSet::new(visible, self.suffixes())
    }

    /// What the session may know of, as last computed.
    pub(crate) fn visible_set(&self, sid: &SessionId) -> VisibleSet {
        self.devices.visible(sid).cloned().unwrap_or_default()
    }
}
