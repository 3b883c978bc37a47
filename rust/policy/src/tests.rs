//! The table from outside: what it answers, what it withstands, and that it is the same as a plain list.

mod attacks;
mod model;
mod usage;
mod verdicts;

use ztna_model::{DenyReason, Endpoint, Flow, LeaseId, Match, Protocol, Synthetic, Time, secs};

use crate::{Effect, Limits, Rule, Scope, Table, Verdict, Via};

const PEER: Scope = Scope(1);
const GATEWAY: Via = Via(1);
const LIMITS: Limits = Limits { flows: 64, flows_per_scope: 16, rules: 16 };

/// A table at time zero with these rules, the first under lease 1.
fn table(rules: &[&str]) -> Table {
    let mut table = Table::new([3; 16], LIMITS);
    for (number, text) in (1..).zip(rules) {
        table.insert(rule(number, text)).unwrap();
    }
    table
}

/// Reads `allow tcp 10.0.0.0/8 443`, `ask udp wiki.demo#7 53`, `deny:held icmp-echo ::/0 *`; of [`PEER`], through
/// [`GATEWAY`], for two minutes and four flows.
fn rule(lease: u8, text: &str) -> Rule {
    let [effect, protocol, destination, ports] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    let covers = match destination.split_once('#') {
        Some((name, index)) => {
            let synthetic = Synthetic::from_index(index.parse().unwrap());
            Match::Name { name: name.parse().unwrap(), synthetic }
        }
        None => Match::Prefix(destination.parse().unwrap()),
    };
    let terms = ztna_model::Rule {
        resource: "resource".parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        ports: ports.parse().unwrap(),
        covers,
    };
    let effect = match effect.split_once(':') {
        None if effect == "allow" => Effect::Allow,
        None if effect == "ask" => Effect::Ask,
        Some(("deny", code)) => Effect::Deny(reason(code)),
        _ => panic!("{text}"),
    };
    let deadline = Time::ZERO + secs(120);
    Rule { lease: LeaseId([lease; 16]), scope: PEER, via: GATEWAY, terms, deadline, flows: 4, effect }
}

/// Reads `tcp 198.19.0.1:5000 10.0.0.1:443`.
fn flow(text: &str) -> Flow {
    let [protocol, source, destination] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap().into();
    Flow { protocol: protocol.parse().unwrap(), source: end(source), destination: end(destination) }
}

/// The TCP flow from port `port` to `10.0.0.1:443`.
fn tcp(port: u16) -> Flow {
    let end = |last, port| Endpoint::new(std::net::Ipv4Addr::new(10, 0, 0, last).into(), port);
    Flow { protocol: Protocol::Tcp, source: end(200, port), destination: end(1, 443) }
}

fn reason(code: &str) -> DenyReason {
    *DenyReason::ALL.iter().find(|reason| reason.code() == code).unwrap()
}

/// A verdict in words: `allow 1`, `ask 2`, `deny no-rule`.
fn words(table: &Table, verdict: Verdict) -> String {
    let lease = |slot| table.rule(slot).unwrap().lease.0[0];
    match verdict {
        Verdict::Allow(slot) => format!("allow {}", lease(slot)),
        Verdict::Ask(slot) => format!("ask {}", lease(slot)),
        Verdict::Deny(reason) => format!("deny {}", reason.code()),
    }
}

/// Whether packets of `flow` pass: from the device, back to it, and as an error about it. The first may open it.
fn passes(table: &mut Table, flow: &Flow) -> [bool; 3] {
    [
        table.outgoing(PEER, flow, 1),
        table.returning(PEER, GATEWAY, &flow.reversed(), 1),
        table.returning_error(PEER, GATEWAY, flow),
    ]
    .map(|verdict| matches!(verdict, Verdict::Allow(_)))
}
