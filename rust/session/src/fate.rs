use std::collections::BTreeSet;
use std::net::IpAddr;

use ztna_api::device::Wanted;
use ztna_model::{DomainName, GatewayId, LeaseId, Port, Protocol, ResourceId, Synthetic};
use ztna_names::{Found, Kind, Question, REVERSE_ZONES, Sought, Topic, is_strayed};

use crate::lookups::Errand;
use crate::session::Session;
use crate::state::{State, Through};
use crate::stream::Stream;

/// What becomes of a question.
pub(crate) enum Fate {
    /// It is nobody's business here.
    Forward,
    /// It is answered at once.
    Answer(Vec<u8>),
    /// It waits for the session.
    Hold,
    /// It waits for a lease.
    Ask(Errand),
    /// It waits for what the site says, under a lease at a gateway.
    Site(Errand, LeaseId, GatewayId),
}

/// What a name means to this device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// It is known itself, not only through a wildcard.
    pub(crate) is_exact: bool,
    /// A resource of that name that is granted: the most exact one.
    pub(crate) granted: Option<Open>,
}

/// A granted resource, and how a lease to it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Open {
    pub(crate) resource: ResourceId,
    pub(crate) protocol: Protocol,
    pub(crate) port: Port,
}

impl Session {
    pub(crate) fn fate(&mut self, question: &Question) -> Fate {
        if !self.wanted || self.state.lets_through() == Through::Nothing {
            return Fate::Forward;
        }
        let zone = self.zone_of(question);
        let fate = match question.topic() {
            Topic::Canary => Fate::Answer(question.no_such_name(None)),
            Topic::Discovery => Fate::Answer(question.nothing(None)),
            Topic::Odd if zone.is_some() => Fate::Answer(question.no_such_name(zone.as_ref())),
            Topic::Odd => Fate::Forward,
            Topic::Name(name) => self.fate_of_name(question, name, zone.as_ref()),
            Topic::Reverse(address, name) => self.fate_of_address(question, *address, name, zone.as_ref()),
        };
        match (&fate, question.refusal()) {
            (Fate::Forward, _) | (_, None) => fate,
            (_, Some(refusal)) => Fate::Answer(refusal),
        }
    }

    /// The organisation's tree, or one of our own, that the question is about.
    pub(crate) fn zone_of(&self, question: &Question) -> Option<DomainName> {
        question.zone(self.suffixes().iter().chain(&reverse_zones())).cloned()
    }

    /// Whether an application may be told of a name that somebody else has mentioned.
    pub(crate) fn may_know(&self, name: &DomainName) -> bool {
        self.named(name).is_some()
    }

    /// Whether the name is known itself, not only through a wildcard.
    pub(crate) fn is_exactly_known(&self, name: &DomainName) -> bool {
        self.named(name).is_some_and(|named| named.is_exact)
    }

    /// What a site has said, as an application may hear it.
    pub(crate) fn words_for(&self, question: &Question, errand: &Errand, found: &Found) -> Vec<u8> {
        let zone = self.zone_of(question);
        match (found, &errand.wanted) {
            (Found::Failure, _) => question.failure(),
            // It has an address here, so there is such a name.
            (Found::NoSuchName, _) if self.is_exactly_known(&errand.subject.0) => {
                question.nothing(zone.as_ref())
            }
            (Found::NoSuchName, _) => question.no_such_name(zone.as_ref()),
            (Found::Records(_), Wanted::Name { synthetic, .. }) if question.kind() == Kind::Address => {
                question.stand_in(synthetic)
            }
            (Found::Records(records), _) if records.is_empty() => question.nothing(zone.as_ref()),
            (Found::Records(records), _) => question.found(records),
        }
    }

    /// What is said of what may be known of and is not granted.
    pub(crate) fn words_for_denied(&self, question: &Question, wanted: &Wanted) -> Vec<u8> {
        match (question.kind(), wanted) {
            (Kind::Address, Wanted::Name { synthetic, .. }) => question.stand_in(synthetic),
            (Kind::Address | Kind::Site(_) | Kind::Any | Kind::Other, _) => {
                question.nothing(self.zone_of(question).as_ref())
            }
        }
    }

    fn named(&self, name: &DomainName) -> Option<Named> {
        self.resources.named(name, self.suffixes())
    }

    fn fate_of_name(&mut self, question: &Question, name: &DomainName, zone: Option<&DomainName>) -> Fate {
        let served = name.served();
        let at = |name: &DomainName| Some((name.clone(), self.named(name)?));
        let Some((wanted, named)) = at(name).or_else(|| at(served.as_ref()?)) else {
            return self.fate_of_unknown(question, name, zone);
        };
        if let Some(fate) = self.not_ready(question) {
            return fate;
        }
        let (is_host, is_exact) = (wanted == *name, named.is_exact);
        match (question.kind(), named.granted) {
            (Kind::Address, granted) if is_host => match granted.filter(|_| !is_exact) {
                Some(open) => self.errand(question, (name.clone(), Sought::Existence), wanted, open),
                None => self.answer_stand_in(question, &wanted),
            },
            (Kind::Site(sought), Some(open)) => self.errand(question, (name.clone(), sought), wanted, open),
            (Kind::Any, _) if is_host => Fate::Answer(question.anything()),
            (Kind::Address | Kind::Site(_) | Kind::Any | Kind::Other, _) => {
                Fate::Answer(question.nothing(zone))
            }
        }
    }

