use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ztna_api::device::Wanted;
use ztna_model::{
    Decision, DenyReason, DomainName, Fix, GatewayId, Grant, LeaseId, Match, Port, Protocol, Random, Time,
    millis, secs,
};
use ztna_names::{Found, Question, Read, Records, Sought, Transport, hear, read, site_query};

use crate::fate::Fate;
use crate::output::{Output, Plane, QueryId};
use crate::session::Session;

/// What local applications want to know about names.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    /// Questions that have no answer yet.
    waiting: BTreeMap<QueryId, Lookup>,
    /// What the broker was asked for, by the number of the request.
    pub(crate) asked: BTreeMap<u64, Wanted>,
    /// What sites were asked.
    sent: BTreeMap<Subject, Sent>,
    /// What sites have said, while it may be remembered.
    found: BTreeMap<Subject, Kept>,
    /// Names below wildcards that have addresses of the book, oldest first.
    pub(crate) loose: VecDeque<DomainName>,
}

#[derive(Debug)]
struct Lookup {
    question: Question,
    until: Time,
    /// The site's business that it waits for.
    wait: Option<Errand>,
    /// There was room for it once.
    is_admitted: bool,
}

/// What is asked of a site, about which name.
pub(crate) type Subject = (DomainName, Sought);

/// A question that only a site can answer, and what a lease has to be for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Errand {
    pub(crate) subject: Subject,
    pub(crate) wanted: Wanted,
    pub(crate) protocol: Protocol,
    pub(crate) port: Port,
}

#[derive(Debug)]
struct Sent {
    id: u16,
    gateway: GatewayId,
    lease: LeaseId,
    message: Vec<u8>,
    again: Time,
}

#[derive(Debug)]
struct Kept {
    records: Records,
    lease: LeaseId,
    until: Time,
}

impl Session {
    /// A local application asks the resolver inside the tunnel; `message` is anybody's bytes.
    pub fn handle_query(&mut self, query: QueryId, message: &[u8], transport: Transport, now: Time) {
        self.now = self.now.max(now);
        match read(message, transport) {
            Read::Silence => self.push(Output::Silence { query }),
            Read::Answer(message) => self.push(Output::Answer { query, message }),
            Read::Question(question) => {
                let until = now + PATIENCE;
                let lookup = Lookup { question: *question, until, wait: None, is_admitted: false };
                self.look_up(query, lookup, now);
            }
        }
    }

    /// The application gave up.
    pub fn cancel_query(&mut self, query: QueryId) {
        self.lookups.waiting.remove(&query);
        self.drop_idle_questions();
    }

    /// Something came from a gateway's resolver, inside its tunnel. What nobody has asked is not listened to.
    pub fn handle_site_answer(&mut self, gateway: &GatewayId, message: &[u8], now: Time) {
        self.now = self.now.max(now);
        let Some(heard) = hear(message) else { return };
        let subject = (heard.name.clone(), heard.sought);
        let asked = |sent: &&Sent| sent.id == heard.id && sent.gateway == *gateway;
        let Some(lease) = self.lookups.sent.get(&subject).filter(asked).map(|sent| sent.lease) else {
            return;
        };
        self.lookups.sent.remove(&subject);
        let found = heard.sift(|name| self.may_know(name));
        if let Found::Records(records) = &found {
            self.remember(&subject, records, lease, now);
        }
        // What has no name has no records of any kind (RFC 8020).
        let is_about = |errand: &Errand| {
            errand.subject == subject || found == Found::NoSuchName && errand.subject.0 == subject.0
        };
        let answered = self.take_waiting(is_about);
        self.drop_idle_questions();
        for (query, question, errand) in &answered {
            let message = self.words_for(question, errand, &found);
            self.push(Output::Answer { query: *query, message });
        }
        if found == Found::NoSuchName {
            self.give_back(&subject.0);
        }
    }

    /// A grant may be what questions wait for.
    pub(crate) fn look_up_under(&mut self, request: Option<u64>, grant: &Grant) {
        self.lookups.asked.retain(|number, wanted| Some(*number) != request && !is_for(grant, wanted));
        self.retry_lookups();
    }

    /// The broker refused a request.
    pub(crate) fn refuse_lookups(&mut self, request: u64, decision: &Decision) {
        let Some(wanted) = self.lookups.asked.remove(&request) else { return };
        for (query, question, _) in self.take_waiting(|errand| errand.wanted == wanted) {
            let message = self.words_for_refused(&question, &wanted, decision);
            self.push(Output::Answer { query, message });
        }
        if let (Wanted::Name { name, .. }, Decision::Denied { reason: DenyReason::NotFound, .. }) =
            (&wanted, decision)
        {
            self.forget_name(name);
        }
    }

