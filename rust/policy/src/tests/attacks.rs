//! Attack cases, by their ids.

use ztna_model::{DenyReason, LeaseId, Time, secs};

use super::{GATEWAY, PEER, flow, passes, rule, table, tcp, words};
use crate::{Limits, Rule, Scope, Table, Verdict, Via};

const NOTHING: Verdict = Verdict::Deny(DenyReason::NoRule);

#[test]
fn e01_a_peer_has_no_use_of_another_peers_lease() {
    let other = Scope(2);
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    assert_eq!(table.outgoing(other, &tcp(1), 1), NOTHING);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    // Nor once the same flow lives under the lease.
    assert_eq!(table.outgoing(other, &tcp(1), 1), NOTHING);
    assert_eq!(table.returning(other, GATEWAY, &tcp(1).reversed(), 1), NOTHING);
    assert_eq!(table.returning_error(other, GATEWAY, &tcp(1)), NOTHING);
    assert!(!table.close(other, &tcp(1)));
    assert!(table.end_scope(other, DenyReason::Revoked).is_empty());
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
}

#[test]
fn e01_peers_with_the_same_addresses_do_not_meet() {
    let mut table = table(&["allow tcp wiki.demo#7 443"]);
    table.insert(Rule { scope: Scope(2), ..rule(2, "allow tcp payroll.demo#7 443") }).unwrap();
    let same = flow("tcp 198.19.0.1:5 198.18.0.7:443");
    for (scope, expected) in [(PEER, "allow 1"), (Scope(2), "allow 2"), (Scope(3), "deny no-rule")] {
        let verdict = table.outgoing(scope, &same, 1);
        assert_eq!(words(&table, verdict), expected);
    }
    assert!(table.end(LeaseId([1; 16]), DenyReason::Revoked).is_some());
    assert_eq!(table.outgoing(PEER, &same, 1), NOTHING);
    assert!(matches!(table.outgoing(Scope(2), &same, 1), Verdict::Allow(_)));
}

#[test]
fn e01_no_gateway_answers_in_anothers_name() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert_eq!(table.returning(PEER, Via(2), &tcp(1).reversed(), 1), NOTHING);
    assert_eq!(table.returning_error(PEER, Via(2), &tcp(1)), NOTHING);
    assert_eq!(table.usage(LeaseId([1; 16])).unwrap().to_device.packets, 1);
}

#[test]
fn e03_no_spelling_of_an_address_in_the_other_family_is_it() {
    let mut table = table(&["allow tcp 10.0.0.1/32 443"]);
    assert_eq!(passes(&mut table, &flow("tcp 198.19.0.1:5 10.0.0.1:443")), [true; 3]);
    for text in [
        "tcp [::ffff:198.19.0.1]:5 [::ffff:10.0.0.1]:443",
        "tcp [::198.19.0.1]:5 [::10.0.0.1]:443",
        "tcp [2001:2::1]:5 [64:ff9b::10.0.0.1]:443",
        "tcp [2001:2::1]:5 [2002:a00:1::]:443",
    ] {
        assert_eq!(passes(&mut table, &flow(text)), [false; 3], "{text}");
    }
    let mixed = flow("tcp 198.19.0.1:5 [::ffff:10.0.0.1]:443");
    assert_eq!(table.outgoing(PEER, &mixed, 1), Verdict::Deny(DenyReason::UnreadablePacket));
}

#[test]
fn e04_an_error_about_a_packet_that_was_never_sent() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    assert_eq!(table.returning_error(PEER, GATEWAY, &tcp(1)), NOTHING);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    for forged in [
        "tcp 10.0.0.200:2 10.0.0.1:443",
        "tcp 10.0.0.200:1 10.0.0.1:444",
        "tcp 10.0.0.200:1 10.0.0.2:443",
        "tcp 10.0.0.201:1 10.0.0.1:443",
        "udp 10.0.0.200:1 10.0.0.1:443",
        "icmp-echo 10.0.0.200:1 10.0.0.1:443",
        "tcp 10.0.0.1:443 10.0.0.200:1",
        "tcp [::a00:c8]:1 [::a00:1]:443",
    ] {
        assert_eq!(table.returning_error(PEER, GATEWAY, &flow(forged)), NOTHING, "{forged}");
    }
    assert_eq!(table.flows(), 1);
    assert!(table.end(LeaseId([1; 16]), DenyReason::Revoked).is_some());
    assert_eq!(table.returning_error(PEER, GATEWAY, &tcp(1)), NOTHING);
}

