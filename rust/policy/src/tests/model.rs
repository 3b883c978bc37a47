//! The table does what a plain list of rules and a plain map of flows would do, step by step.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use ztna_model::{DenyReason, Endpoint, Flow, LeaseId, Match, Protocol, Time, millis};

use super::{LIMITS, rule};
use crate::{Effect, Ended, Limits, Rule, Scope, Table, Traffic, Usage, Verdict, Via};

/// A few of everything, so that things collide, run out and come again.
const TIGHT: Limits = Limits { flows: 6, flows_per_scope: 4, rules: 5 };

struct Model {
    limits: Limits,
    now: Time,
    rules: BTreeMap<LeaseId, (Rule, Usage)>,
    // With the second of the last packet.
    flows: BTreeMap<(Scope, Flow), (LeaseId, u64)>,
}

/// A verdict by lease, since the model has no slots.
#[derive(PartialEq, Debug)]
enum Answer {
    Allow(LeaseId),
    Ask(LeaseId),
    Deny(DenyReason),
}

const NOTHING: Answer = Answer::Deny(DenyReason::NoRule);

impl Model {
    fn begin_batch(&mut self, now: Time) -> Vec<(LeaseId, Vec<Flow>, Usage)> {
        self.now = self.now.max(now);
        let second = self.second();
        self.flows.retain(|(_, flow), (_, seen)| {
            second - *seen <= if flow.protocol == Protocol::Tcp { 7_440 } else { 120 }
        });
        let due: Vec<_> =
            self.rules.iter().filter(|(_, (rule, _))| rule.deadline <= self.now).map(|(id, _)| *id).collect();
        due.into_iter().filter_map(|lease| self.end(lease)).collect()
    }

    fn end(&mut self, lease: LeaseId) -> Option<(LeaseId, Vec<Flow>, Usage)> {
        let usage = self.usage(lease)?;
        let flows = self.flows_of(lease);
        self.rules.remove(&lease);
        self.flows.retain(|_, (owner, _)| *owner != lease);
        Some((lease, flows, usage))
    }

    fn insert(&mut self, rule: Rule) -> bool {
        let known = self.rules.get(&rule.lease).map(|(known, _)| known);
        let same_terms = known.is_some_and(|known| Rule { deadline: rule.deadline, ..known.clone() } == rule);
        match known.map(|known| known.effect) {
            Some(_) if same_terms => return self.extend(rule.lease, rule.deadline),
            Some(Effect::Allow) => return false,
            Some(Effect::Ask | Effect::Deny(_)) => {}
            None if self.rules.len() >= self.limits.rules as usize => return false,
            None => {}
        }
        let none = Traffic::default();
        let usage = Usage { from_device: none, to_device: none, last_from_device: self.now, flows: 0 };
        self.rules.insert(rule.lease, (rule, usage));
        true
    }

    fn extend(&mut self, lease: LeaseId, deadline: Time) -> bool {
        self.rules.get_mut(&lease).map(|(rule, _)| rule.deadline = deadline).is_some()
    }

    fn outgoing(&mut self, scope: Scope, flow: Flow, bytes: usize) -> Answer {
        if flow.source.address.is_ipv4() != flow.destination.address.is_ipv4() {
            return Answer::Deny(DenyReason::UnreadablePacket);
        }
        if !self.flows.contains_key(&(scope, flow)) {
            let Some(rule) = self.best(scope, &flow) else { return NOTHING };
            let (lease, cap) = (rule.lease, rule.flows as usize);
            match rule.effect {
                Effect::Ask => return Answer::Ask(lease),
                Effect::Deny(reason) => return Answer::Deny(reason),
                Effect::Allow => {}
            }
            let of_scope = self.flows.keys().filter(|(owner, _)| *owner == scope).count();
            if self.flows_of(lease).len() >= cap
                || of_scope >= self.limits.flows_per_scope as usize
                || self.flows.len() >= self.limits.flows as usize
            {
                return Answer::Deny(DenyReason::TooManyFlows);
            }
            self.flows.insert((scope, flow), (lease, self.second()));
        }
        let now = self.now;
        self.pass(scope, flow, |usage| {
            usage.last_from_device = now;
            count(&mut usage.from_device, bytes);
        })
    }

