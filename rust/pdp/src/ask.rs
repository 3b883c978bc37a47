use std::collections::BTreeSet;

use ztna_api::device::{Ask, Nonces, Refused, Wanted};
use ztna_model::{
    Address, AddressName, Decision, DecisionId, DenyReason, DomainName, Fix, GatewayId, Holder, Host, Lease,
    LeaseId, Limits, Match, Resource, ResourceId, Rule, SessionId, Synthetic, Target, Visible, secs,
};

use crate::audit::{By, Draft, Event};
use crate::cedar::Judged;
use crate::device::some_carriers;
use crate::grant::Waiting;
use crate::input::StreamId;
use crate::pdp::Pdp;
use crate::rows::Session;

/// A lease that is wanted.
pub(crate) struct Seek {
    pub(crate) sid: SessionId,
    pub(crate) resource: ResourceId,
    pub(crate) covers: Match,
    /// Who waits for it.
    pub(crate) waiting: Vec<Waiting>,
    /// A gateway to take only if there is no other.
    pub(crate) avoid: Option<GatewayId>,
    /// Gateways that did not answer.
    pub(crate) tried: BTreeSet<GatewayId>,
}

impl Seek {
    /// The same as `lost` was for.
    pub(crate) fn again(lost: &Lease, waiting: Vec<Waiting>) -> Self {
        let (resource, covers) = (lost.rule.resource.clone(), lost.rule.covers.clone());
        Self { sid: lost.sid, resource, covers, waiting, avoid: None, tried: BTreeSet::new() }
    }
}

impl Pdp {
    /// A device asks for a lease. Nothing is looked up before the device has shown its key and stated its tunnel's, and
    /// then only in what the session may know of.
    pub(crate) fn ask(&mut self, stream: StreamId, sid: SessionId, ask: Ask) {
        let Some(session) = self.rows.sessions.get(&sid).cloned() else { return };
        if let Some((reason, fix)) = self.not_ready(stream, &session) {
            let decision = Decision::Denied { reason, fixes: vec![fix] };
            return self.tell(stream, Refused { request: ask.request, decision });
        }
        self.devices.set_carriers(stream, some_carriers(ask.carriers.clone()));
        let found = match &ask.wanted {
            Wanted::Name { name, .. } => {
                self.devices.visible(&sid).and_then(|set| set.by_name(name, ask.protocol, ask.port))
            }
            Wanted::Address(address) => {
                self.devices.visible(&sid).and_then(|set| set.by_address(*address, ask.protocol, ask.port))
            }
        };
        match found.cloned() {
            Some(visible) => self.ask_for(stream, &session, &ask, &visible),
            None => {
                let judged = Judged::denied(DenyReason::NotFound, Vec::new(), BTreeSet::new());
                self.refuse(stream, &session, &ask, None, judged);
            }
        }
    }

    /// What has to be so whatever is asked for; the answer tells nothing about what there is.
    fn not_ready(&mut self, stream: StreamId, session: &Session) -> Option<(DenyReason, Fix)> {
        let per_second = self.settings().asks_per_second;
        if !session.is_open() {
            return Some((DenyReason::DeviceNotAdmitted, Fix::AwaitAdmission));
        }
        if !self.devices.may_ask(session.sid, per_second, self.clock.boot()) {
            return Some((DenyReason::LimitReached, Fix::Retry));
        }
        if !self.is_present(stream) || !self.devices.is_keyed(stream) {
            let nonces = self.nonces_for(stream, 2);
            self.tell(stream, Nonces { nonces });
            return Some((DenyReason::DeviceUnproven, Fix::Retry));
        }
        None
    }

    fn ask_for(&mut self, stream: StreamId, session: &Session, ask: &Ask, visible: &Visible) {
        let resource = visible.resource.clone();
        let denied = |reason| Judged::denied(reason, Vec::new(), BTreeSet::new());
        let covers = match self.covers(session, ask, visible) {
            Ok(covers) => covers,
            Err(reason) => return self.refuse(stream, session, ask, Some(resource), denied(reason)),
        };
        let waiting = Waiting::Asked(stream, ask.request);
        if let Some(known) = self.grants.wanted(session.sid, &resource, &covers)
            && self.join(known, waiting, ask.avoid.as_ref())
        {
            return;
        }
        let judged = self.decide(session, &resource, self.clock.wall());
        if !judged.decision.is_granted() {
            return self.refuse(stream, session, ask, Some(resource), judged);
        }
        let (avoid, tried) = (ask.avoid.clone(), BTreeSet::new());
        let seek = Seek { sid: session.sid, resource, covers, waiting: vec![waiting], avoid, tried };
        self.take_gateway(seek, session, judged);
    }

