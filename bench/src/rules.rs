//! Ten thousand rules, flows that they cover or not, and the plainest way to find out.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use ztna_model::{Cidr, Endpoint, Flow, Inner, LeaseId, Match, Protocol, Random as _, Rule as Terms, Time};
use ztna_policy::{Effect, Limits, Rule, Scope, Table, Via};

use crate::measure::Outcome;
use crate::seed::Seed;

/// How many rules a table holds.
pub(crate) const RULES: usize = 10_000;

/// Room for the rules and for as many flows as a gateway has, all of one scope.
pub(crate) const LIMITS: Limits = Limits { flows: 65_536, flows_per_scope: 65_536, rules: 16_384 };

/// Rules of destination prefix, protocol and port range: prefixes of all sizes inside 10/8, a quarter of them UDP.
pub(crate) fn rules(seed: &mut Seed, scope: Scope, via: Via) -> Outcome<Vec<Rule>> {
    (0..RULES).map(|number| rule(seed, scope, via, number)).collect()
}

/// A table that holds `rules`.
pub(crate) fn table(rules: &[Rule]) -> Outcome<Table> {
    let mut table = Table::new([0x5a; 16], LIMITS);
    for rule in rules {
        table.insert(rule.clone())?;
    }
    Ok(table)
}

/// Flows that a rule covers, as the device's packets show them.
pub(crate) fn covered(seed: &mut Seed, rules: &[Rule], number: usize) -> Outcome<Vec<Flow>> {
    let mut flow = || {
        let rule = seed.pick(rules).ok_or("no rules")?;
        inside(seed, rule)
    };
    (0..number).map(|_| flow()).collect()
}

/// Flows that no rule covers.
pub(crate) fn strange(seed: &mut Seed, number: usize) -> Vec<Flow> {
    let strangers = (0..number).map(|_| {
        let address = Ipv4Addr::from_bits(0x0b00_0000 | seed.next() as u32 & 0xff_ffff);
        flow(seed, Protocol::Tcp, Endpoint::new(address.into(), 443))
    });
    strangers.collect()
}

/// A flow from the device to `destination`.
pub(crate) fn flow(seed: &mut Seed, protocol: Protocol, destination: Endpoint) -> Flow {
    let source = Endpoint::new(Inner::DEVICE.v4.into(), 1_024 + seed.below(60_000) as u16);
    Flow { protocol, source, destination }
}

/// The rules as a plain list, the best first, looked through from one end to the other.
pub(crate) struct Scan(Vec<Line>);

struct Line {
    first: u32,
    mask: u32,
    ports: (u16, u16),
    protocol: Protocol,
    length: u8,
    lease: LeaseId,
}

impl Scan {
    /// The same rules: longer prefixes before shorter ones, and of equals the lowest lease first.
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut lines: Vec<Line> = rules.iter().filter_map(Line::of).collect();
        lines.sort_by_key(|line| (Reverse(line.length), line.lease));
        Self(lines)
    }

    /// The rule for a flow.
    pub(crate) fn find(&self, flow: &Flow) -> Option<LeaseId> {
        let IpAddr::V4(to) = flow.destination.address else { return None };
        let covers = |line: &&Line| {
            line.first == to.to_bits() & line.mask
                && line.protocol == flow.protocol
                && (line.ports.0..=line.ports.1).contains(&flow.destination.port)
        };
        self.0.iter().find(covers).map(|line| line.lease)
    }
}

impl Line {
    fn of(rule: &Rule) -> Option<Self> {
        let Match::Prefix(prefix) = &rule.terms.covers else { return None };
        let IpAddr::V4(first) = prefix.first() else { return None };
        let range = rule.terms.ports.ranges().first()?;
        Some(Self {
            first: first.to_bits(),
            mask: mask(prefix.length()),
            ports: (range.first(), range.last()),
            protocol: rule.terms.protocol,
            length: prefix.length(),
            lease: rule.lease,
        })
    }
}

fn rule(seed: &mut Seed, scope: Scope, via: Via, number: usize) -> Outcome<Rule> {
    let length = *seed.pick(&LENGTHS).ok_or("no lengths")?;
    let address = 10 << 24 | seed.next() as u32 & 0xff_ffff & mask(length);
    let prefix = Cidr::new(Ipv4Addr::from_bits(address).into(), length).ok_or("not a prefix")?;
    let protocol = if seed.below(4) == 0 { Protocol::Udp } else { Protocol::Tcp };
    let first = 1 + seed.below(64_000) as u16;
    let terms = Terms {
        resource: format!("r{number}").parse()?,
        protocol,
        ports: format!("{first}-{}", first + seed.below(1_000) as u16).parse()?,
        covers: Match::Prefix(prefix),
    };
    let lease = LeaseId(seed.array());
    Ok(Rule { lease, scope, via, terms, deadline: Time::MAX, flows: 65_536, effect: Effect::Allow })
}

fn inside(seed: &mut Seed, rule: &Rule) -> Outcome<Flow> {
    let line = Line::of(rule).ok_or("not a rule of this kind")?;
    let address = Ipv4Addr::from_bits(line.first | seed.next() as u32 & !line.mask);
    let (first, last) = line.ports;
    let port = first + seed.below(u64::from(last - first) + 1) as u16;
    Ok(flow(seed, line.protocol, Endpoint::new(address.into(), port)))
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

const LENGTHS: [u8; 8] = [32, 32, 32, 28, 24, 24, 20, 16];