    fn returning(&mut self, scope: Scope, via: Via, flow: Flow, bytes: usize) -> Answer {
        match self.returning_error(scope, via, flow) {
            Answer::Allow(_) => self.pass(scope, flow, |usage| count(&mut usage.to_device, bytes)),
            answer @ (Answer::Ask(_) | Answer::Deny(_)) => answer,
        }
    }

    fn returning_error(&self, scope: Scope, via: Via, flow: Flow) -> Answer {
        if flow.source.address.is_ipv4() != flow.destination.address.is_ipv4() {
            return Answer::Deny(DenyReason::UnreadablePacket);
        }
        match self.flows.get(&(scope, flow)).and_then(|(lease, _)| self.rules.get(lease)) {
            Some((rule, _)) if rule.via == via && rule.deadline > self.now => Answer::Allow(rule.lease),
            _ => NOTHING,
        }
    }

    fn pass(&mut self, scope: Scope, flow: Flow, note: impl FnOnce(&mut Usage)) -> Answer {
        let second = self.second();
        let Some((lease, seen)) = self.flows.get_mut(&(scope, flow)) else { return NOTHING };
        let Some((rule, usage)) = self.rules.get_mut(lease) else { return NOTHING };
        if rule.deadline <= self.now {
            return NOTHING;
        }
        *seen = second;
        note(usage);
        Answer::Allow(*lease)
    }

    fn best(&self, scope: Scope, flow: &Flow) -> Option<&Rule> {
        let covering = |rule: &&Rule| {
            let terms = &rule.terms;
            rule.scope == scope
                && rule.deadline > self.now
                && terms.protocol == flow.protocol
                && terms.ports.contains(flow.destination.port)
                && terms.covers.covers(flow.destination.address)
        };
        self.rules.values().map(|(rule, _)| rule).filter(covering).max_by_key(|rule| {
            let length = match &rule.terms.covers {
                Match::Name { .. } => 128,
                Match::Prefix(cidr) if cidr.length() == 32 && cidr.first().is_ipv4() => 128,
                Match::Prefix(cidr) => cidr.length(),
            };
            let explains = matches!(rule.effect, Effect::Deny(_));
            (!explains, length, rule.effect == Effect::Allow, Reverse(rule.lease))
        })
    }

    fn usage(&self, lease: LeaseId) -> Option<Usage> {
        let flows = self.flows_of(lease).len() as u32;
        self.rules.get(&lease).map(|(_, usage)| Usage { flows, ..*usage })
    }

    fn flows_of(&self, lease: LeaseId) -> Vec<Flow> {
        self.flows.iter().filter(|(_, (owner, _))| *owner == lease).map(|((_, flow), _)| *flow).collect()
    }

    fn second(&self) -> u64 {
        self.now.as_nanos() / 1_000_000_000
    }
}

fn count(traffic: &mut Traffic, bytes: usize) {
    traffic.packets += 1;
    traffic.bytes += bytes as u64;
}

#[derive(Clone, Debug)]
enum Step {
    Batch(u64),
    /// A batch whose time seems to lie before the last one's.
    Back(u64),
    Insert(Rule, u64),
    Extend(LeaseId, u64),
    End(LeaseId),
    EndScope(Scope),
    Outgoing(Scope, Flow, usize),
    Returning(Scope, Via, Flow, usize),
    Error(Scope, Via, Flow),
    Close(Scope, Flow),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any_flow = || (some_scope(), some_flow());
    let step = prop_oneof![
        // Milliseconds: within a second, around a deadline, around both limits of silence.
        3 => prop_oneof![0u64..2_000, 50_000u64..130_000, 7_439_000u64..7_442_000].prop_map(Step::Batch),
        1 => (0u64..130_000).prop_map(Step::Back),
        4 => (some_rule(), some_span()).prop_map(|(rule, span)| Step::Insert(rule, span)),
        2 => (some_lease(), some_span()).prop_map(|(lease, span)| Step::Extend(lease, span)),
        1 => some_lease().prop_map(Step::End),
        1 => some_scope().prop_map(Step::EndScope),
        16 => (any_flow(), 0usize..1_500).prop_map(|((scope, flow), bytes)| Step::Outgoing(scope, flow, bytes)),
        8 => (any_flow(), some_via(), 0usize..1_500).prop_map(|((scope, flow), via, bytes)| Step::Returning(scope, via, flow, bytes)),
        2 => (any_flow(), some_via()).prop_map(|((scope, flow), via)| Step::Error(scope, via, flow)),
        2 => any_flow().prop_map(|(scope, flow)| Step::Close(scope, flow)),
    ];
    prop::collection::vec(step, 0..150)
}

