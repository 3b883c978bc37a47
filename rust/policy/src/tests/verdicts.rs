use ztna_model::{DenyReason, LeaseId, Time, minutes, secs};

use super::{GATEWAY, LIMITS, PEER, flow, passes, rule, table, tcp, words};
use crate::{InsertError, Limits, Rule, Scope, Table, Verdict};

fn check(rules: &[&str], packet: &str, expected: &str) {
    let mut table = table(rules);
    let verdict = table.outgoing(PEER, &flow(packet), 100);
    assert_eq!(words(&table, verdict), expected, "{packet} under {rules:?}");
}

#[test]
fn nothing_passes_without_a_rule() {
    check(&[], "tcp 198.19.0.1:5 10.0.0.1:443", "deny no-rule");
    check(&[], "udp [2001:2::1]:5 [2001:2:0:1::7]:53", "deny no-rule");
    check(&[], "tcp 198.19.0.1:5 [2001:2:0:1::7]:53", "deny unreadable-packet");
}

#[test]
fn a_rule_covers_its_addresses_protocol_and_ports() {
    let web = "allow tcp 10.1.0.0/16 80,443,8000-8010";
    check(&[web], "tcp 198.19.0.1:5 10.1.2.3:443", "allow 1");
    check(&[web], "tcp 198.19.0.1:5 10.1.255.255:8010", "allow 1");
    check(&[web], "tcp 198.19.0.1:5 10.1.2.3:8011", "deny no-rule");
    check(&[web], "tcp 198.19.0.1:443 10.1.2.3:5", "deny no-rule");
    check(&[web], "udp 198.19.0.1:5 10.1.2.3:443", "deny no-rule");
    check(&[web], "tcp 198.19.0.1:5 10.2.0.0:443", "deny no-rule");
    check(&[web], "tcp 10.1.2.3:443 198.19.0.1:443", "deny no-rule");
    check(&["allow tcp 0.0.0.0/0 *"], "tcp 198.19.0.1:5 255.255.255.255:0", "allow 1");
    check(&["allow tcp 0.0.0.0/0 *"], "tcp [2001:2::1]:5 [::]:443", "deny no-rule");
    check(&["allow tcp ::/0 *"], "tcp [2001:2::1]:5 [ffff::1]:443", "allow 1");
    check(&["allow tcp 2001:db8::/33 *"], "tcp [2001:2::1]:5 [2001:db8:7fff::1]:443", "allow 1");
    check(&["allow tcp 2001:db8::/33 *"], "tcp [2001:2::1]:5 [2001:db8:8000::1]:443", "deny no-rule");
    check(&["allow icmp-echo 10.1.0.0/16 *"], "icmp-echo 198.19.0.1:77 10.1.2.3:0", "allow 1");
    check(&["allow icmp-echo 10.1.0.0/16 *"], "tcp 198.19.0.1:77 10.1.2.3:0", "deny no-rule");
}

#[test]
fn a_name_is_reached_at_both_its_addresses() {
    let wiki = "allow tcp wiki.demo#7 443";
    check(&[wiki], "tcp 198.19.0.1:5 198.18.0.7:443", "allow 1");
    check(&[wiki], "tcp [2001:2::1]:5 [2001:2:0:1::7]:443", "allow 1");
    check(&[wiki], "tcp 198.19.0.1:5 198.18.0.8:443", "deny no-rule");
    check(&[wiki], "tcp [2001:2::1]:5 [2001:2:0:1::8]:443", "deny no-rule");
}