    /// A lease is over: what was learnt under it is forgotten, and what was asked under it is asked anew.
    pub(crate) fn cut_lookups(&mut self, lease: LeaseId) {
        self.lookups.sent.retain(|_, sent| sent.lease != lease);
        self.lookups.found.retain(|_, kept| kept.lease != lease);
        self.retry_lookups();
    }

    /// No lease is any good any more.
    pub(crate) fn cut_all_lookups(&mut self) {
        self.lookups.sent.clear();
        self.lookups.found.clear();
    }

    /// The stream that was asked is gone.
    pub(crate) fn reopen_lookups(&mut self) {
        self.lookups.asked.clear();
    }

    /// Nothing can be answered any more that is ours to answer.
    pub(crate) fn fail_all_lookups(&mut self) {
        self.lookups.asked.clear();
        self.cut_all_lookups();
        for (query, lookup) in std::mem::take(&mut self.lookups.waiting) {
            self.push(Output::Answer { query, message: lookup.question.failure() });
        }
    }

    /// Looks again at the questions that wait.
    pub(crate) fn retry_lookups(&mut self) {
        let now = self.now;
        for (query, lookup) in std::mem::take(&mut self.lookups.waiting) {
            self.look_up(query, lookup, now);
        }
        self.drop_idle_questions();
    }

    pub(crate) fn pass_time_on_lookups(&mut self, now: Time) {
        self.lookups.found.retain(|_, kept| now < kept.until);
        let late: Vec<QueryId> = self
            .lookups
            .waiting
            .iter()
            .filter(|(_, lookup)| now >= lookup.until)
            .map(|(query, _)| *query)
            .collect();
        for query in late {
            let Some(lookup) = self.lookups.waiting.remove(&query) else { continue };
            self.push(Output::Answer { query, message: lookup.question.failure() });
        }
        self.drop_idle_questions();
        let mut again = Vec::new();
        for sent in self.lookups.sent.values_mut().filter(|sent| now >= sent.again) {
            sent.again = now + RESEND;
            again.push((sent.gateway.clone(), sent.message.clone()));
        }
        for (gateway, message) in again {
            self.push(Output::Plane(Plane::Query { gateway, message }));
        }
    }

    pub(crate) fn lookups_wake(&self) -> Option<Time> {
        let late = self.lookups.waiting.values().map(|lookup| lookup.until);
        late.chain(self.lookups.sent.values().map(|sent| sent.again)).min()
    }

    /// What a site has said, if it may still be remembered.
    pub(crate) fn remembered(&self, subject: &Subject) -> Option<&Records> {
        let kept = self.lookups.found.get(subject).filter(|kept| self.now < kept.until);
        kept.map(|kept| &kept.records)
    }

    /// A grant under which `wanted` is reached, on whichever ports.
    pub(crate) fn grant_for(&self, wanted: &Wanted) -> Option<&Grant> {
        self.resources.grants.values().find(|grant| is_for(grant, wanted))
    }

    /// How many requests for names are on their way.
    pub(crate) fn names_asked_for(&self) -> usize {
        self.lookups.asked.len()
    }

    fn look_up(&mut self, query: QueryId, lookup: Lookup, now: Time) {
        match self.fate(&lookup.question) {
            Fate::Forward => self.push(Output::Forward { query }),
            Fate::Answer(message) => self.push(Output::Answer { query, message }),
            Fate::Hold => {
                self.hasten_stream(now);
                self.wait(query, Lookup { wait: None, ..lookup });
            }
            Fate::Ask(errand) => {
                if self.wait(query, Lookup { wait: Some(errand.clone()), ..lookup }) {
                    self.ask_broker(errand, now);
                }
            }
            Fate::Site(errand, lease, gateway) => {
                let subject = errand.subject.clone();
                if self.wait(query, Lookup { wait: Some(errand), ..lookup }) {
                    self.ask_site(subject, lease, gateway, now);
                }
            }
        }
    }

    /// Lets a question wait, if there is room. Where there is none, it cannot be answered at the moment.
    fn wait(&mut self, query: QueryId, lookup: Lookup) -> bool {
        let has_room = lookup.is_admitted || self.has_room_for(&lookup.question);
        if has_room {
            self.lookups.waiting.insert(query, Lookup { is_admitted: true, ..lookup });
        } else {
            self.push(Output::Answer { query, message: lookup.question.failure() });
        }
        has_room
    }