fn some_lease() -> impl Strategy<Value = LeaseId> {
    (0u8..7).prop_map(|lease| LeaseId([lease; 16]))
}

fn some_scope() -> impl Strategy<Value = Scope> {
    prop_oneof![3 => Just(Scope(0)), 1 => Just(Scope(1))]
}

fn some_via() -> impl Strategy<Value = Via> {
    prop_oneof![3 => Just(Via(0)), 1 => Just(Via(1))]
}

/// Milliseconds from the present to a deadline; it may have passed already.
fn some_span() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 4 => 1u64..200_000, 2 => Just(u64::MAX / 1_000_000)]
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let effects =
        prop::sample::select(vec!["allow", "allow", "allow", "ask", "deny:held", "deny:device-unfit"]);
    let protocols = prop::sample::select(vec!["tcp", "tcp", "udp", "icmp-echo"]);
    let places = prop::sample::select(vec![
        "10.0.0.0/30",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "0.0.0.0/0",
        "::/0",
        "2001:2:0:1::/127",
        "wiki.demo#1",
    ]);
    let ports = prop::sample::select(vec!["*", "1", "1-2", "1,3"]);
    (some_lease(), effects, protocols, places, ports, some_scope(), some_via(), 0u32..4).prop_map(
        |(lease, effect, protocol, place, ports, scope, via, flows)| {
            let rule = rule(lease.0[0], &format!("{effect} {protocol} {place} {ports}"));
            Rule { scope, via, flows, ..rule }
        },
    )
}

fn some_flow() -> impl Strategy<Value = Flow> {
    let protocols =
        prop::sample::select(vec![Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::IcmpEcho]);
    let places = prop::sample::select(vec![
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.2",
        "198.18.0.1",
        "2001:2:0:1::1",
        "::ffff:10.0.0.1",
    ]);
    (protocols, places, 0u16..2, 1u16..4, 0u8..20).prop_map(|(protocol, place, source, port, odd)| {
        let destination: IpAddr = place.parse().unwrap();
        let device = if destination.is_ipv4() == (odd > 0) { "198.19.0.1" } else { "2001:2::1" };
        Flow {
            protocol,
            source: Endpoint::new(device.parse().unwrap(), source),
            destination: Endpoint::new(destination, port),
        }
    })
}

/// What ended, without order.
fn told(ended: impl IntoIterator<Item = Ended>) -> Vec<(LeaseId, Vec<Flow>, Usage)> {
    let mut told: Vec<_> = ended
        .into_iter()
        .map(|mut ended| {
            ended.flows.sort();
            (ended.rule.lease, ended.flows, ended.usage)
        })
        .collect();
    told.sort_by_key(|(lease, ..)| *lease);
    told
}

/// The table's verdict by lease. Whatever it allows, a live rule of that very scope allows.
fn answer(table: &Table, now: Time, scope: Scope, flow: &Flow, verdict: Verdict) -> Answer {
    let rule = |slot| table.rule(slot).expect("a verdict names a rule that is there");
    match verdict {
        Verdict::Allow(slot) => {
            let rule = rule(slot);
            assert_eq!((rule.scope, rule.effect), (scope, Effect::Allow));
            assert!(rule.deadline > now && rule.terms.covers.covers(flow.destination.address));
            assert!(rule.terms.protocol == flow.protocol && rule.terms.ports.contains(flow.destination.port));
            Answer::Allow(rule.lease)
        }
        Verdict::Ask(slot) => Answer::Ask(rule(slot).lease),
        Verdict::Deny(reason) => Answer::Deny(reason),
    }
}