#[test]
fn the_best_of_several_rules() {
    let to = "tcp 198.19.0.1:5 10.1.2.3:443";
    // The longest prefix, whatever came first.
    check(&["allow tcp 10.0.0.0/8 *", "allow tcp 10.1.2.3/32 *", "allow tcp 10.1.0.0/16 *"], to, "allow 2");
    check(&["allow tcp 10.0.0.0/8 *", "ask tcp 10.1.0.0/16 *"], to, "ask 2");
    check(&["ask tcp 10.0.0.0/8 *", "allow tcp 10.1.0.0/16 *"], to, "allow 2");
    // But only among those that cover protocol and port.
    check(&["allow tcp 10.0.0.0/8 *", "allow tcp 10.1.0.0/16 80", "allow udp 10.1.2.3/32 *"], to, "allow 1");
    // At one prefix, what is granted already.
    check(&["ask tcp 10.0.0.0/8 443", "allow tcp 10.0.0.0/8 *"], to, "allow 2");
    // Among equals, the lowest lease id.
    check(&["allow tcp 10.0.0.0/8 *", "allow tcp 10.0.0.0/8 443"], to, "allow 1");
    // A denial only explains.
    check(&["deny:held tcp 10.1.2.3/32 443"], to, "deny held");
    check(&["deny:held tcp 10.1.2.3/32 443", "allow tcp 10.0.0.0/8 *"], to, "allow 2");
    check(&["deny:held tcp 10.1.2.3/32 443", "ask tcp 10.0.0.0/8 *"], to, "ask 2");
    check(&["deny:held tcp 10.0.0.0/8 *", "deny:device-unfit tcp 10.1.0.0/16 *"], to, "deny device-unfit");
}

#[test]
fn the_order_of_coming_does_not_matter() {
    let mut rules: Vec<Rule> =
        ["allow tcp 10.0.0.0/8 *", "allow tcp 10.0.0.0/8 443", "ask tcp 10.0.0.1/32 80"]
            .iter()
            .zip(1..)
            .map(|(text, lease)| rule(lease, text))
            .collect();
    for _ in 0..rules.len() {
        rules.rotate_left(1);
        let mut table = Table::new([0; 16], LIMITS);
        for rule in &rules {
            table.insert(rule.clone()).unwrap();
        }
        let verdict = table.outgoing(PEER, &tcp(1), 1);
        assert_eq!(words(&table, verdict), "allow 1");
    }
}

#[test]
fn only_a_device_opens_a_flow() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    let back = tcp(1).reversed();
    assert_eq!(table.returning(PEER, GATEWAY, &back, 1), Verdict::Deny(DenyReason::NoRule));
    assert_eq!(table.flows(), 0);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert_eq!(table.flows(), 1);
    // A live flow passes one way and its answers the other; what looks like the flow turned round does not.
    assert_eq!(table.returning(PEER, GATEWAY, &tcp(1), 1), Verdict::Deny(DenyReason::NoRule));
    assert_eq!(table.outgoing(PEER, &back, 1), Verdict::Deny(DenyReason::NoRule));
}

#[test]
fn a_closed_flow_has_no_answers() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert!(!table.close(Scope(2), &tcp(1)));
    assert!(table.close(PEER, &tcp(1)));
    assert!(!table.close(PEER, &tcp(1)));
    let answer = table.returning(PEER, GATEWAY, &tcp(1).reversed(), 1);
    assert_eq!(answer, Verdict::Deny(DenyReason::NoRule));
    assert_eq!(table.flows(), 0);
}

#[test]
fn a_live_flow_keeps_its_rule() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    let first = table.outgoing(PEER, &tcp(1), 1);
    let better = table.insert(rule(2, "allow tcp 10.0.0.1/32 443")).unwrap();
    assert_eq!(table.outgoing(PEER, &tcp(1), 1), first);
    assert_eq!(table.outgoing(PEER, &tcp(2), 1), Verdict::Allow(better));
}