    /// What the lease would cover, if name and stand-ins are the session's to give.
    fn covers(&self, session: &Session, ask: &Ask, visible: &Visible) -> Result<Match, DenyReason> {
        let (name, synthetic) = match (&ask.wanted, &visible.address) {
            // A prefix is found by a name that spells one of its addresses.
            (Wanted::Name { name, synthetic }, Address::Name(_) | Address::Prefix(_)) => (name, synthetic),
            (Wanted::Address(_), Address::Prefix(cidr)) => return Ok(Match::Prefix(*cidr)),
            (Wanted::Address(_), Address::Name(_)) => return Err(DenyReason::NotFound),
        };
        let covers = Match::Name { name: name.clone(), synthetic: *synthetic };
        let mut names = 0;
        for known in self.grants.covers_of(session.sid).filter(|known| **known != covers) {
            let Match::Name { name: other, synthetic: theirs } = known else { continue };
            if other != name && shares(theirs, synthetic) {
                return Err(DenyReason::Fault);
            }
            names += 1;
        }
        if !synthetic.is_sound() {
            return Err(DenyReason::Fault);
        }
        if names >= MOST_NAMES { Err(DenyReason::LimitReached) } else { Ok(covers) }
    }

    /// Joins a lease that is there or on its way; false if a new one is wanted.
    fn join(&mut self, known: LeaseId, waiting: Waiting, avoid: Option<&GatewayId>) -> bool {
        if self.grants.is_recording(&known) {
            self.grants.wait(known, waiting);
            return true;
        }
        let Some(row) = self.rows.leases.get(&known).cloned() else { return false };
        let (judged, ttl) = self.decide_lease(&row.lease);
        let good = judged.decision.is_granted() && !ttl.is_zero() && avoid != Some(&row.lease.gw);
        let reachable = self.gateways.run(&row.lease.gw).is_some_and(|run| run.id == row.lease.run);
        if !good || !reachable {
            self.end_lease(known, DenyReason::Revoked, By::Broker, true);
            return false;
        }
        if self.grants.is_held(&known) {
            self.tell_granted(known, vec![waiting]);
        } else {
            self.grants.wait(known, waiting);
        }
        true
    }

    /// Decides, finds a gateway, and writes the lease down.
    pub(crate) fn seek(&mut self, seek: Seek) {
        let Some(session) = self.rows.sessions.get(&seek.sid).cloned() else { return };
        let judged = self.decide(&session, &seek.resource, self.clock.wall());
        if !judged.decision.is_granted() {
            return self.in_vain(seek.waiting, crate::decide::reason_of(&judged.decision));
        }
        self.take_gateway(seek, &session, judged);
    }

    fn take_gateway(&mut self, seek: Seek, session: &Session, judged: Judged) {
        let Some(resource) = self.rows.resources.get(&seek.resource).cloned() else {
            return self.in_vain(seek.waiting, DenyReason::NotFound);
        };
        let Some(gateway) = self.pick_gateway(session, &resource, seek.avoid.as_ref(), &seek.tried) else {
            return self.in_vain(seek.waiting, DenyReason::GatewayAway);
        };
        match self.new_lease(session, &resource, &seek.covers, &gateway) {
            Some(lease) => self.record_lease(lease, judged, seek.waiting, seek.tried),
            None => self.in_vain(seek.waiting, DenyReason::Fault),
        }
    }

    /// Asks again on behalf of a session whose lease its gateway lost.
    pub(crate) fn regrant(&mut self, lost: &Lease, avoid: Option<&GatewayId>) {
        if self.devices.told_stream(&lost.sid).is_some() {
            let seek = Seek::again(lost, vec![Waiting::Unasked]);
            self.seek(Seek { avoid: avoid.cloned(), ..seek });
        }
    }

    /// The gateway for a session: one with a fresh beat, the one it has already, the least loaded. One to be avoided
    /// is taken only if there is no other.
    fn pick_gateway(
        &self,
        session: &Session,
        resource: &Resource,
        avoid: Option<&GatewayId>,
        tried: &BTreeSet<GatewayId>,
    ) -> Option<GatewayId> {
        let leases = self.index.leases_of(&session.sid);
        let has = |gateway: &GatewayId| {
            leases.iter().any(|id| self.rows.leases.get(id).is_some_and(|row| row.lease.gw == *gateway))
        };
        let now = self.clock.boot();
        let candidates = self
            .rows
            .gateways
            .values()
            .filter(|row| row.site == resource.site && row.revoked.is_none() && !tried.contains(&row.id));
        let ranked = candidates.filter_map(|row| {
            let run = self.gateways.run(&row.id)?;
            let silent = now.since(run.heard) > secs(30);
            let load = self.index.leases_at(&row.id).len();
            Some((avoid == Some(&row.id), silent, !has(&row.id), load, row.id.clone()))
        });
        ranked.min().map(|(.., gateway)| gateway)
    }