    fn has_room_for(&self, question: &Question) -> bool {
        let alike = |other: &&Lookup| other.question.topic() == question.topic();
        self.lookups.waiting.len() < MOST_WAITING
            && self.lookups.waiting.values().filter(alike).count() < MOST_ALIKE
    }

    fn ask_broker(&mut self, errand: Errand, now: Time) {
        let Errand { wanted, protocol, port, .. } = errand;
        let is_asked = self.lookups.asked.values().any(|asked| *asked == wanted);
        if !is_asked && let Some(request) = self.send_ask(&wanted, protocol, port, now) {
            self.lookups.asked.insert(request, wanted);
        }
    }

    fn ask_site(&mut self, subject: Subject, lease: LeaseId, gateway: GatewayId, now: Time) {
        if self.lookups.sent.get(&subject).is_some_and(|sent| sent.lease == lease) {
            return;
        }
        let mut id = [0; 2];
        self.random.fill(&mut id);
        let id = u16::from_be_bytes(id);
        let message = site_query(id, &subject.0, subject.1);
        self.push(Output::Plane(Plane::Query { gateway: gateway.clone(), message: message.clone() }));
        self.lookups.sent.insert(subject, Sent { id, gateway, lease, message, again: now + RESEND });
    }

    fn take_waiting(&mut self, which: impl Fn(&Errand) -> bool) -> Vec<(QueryId, Question, Errand)> {
        let waits = |_: &QueryId, lookup: &mut Lookup| lookup.wait.as_ref().is_some_and(&which);
        let taken = self.lookups.waiting.extract_if(.., waits);
        taken.filter_map(|(query, lookup)| Some((query, lookup.question, lookup.wait?))).collect()
    }

    fn remember(&mut self, subject: &Subject, records: &Records, lease: LeaseId, now: Time) {
        self.lookups.found.retain(|_, kept| now < kept.until);
        if records.ttl() > 0 && self.lookups.found.len() < MOST_FOUND {
            let until = now + secs(records.ttl().into());
            self.lookups.found.insert(subject.clone(), Kept { records: records.clone(), lease, until });
        }
    }

    /// Questions to sites that nobody waits for any more.
    fn drop_idle_questions(&mut self) {
        let Lookups { waiting, sent, .. } = &mut self.lookups;
        let is_awaited = |subject: &Subject| {
            waiting
                .values()
                .any(|lookup| lookup.wait.as_ref().is_some_and(|errand| errand.subject == *subject))
        };
        sent.retain(|subject, _| is_awaited(subject));
    }

    fn words_for_refused(&self, question: &Question, wanted: &Wanted, decision: &Decision) -> Vec<u8> {
        match decision {
            Decision::Denied { reason: DenyReason::NotFound, .. } => {
                question.no_such_name(self.zone_of(question).as_ref())
            }
            Decision::Denied { reason, fixes } if passes(*reason) || fixes.contains(&Fix::Retry) => {
                question.failure()
            }
            // Whoever opens a flow to it is told why it is refused.
            Decision::Denied { .. } | Decision::StepUp { .. } | Decision::Pending { .. } => {
                self.words_for_denied(question, wanted)
            }
            // A yes is no refusal: something is wrong on the broker's side.
            Decision::Granted => question.failure(),
        }
    }
}

/// Whether `grant` is for flows to `wanted`, on whichever ports.
fn is_for(grant: &Grant, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Name { name, .. } => is_of(grant, name),
        Wanted::Address(address) => matches!(grant.covers, Match::Prefix(cidr) if cidr.contains(*address)),
    }
}

pub(crate) fn is_of(grant: &Grant, name: &DomainName) -> bool {
    matches!(&grant.covers, Match::Name { name: granted, .. } if granted == name)
}

pub(crate) fn is_name(wanted: &Wanted, name: &DomainName) -> bool {
    matches!(wanted, Wanted::Name { name: other, .. } if other == name)
}

/// Whether the reason may be gone at the next try.
const fn passes(reason: DenyReason) -> bool {
    matches!(reason, DenyReason::GatewayAway | DenyReason::LimitReached | DenyReason::Fault)
}

/// How long an application waits for the session, the broker, the gateway and the site together.
const PATIENCE: Duration = secs(2);
/// A question or its answer may be lost on the way.
const RESEND: Duration = millis(600);
/// Questions that wait, altogether and about one name.
const MOST_WAITING: usize = 512;
const MOST_ALIKE: usize = 64;
/// Answers of sites that are remembered.
const MOST_FOUND: usize = 256;