#[test]
fn too_many_flows() {
    let too_many = Verdict::Deny(DenyReason::TooManyFlows);
    let limits = Limits { flows: 4, flows_per_scope: 2, rules: 4 };
    let mut table = Table::new([0; 16], limits);
    let wide = "allow tcp 10.0.0.0/8 443";
    for (lease, scope, flows) in [(1, PEER, 1), (2, Scope(2), 9), (3, Scope(3), 9)] {
        table.insert(Rule { scope, flows, ..rule(lease, wide) }).unwrap();
    }
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert_eq!(table.outgoing(PEER, &tcp(2), 1), too_many); // of one rule
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert!(matches!(table.outgoing(Scope(2), &tcp(1), 1), Verdict::Allow(_)));
    assert!(matches!(table.outgoing(Scope(2), &tcp(2), 1), Verdict::Allow(_)));
    assert_eq!(table.outgoing(Scope(2), &tcp(3), 1), too_many); // of one scope
    assert!(matches!(table.outgoing(Scope(3), &tcp(1), 1), Verdict::Allow(_)));
    assert_eq!(table.outgoing(Scope(3), &tcp(2), 1), too_many); // of the table
    assert_eq!(table.flows(), 4);
    assert!(table.close(Scope(2), &tcp(1)));
    assert!(matches!(table.outgoing(Scope(3), &tcp(2), 1), Verdict::Allow(_)));
}

#[test]
fn a_silent_flow_is_forgotten() {
    for (protocol, limit) in [("tcp", minutes(124)), ("udp", minutes(2)), ("icmp-echo", minutes(2))] {
        let quiet = flow(&format!("{protocol} 198.19.0.1:5 10.0.0.1:0"));
        let mut table = Table::new([0; 16], LIMITS);
        let rule = Rule { deadline: Time::MAX, ..rule(1, &format!("allow {protocol} 10.0.0.0/8 *")) };
        table.insert(rule).unwrap();
        assert_eq!(passes(&mut table, &quiet), [true; 3]);
        let mut now = Time::ZERO;
        for _ in 0..3 {
            now += limit;
            assert!(table.begin_batch(now).is_empty());
            // Answers keep a flow alive.
            assert!(matches!(table.returning(PEER, GATEWAY, &quiet.reversed(), 1), Verdict::Allow(_)));
        }
        // Errors do not.
        assert!(table.begin_batch(now + limit).is_empty());
        assert!(matches!(table.returning_error(PEER, GATEWAY, &quiet), Verdict::Allow(_)));
        assert_eq!(table.flows(), 1);
        assert!(table.begin_batch(now + limit + secs(1)).is_empty());
        assert_eq!(table.flows(), 0);
        assert_eq!(table.returning(PEER, GATEWAY, &quiet.reversed(), 1), Verdict::Deny(DenyReason::NoRule));
        assert_eq!(passes(&mut table, &quiet), [true; 3]);
    }
}

#[test]
fn a_flow_that_has_begun_to_end_makes_room_after_a_short_silence() {
    let (ending, again) = (flow("tcp 198.19.0.1:5 10.0.0.1:80"), flow("tcp 198.19.0.1:6 10.0.0.1:80"));
    let mut table = Table::new([0; 16], LIMITS);
    table.insert(Rule { deadline: Time::MAX, ..rule(1, "allow tcp 10.0.0.0/8 *") }).unwrap();
    for flow in [&ending, &again] {
        assert_eq!(passes(&mut table, flow), [true; 3]);
        table.set_ending(PEER, flow, true);
        table.set_ending(PEER, flow, true);
    }
    // The same ends begin a new one.
    table.set_ending(PEER, &again, false);
    assert_eq!(table.flows(), 2);
    // What still passes, an answer to a half-closed connection, keeps it.
    assert!(table.begin_batch(Time::ZERO + secs(119)).is_empty());
    assert_eq!(passes(&mut table, &ending), [true; 3]);
    assert!(table.begin_batch(Time::ZERO + secs(239)).is_empty());
    assert_eq!(table.flows(), 2);
    assert!(table.begin_batch(Time::ZERO + secs(241)).is_empty());
    assert_eq!(table.flows(), 1);
    assert_eq!(table.returning(PEER, GATEWAY, &ending.reversed(), 1), Verdict::Deny(DenyReason::NoRule));
    assert!(matches!(table.returning(PEER, GATEWAY, &again.reversed(), 1), Verdict::Allow(_)));
    // It is nobody's flow any more, so there is nothing to note.
    table.set_ending(PEER, &ending, true);
    assert_eq!(table.flows(), 1);
}

