use ztna_model::{DenyReason, LeaseId, Time, secs};

use super::{GATEWAY, PEER, rule, table, tcp};
use crate::{Rule, Scope, Traffic, Usage, Verdict};

const LEASE: LeaseId = LeaseId([1; 16]);

#[test]
fn what_passed_is_counted_for_each_lease() {
    let mut table = table(&["allow tcp 10.0.0.1/32 443", "allow tcp 10.0.0.2/32 443"]);
    let at = |seconds| Time::ZERO + secs(seconds);
    let _ = table.begin_batch(at(5));
    let _ = table.outgoing(PEER, &tcp(1), 100);
    let _ = table.outgoing(PEER, &tcp(1), 50);
    let _ = table.begin_batch(at(9));
    let _ = table.outgoing(PEER, &tcp(2), 1);
    let _ = table.begin_batch(at(11));
    let _ = table.returning(PEER, GATEWAY, &tcp(2).reversed(), 1_000);
    // What does not pass does not count.
    let _ = table.returning(PEER, GATEWAY, &tcp(3).reversed(), 7);
    let _ = table.returning_error(PEER, GATEWAY, &tcp(2));
    let expected = Usage {
        from_device: Traffic { packets: 3, bytes: 151 },
        to_device: Traffic { packets: 1, bytes: 1_000 },
        last_from_device: at(9),
        flows: 2,
    };
    assert_eq!(table.usage(LEASE), Some(expected));
    assert_eq!(table.usage(LeaseId([9; 16])), None);
    assert_eq!(table.usage(LeaseId([2; 16])).unwrap().last_from_device, at(0));

    assert!(table.close(PEER, &tcp(1)));
    let ended = table.end(LEASE, DenyReason::Revoked).unwrap();
    assert_eq!(ended.usage, Usage { flows: 1, ..expected });
    assert_eq!(ended.flows, [tcp(2)]);
}

#[test]
fn asking_under_which_rule_a_flow_lives_counts_for_nothing() {
    let mut table = table(&["allow tcp 10.0.0.1/32 443"]);
    assert_eq!(table.under(PEER, &tcp(1)), None);
    let _ = table.outgoing(PEER, &tcp(1), 100);
    let before = table.usage(LEASE);
    assert_eq!(table.under(PEER, &tcp(1)), table.slot(LEASE));
    assert_eq!(table.under(Scope(2), &tcp(1)), None);
    assert_eq!(table.usage(LEASE), before);
    assert!(table.close(PEER, &tcp(1)));
    assert_eq!(table.under(PEER, &tcp(1)), None);
}

#[test]
fn a_new_rule_counts_as_activity() {
    let mut table = table(&[]);
    let now = Time::ZERO + secs(77);
    let _ = table.begin_batch(now);
    let deadline = now + secs(120);
    table.insert(Rule { deadline, ..rule(1, "allow tcp 10.0.0.1/32 443") }).unwrap();
    assert_eq!(table.usage(LEASE).unwrap().last_from_device, now);
}

#[test]
fn a_scope_ends_as_a_whole_and_alone() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443", "ask udp 10.0.0.0/8 *"]);
    table.insert(Rule { scope: Scope(2), ..rule(3, "allow tcp 10.0.0.0/8 443") }).unwrap();
    for scope in [PEER, Scope(2)] {
        let _ = table.outgoing(scope, &tcp(1), 1);
    }
    let ended = table.end_scope(PEER, DenyReason::SessionEnded);
    let told: Vec<_> = ended.iter().map(|ended| (ended.rule.lease.0[0], ended.flows.clone())).collect();
    assert_eq!(told, [(1, vec![tcp(1)]), (2, vec![])]);
    assert_eq!(table.flows(), 1);
    assert!(table.end_scope(PEER, DenyReason::SessionEnded).is_empty());
    assert_eq!(table.rules().count(), 1);
}

#[test]
fn what_ends_makes_room_in_its_scope() {
    let mut table = table(&["allow tcp 10.0.0.1/32 443", "allow tcp 10.0.0.0/8 443"]);
    for round in 0..10 {
        let lease = LeaseId([100 + round; 16]);
        table.insert(Rule { lease, flows: 16, ..rule(1, "allow tcp 10.0.0.1/32 400-500") }).unwrap();
        assert!(table.end(LEASE, DenyReason::Revoked).is_some() || round > 0);
        let opened = (0..20).filter(|port| matches!(table.outgoing(PEER, &tcp(*port), 1), Verdict::Allow(_)));
        assert_eq!(opened.count(), 16);
        assert_eq!(table.end(lease, DenyReason::Revoked).unwrap().flows.len(), 16);
    }
}