    /// What is hidden, what does not exist, and what is somebody else's.
    fn fate_of_unknown(&self, question: &Question, name: &DomainName, zone: Option<&DomainName>) -> Fate {
        let suffixes = self.suffixes();
        let is_ours =
            |name: &DomainName| suffixes.iter().any(|suffix| name.is_within(suffix)) || self.may_know(name);
        match zone {
            None if is_strayed(name, is_ours) => Fate::Answer(question.no_such_name(None)),
            None => Fate::Forward,
            Some(zone) => self.not_ready(question).unwrap_or_else(|| {
                // Above a name that is known there must be something.
                let is_there = name == zone || self.resources.stand_below(name);
                let message =
                    if is_there { question.nothing(Some(zone)) } else { question.no_such_name(Some(zone)) };
                Fate::Answer(message)
            }),
        }
    }

    fn fate_of_address(
        &self,
        question: &Question,
        address: IpAddr,
        name: &DomainName,
        zone: Option<&DomainName>,
    ) -> Fate {
        let is_ours = Synthetic::RANGES.iter().any(|range| range.contains(address));
        let at_site = self.resources.numbered(address);
        if !is_ours && at_site.is_none() {
            return Fate::Forward;
        }
        if let Some(fate) = self.not_ready(question) {
            return fate;
        }
        if question.kind() != Kind::Site(Sought::Pointer) {
            return Fate::Answer(question.nothing(zone));
        }
        if is_ours {
            let known = self.book.name_of(address).filter(|name| self.may_know(name));
            return Fate::Answer(
                known.map_or_else(|| question.no_such_name(zone), |name| question.pointer(name)),
            );
        }
        match at_site.flatten() {
            Some(open) => {
                self.errand_for(question, (name.clone(), Sought::Pointer), Wanted::Address(address), open)
            }
            None => Fate::Answer(question.no_such_name(zone)),
        }
    }

    /// Why a question of ours cannot be answered yet, if it cannot.
    fn not_ready(&self, question: &Question) -> Option<Fate> {
        match self.state.lets_through() {
            Through::Granted if self.resources.told => None,
            Through::Granted => Some(Fate::Hold),
            Through::ControlOnly | Through::Nothing => {
                let is_in_vain = matches!(self.state, State::AwaitingAdmission { .. } | State::Unreachable);
                Some(if is_in_vain { Fate::Answer(question.failure()) } else { Fate::Hold })
            }
        }
    }

    fn answer_stand_in(&mut self, question: &Question, name: &DomainName) -> Fate {
        match self.stand_in(name) {
            Some(address) => Fate::Answer(question.stand_in(&address)),
            None => Fate::Answer(question.failure()),
        }
    }

    fn errand(
        &mut self,
        question: &Question,
        subject: (DomainName, Sought),
        name: DomainName,
        open: Open,
    ) -> Fate {
        let takes_another = !self.is_exactly_known(&name) && !self.is_leased(&name);
        if takes_another && self.names_below(&open.resource) + self.names_asked_for() >= MOST_NAMES {
            return Fate::Answer(question.failure());
        }
        match self.stand_in(&name) {
            Some(synthetic) => self.errand_for(question, subject, Wanted::Name { name, synthetic }, open),
            None => Fate::Answer(question.failure()),
        }
    }

    fn errand_for(
        &self,
        question: &Question,
        subject: (DomainName, Sought),
        wanted: Wanted,
        open: Open,
    ) -> Fate {
        let errand = Errand { subject, wanted, protocol: open.protocol, port: open.port };
        if let Some(records) = self.remembered(&errand.subject) {
            return Fate::Answer(self.words_for(question, &errand, &Found::Records(records.clone())));
        }
        match self.grant_for(&errand.wanted) {
            Some(grant) => {
                let (lease, gateway) = (grant.lease, grant.gateway.clone());
                Fate::Site(errand, lease, gateway)
            }
            None if matches!(self.stream, Stream::Open(_)) => Fate::Ask(errand),
            None => Fate::Hold,
        }
    }

    /// How many names have leases under one wildcard.
    fn names_below(&self, resource: &ResourceId) -> usize {
        let grants = self.resources.grants.values().filter(|grant| grant.resource == *resource);
        let names: BTreeSet<_> = grants.map(|grant| &grant.covers).collect();
        names.len()
    }
}

/// The reverse trees of the addresses that stand in for names.
pub(crate) fn reverse_zones() -> Vec<DomainName> {
    REVERSE_ZONES.iter().filter_map(|zone| zone.parse().ok()).collect()
}

/// The most names below one wildcard that a session has leases for.
const MOST_NAMES: usize = 256;