    fn new_lease(
        &mut self,
        session: &Session,
        resource: &Resource,
        covers: &Match,
        gateway: &GatewayId,
    ) -> Option<Lease> {
        let (rule, target) = terms(resource, covers, self.suffixes())?;
        let tunnel = session.tunnel.clone()?;
        let settings = self.settings();
        Some(Lease {
            org: self.rows.org.clone(),
            incarnation: self.incarnation(),
            id: LeaseId::random(&mut *self.random),
            sid: session.sid,
            epoch: session.epoch,
            jkt: session.jkt,
            person: self.rows.people.get(&session.person)?.pseudonym,
            device: session.device,
            decision: DecisionId::random(&mut *self.random),
            gw: gateway.clone(),
            run: self.gateways.run(gateway)?.id,
            at: 0,
            ttl: 0,
            holder: Holder::Tunnel { wg_pub: tunnel.wg_pub, statement: tunnel.statement },
            rule,
            target,
            limits: Limits { silence: settings.silence_s.saturating_mul(1_000), flows: settings.lease_flows },
        })
    }

    /// Refuses, and writes it down. What is hidden and what does not exist come here alike.
    fn refuse(
        &mut self,
        stream: StreamId,
        session: &Session,
        ask: &Ask,
        resource: Option<ResourceId>,
        judged: Judged,
    ) {
        let person = self.rows.people.get(&session.person).map(|person| person.pseudonym);
        if let Some(person) = person {
            let decision = DecisionId::random(&mut *self.random);
            let mut draft = Draft::new(&mut *self.random);
            let wanted = draft.commit(&spoken(&ask.wanted));
            let reason = crate::decide::reason_of(&judged.decision);
            let (sid, policies) = (session.sid, judged.policies);
            let event = Event::LeaseRefused { decision, sid, person, resource, wanted, reason, policies };
            let entry = draft.entry(self.clock.wall(), By::Person(person), event);
            self.record(entry);
        }
        self.tell(stream, Refused { request: ask.request, decision: judged.decision });
    }

    /// A device gives a lease back.
    pub(crate) fn release(&mut self, sid: SessionId, lease: LeaseId) {
        let row = self.rows.leases.get(&lease).filter(|row| row.lease.sid == sid);
        if let Some(person) = row.map(|row| row.lease.person) {
            self.end_lease(lease, DenyReason::Revoked, By::Person(person), true);
        }
    }
}

/// What a lease to `resource` says, if `covers` is one of the ways in which it is addressed.
pub(crate) fn terms(resource: &Resource, covers: &Match, suffixes: &[DomainName]) -> Option<(Rule, Target)> {
    let host = match (&resource.address, covers) {
        (Address::Name(pattern), Match::Name { name, synthetic }) => {
            (pattern.matches(name) && synthetic.is_sound()).then(|| Host::Name(name.clone()))?
        }
        (Address::Prefix(ours), Match::Prefix(theirs)) => {
            (ours == theirs && !resource.by_name).then(|| Host::Address(ours.first()))?
        }
        (Address::Prefix(ours), Match::Name { name, synthetic }) => {
            let spelled = AddressName::read(name, suffixes).filter(|at| at.site == resource.site)?;
            (ours.contains(spelled.address) && synthetic.is_sound())
                .then_some(Host::Address(spelled.address))?
        }
        (Address::Name(_), Match::Prefix(_)) => return None,
    };
    let rule = Rule {
        resource: resource.id.clone(),
        protocol: resource.protocol,
        ports: resource.ports.clone(),
        covers: covers.clone(),
    };
    Some((rule, resource.target.clone().unwrap_or(Target { host, port: None })))
}

fn shares(one: &Synthetic, other: &Synthetic) -> bool {
    one.v4 == other.v4 || one.v6 == other.v6
}

fn spoken(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Name { name, .. } => name.to_string(),
        Wanted::Address(address) => address.to_string(),
    }
}

/// The most names that one session has leases for.
const MOST_NAMES: usize = 256;

#[cfg(test)]
mod tests;