#[test]
fn the_same_lease_again_moves_its_deadline() {
    let first = rule(1, "allow tcp 10.0.0.0/8 443");
    let later = Rule { deadline: Time::ZERO + secs(240), ..first.clone() };
    let at_once = Rule { deadline: Time::ZERO + secs(120), ..first.clone() };
    let mut table = Table::new([0; 16], LIMITS);
    let slot = table.insert(first).unwrap();
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);

    assert_eq!(table.insert(later), Ok(slot));
    assert!(table.begin_batch(Time::ZERO + secs(120)).is_empty());
    assert_eq!(passes(&mut table, &tcp(1)), [true; 3]);
    assert_eq!(table.extend(LeaseId([1; 16]), Time::ZERO + secs(300)), Some(slot));
    assert_eq!(table.next_deadline(), Some(Time::ZERO + secs(300)));
    assert_eq!(table.extend(LeaseId([2; 16]), Time::MAX), None);

    // One that has come already lets nothing more pass, even before the next batch.
    assert_eq!(table.insert(at_once), Ok(slot));
    assert_eq!(passes(&mut table, &tcp(1)), [false; 3]);
    assert_eq!(passes(&mut table, &tcp(2)), [false; 3]);
    let ended = table.begin_batch(Time::ZERO + secs(120));
    assert_eq!((ended[0].reason, &ended[0].flows[..]), (DenyReason::LeaseExpired, &[tcp(1)][..]));
}

#[test]
fn a_lease_never_changes_its_terms() {
    let rules = ["allow tcp 10.0.0.0/8 443", "ask tcp 10.0.0.0/8 443"];
    let mut table = table(&rules);
    let refused = Err(InsertError::OtherTerms(LeaseId([1; 16])));
    for other in [
        rule(1, "allow tcp 10.0.0.0/8 444"),
        rule(1, "allow tcp 10.0.0.0/9 443"),
        rule(1, rules[1]),
        Rule { scope: Scope(2), ..rule(1, rules[0]) },
        Rule { via: crate::Via(2), ..rule(1, rules[0]) },
        Rule { flows: 5, ..rule(1, rules[0]) },
    ] {
        assert_eq!(table.insert(other), refused);
    }
    // What only asks or explains may turn into anything.
    for text in ["deny:held tcp 10.0.0.0/8 443", "ask udp 10.0.0.0/8 *", "allow udp 10.0.0.0/8 *"] {
        assert!(table.insert(rule(2, text)).is_ok());
    }
    let verdict = table.outgoing(PEER, &flow("udp 198.19.0.1:5 10.0.0.1:9"), 1);
    assert_eq!(words(&table, verdict), "allow 2");
}

#[test]
fn a_table_takes_so_many_rules_and_no_more() {
    let mut table = Table::new([0; 16], LIMITS);
    for lease in 0..LIMITS.rules as u8 {
        let slot = table.insert(rule(lease, "allow tcp wiki.demo#1 *")).unwrap();
        assert!(slot.index() < LIMITS.rules as usize);
    }
    assert_eq!(
        table.insert(rule(99, "allow tcp wiki.demo#1 *")),
        Err(InsertError::TooManyRules(LIMITS.rules))
    );
    assert!(table.end(LeaseId([5; 16]), DenyReason::Revoked).is_some());
    assert!(table.insert(rule(99, "allow tcp wiki.demo#1 *")).is_ok());
}

#[test]
fn a_slot_dies_with_its_rule() {
    let mut table = table(&["allow tcp 10.0.0.0/8 443"]);
    let old = table.slot(LeaseId([1; 16])).unwrap();
    let ended = table.end(LeaseId([1; 16]), DenyReason::Revoked).unwrap();
    assert_eq!(ended.slot, old);
    let new = table.insert(rule(2, "allow tcp 10.0.0.0/8 443")).unwrap();
    assert_eq!(new.index(), old.index());
    assert!(new != old && table.rule(old).is_none());
    assert_eq!(table.rule(new).map(|rule| rule.lease), Some(LeaseId([2; 16])));
    assert_eq!(table.rules().count(), 1);
}