fn follow(key: [u8; 16], limits: Limits, steps: Vec<Step>) {
    let mut table = Table::new(key, limits);
    let mut model = Model { limits, now: Time::ZERO, rules: BTreeMap::new(), flows: BTreeMap::new() };
    for step in steps {
        let now = model.now;
        match step {
            Step::Batch(span) => batch(&mut table, &mut model, now + millis(span)),
            Step::Back(span) => batch(&mut table, &mut model, now - millis(span)),
            Step::Insert(rule, span) => {
                let rule = Rule { deadline: now + millis(span), ..rule };
                assert_eq!(table.insert(rule.clone()).is_ok(), model.insert(rule));
            }
            Step::Extend(lease, span) => {
                let deadline = now + millis(span);
                assert_eq!(table.extend(lease, deadline).is_some(), model.extend(lease, deadline));
            }
            Step::End(lease) => {
                let ended = told(table.end(lease, DenyReason::Revoked));
                assert_eq!(ended, model.end(lease).into_iter().collect::<Vec<_>>());
            }
            Step::EndScope(scope) => {
                let leases: Vec<_> = model
                    .rules
                    .values()
                    .filter(|(rule, _)| rule.scope == scope)
                    .map(|(rule, _)| rule.lease)
                    .collect();
                let expected: Vec<_> = leases.into_iter().filter_map(|lease| model.end(lease)).collect();
                assert_eq!(told(table.end_scope(scope, DenyReason::Revoked)), expected);
            }
            Step::Outgoing(scope, flow, bytes) => {
                let verdict = table.outgoing(scope, &flow, bytes);
                assert_eq!(answer(&table, now, scope, &flow, verdict), model.outgoing(scope, flow, bytes));
            }
            Step::Returning(scope, via, flow, bytes) => {
                let verdict = table.returning(scope, via, &flow.reversed(), bytes);
                assert_eq!(
                    answer(&table, now, scope, &flow, verdict),
                    model.returning(scope, via, flow, bytes)
                );
            }
            Step::Error(scope, via, flow) => {
                let verdict = table.returning_error(scope, via, &flow);
                assert_eq!(
                    answer(&table, now, scope, &flow, verdict),
                    model.returning_error(scope, via, flow)
                );
            }
            Step::Close(scope, flow) => {
                assert_eq!(table.close(scope, &flow), model.flows.remove(&(scope, flow)).is_some());
            }
        }
        compare(&table, &model);
    }
}

fn batch(table: &mut Table, model: &mut Model, now: Time) {
    let ended = table.begin_batch(now);
    assert!(ended.iter().all(|ended| ended.reason == DenyReason::LeaseExpired));
    assert_eq!(told(ended), model.begin_batch(now));
}

fn compare(table: &Table, model: &Model) {
    assert_eq!(table.flows() as usize, model.flows.len());
    assert!(table.flows() <= model.limits.flows);
    assert!(table.rules().map(|(_, rule)| rule).eq(model.rules.values().map(|(rule, _)| rule)));
    for (slot, rule) in table.rules() {
        assert!(slot.index() < model.limits.rules as usize);
        assert_eq!((table.rule(slot), table.slot(rule.lease)), (Some(rule), Some(slot)));
        assert_eq!(table.usage(rule.lease), model.usage(rule.lease));
    }
    let earliest = model.rules.values().map(|(rule, _)| rule.deadline).min();
    assert_eq!(table.next_deadline(), earliest.filter(|deadline| *deadline < Time::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn in_tight_room(key: [u8; 16], steps in steps()) {
        follow(key, TIGHT, steps);
    }

    #[test]
    fn with_room_to_spare(key: [u8; 16], steps in steps()) {
        follow(key, LIMITS, steps);
    }
}