#[test]
fn e07_every_live_flow_is_cut_at_revoke() {
    let mut table = Table::new([8; 16], Limits::GATEWAY);
    let wide = |lease, text| Rule { flows: 2_000, ..rule(lease, text) };
    table.insert(wide(1, "allow tcp 10.0.0.1/32 443")).unwrap();
    table.insert(wide(2, "allow udp 10.0.0.1/32 443")).unwrap();
    let udp = |port| flow(&format!("udp 10.0.0.200:{port} 10.0.0.1:443"));
    for port in 0..1_000 {
        assert!(matches!(table.outgoing(PEER, &tcp(port), 1), Verdict::Allow(_)));
        assert!(matches!(table.outgoing(PEER, &udp(port), 1), Verdict::Allow(_)));
    }
    let mut ended = table.end(LeaseId([1; 16]), DenyReason::Held).unwrap();
    ended.flows.sort();
    assert_eq!(ended.reason, DenyReason::Held);
    assert_eq!(ended.flows, (0..1_000).map(tcp).collect::<Vec<_>>());
    for port in 0..1_000 {
        assert_eq!(passes(&mut table, &tcp(port)), [false; 3]);
        assert_eq!(passes(&mut table, &udp(port)), [true; 3]);
    }
}

#[test]
fn e08_nothing_passes_from_the_deadline_on() {
    let deadline = Time::ZERO + secs(120);
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert!(table.begin_batch(Time::from_nanos(deadline.as_nanos() - 1)).is_empty());
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);

    let ended = table.begin_batch(deadline);
    assert_eq!((ended.len(), ended[0].reason, &ended[0].flows), (1, DenyReason::LeaseExpired, &vec![tcp(1)]));
    assert_eq!(passes(&mut table, &tcp(1)), [false; 3]);
    // Too late to extend it.
    assert_eq!(table.extend(LeaseId([1; 16]), Time::MAX), None);
    assert_eq!(table.next_deadline(), None);
    // And no clock that seems to run back makes a late lease a good one.
    assert!(table.begin_batch(Time::ZERO).is_empty());
    table.insert(rule(1, "allow tcp 10.0.0.0/8 443")).unwrap();
    assert_eq!(passes(&mut table, &tcp(1)), [false; 3]);
}

#[test]
fn e08_a_lease_that_comes_too_late_opens_nothing() {
    let deadline = Time::ZERO + secs(120);
    let mut table = table(&[]);
    let _ = table.begin_batch(deadline);
    table.insert(rule(1, "allow tcp 10.0.0.0/8 443")).unwrap();
    assert_eq!(passes(&mut table, &tcp(1)), [false; 3]);
    assert_eq!(table.begin_batch(deadline).len(), 1);
}

#[test]
fn e09_a_client_without_a_table_meets_the_gateways() {
    // Its own table would have said no; it sends all the same. The gateway knows leases alone.
    let mut client = table(&["deny:held tcp payroll.demo#2 443"]);
    let packet = flow("tcp 198.19.0.1:5 198.18.0.2:443");
    assert_eq!(client.outgoing(PEER, &packet, 1), Verdict::Deny(DenyReason::Held));
    let mut gateway = table(&["allow tcp wiki.demo#1 443"]);
    for port in [443, 80] {
        for host in 0..=255 {
            for protocol in ["tcp", "udp", "icmp-echo"] {
                let probe = flow(&format!("{protocol} 198.19.0.1:5 198.18.0.{host}:{port}"));
                let expected = (protocol, host, port) == ("tcp", 1, 443);
                assert_eq!(passes(&mut gateway, &probe), [expected; 3], "{probe:?}");
            }
        }
    }
}
