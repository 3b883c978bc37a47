use ztna_api::admin::Op;
use ztna_api::device::{self, ToDevice, Wanted};
use ztna_api::gateway::ToGateway;
use ztna_model::{Decision, DenyReason, FactKind, Fix, Match, Port, Protocol, Synthetic, secs};

use crate::testing::{Bench, Store, carrier, person, resource};

#[test]
fn p5_9_a_grant_comes_after_the_gateway_has_the_lease_and_names_it() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let request = bench.number();
    let synthetic = Synthetic::from_index(5);
    bench.ask_as(&device, request, "wiki.demo", synthetic);
    assert_eq!(bench.answer(device.stream, request), None, "not before the gateway holds it");
    let frames = bench.gate_answers(&mut gate);
    let ToGateway::Lease(offered) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(offered.carriers, [carrier()]);
    let Some(ToDevice::Granted(granted)) = bench.answer(device.stream, request) else {
        panic!("not granted")
    };
    let grant = granted.grant;
    assert_eq!((grant.gateway.as_str(), grant.gateway_key.0), ("gw-1", [5; 32]));
    assert!(!grant.statement.is_empty());
    assert_eq!(grant.carriers, [carrier()]);
    assert_eq!(grant.covers, Match::Name { name: "wiki.demo".parse().unwrap(), synthetic });
    let lease = &gate.leases[&grant.lease];
    let session = bench.session(&device.tokens.sid);
    assert_eq!((lease.sid, lease.jkt, lease.device), (session.sid, session.jkt, session.device));
    assert_eq!(lease.person, bench.stored.people[&person("ana")].pseudonym);
    assert_eq!(lease.target.to_string(), "wiki.demo");
    assert_eq!((lease.ttl, lease.limits.silence), (120_000, 600_000));
    let ztna_model::Holder::Tunnel { wg_pub, statement } = &lease.holder;
    assert_eq!(Some(wg_pub), session.tunnel.as_ref().map(|tunnel| &tunnel.wg_pub));
    let stated = ztna_api::statement::verify(statement, &session.jkt, &crate::testing::org(), session.sid);
    assert!(stated.is_ok());
}

#[test]
fn p4_3_hidden_and_absent_are_the_same_bytes_and_the_same_row() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    bench.audit.clear();
    let mut answers = Vec::new();
    for name in ["ledger.demo", "qzx7.demo"] {
        bench.ask_as(&device, 7, name, Synthetic::from_index(9));
        answers.push(bench.answer(device.stream, 7).unwrap().write());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        answers[0],
        r#"{"type":"refused","request":7,"decision":{"answer":"denied","reason":"not-found"}}"#
    );
    let rows: Vec<serde_json::Value> = bench
        .audit
        .iter()
        .map(|entry| {
            let mut row = serde_json::to_value(&entry.record).unwrap();
            assert!(row["wanted"].is_string() && row["decision"].is_string());
            (row["wanted"], row["decision"]) = ("".into(), "".into());
            row
        })
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], rows[1]);
    // By number, too.
    let by_address = |bench: &mut Bench, address: &str| {
        let wanted = Wanted::Address(address.parse().unwrap());
        let ask = device::Ask {
            request: 8,
            wanted,
            protocol: Protocol::Tcp,
            port: Port::new(80).unwrap(),
            carriers: vec![],
            avoid: None,
        };
        bench.say(device.stream, ask);
        bench.answer(device.stream, 8).unwrap().write()
    };
    bench.admin(Op::ResourcePut { resource: resource("plc", "10.1.0.0/16") }).unwrap();
    let (hidden, absent) = (by_address(&mut bench, "10.1.2.3"), by_address(&mut bench, "10.9.9.9"));
    // `see` covers the whole site but the ledger, so the machine is visible: refused with its reason.
    assert!(hidden.contains("not-entitled") && absent.contains("not-found"), "{hidden} {absent}");
}

#[test]
fn p4_3_what_is_visible_is_refused_with_reason_and_fix() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    let fixes = vec![Fix::Device { fact: FactKind::DiskEncrypted }];
    let expected = Decision::Denied { reason: DenyReason::DeviceUnfit, fixes };
    assert_eq!(bench.refused(&device, "payroll.demo"), expected);
}

#[test]
fn p4_3_another_port_or_protocol_is_absent() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let ask = |protocol, port| device::Ask {
        request: 3,
        wanted: Wanted::Name { name: "wiki.demo".parse().unwrap(), synthetic: Synthetic::from_index(1) },
        protocol,
        port: Port::new(port).unwrap(),
        carriers: vec![],
        avoid: None,
    };
    for ask in [ask(Protocol::Tcp, 22), ask(Protocol::Udp, 80)] {
        bench.say(device.stream, ask);
        let answer = bench.answer(device.stream, 3).unwrap().write();
        assert!(answer.contains("not-found"), "{answer}");
    }
}

#[test]
fn p6_2_a_wildcard_takes_one_lease_for_each_name_label_by_label() {
    let (mut bench, mut gate) = Bench::new();
    bench.admin(Op::ResourcePut { resource: resource("apps", "*.apps.demo") }).unwrap();
    bench.policy("apps", r#"permit(principal, action, resource == Resource::"apps");"#);
    let device = bench.ready("ana");
    let one = bench.granted(&device, &mut gate, "a.apps.demo");
    let two = bench.granted(&device, &mut gate, "b.apps.demo");
    assert_ne!(one.lease, two.lease);
    assert_eq!(gate.leases[&one.lease].target.to_string(), "a.apps.demo");
    for name in ["apps.demo", "x.a.apps.demo", "aapps.demo"] {
        assert_eq!(bench.refused(&device, name), Decision::denied(DenyReason::NotFound), "{name}");
    }
    // A second name on the stand-ins of the first.
    let Match::Name { synthetic, .. } = one.covers else { panic!("no name") };
    let request = bench.number();
    bench.ask_as(&device, request, "c.apps.demo", synthetic);
    assert!(bench.answer(device.stream, request).unwrap().write().contains("fault"));
    // Stand-ins that are none.
    let unsound = Synthetic { v4: Synthetic::from_index(1).v4, v6: Synthetic::from_index(2).v6 };
    bench.ask_as(&device, request, "d.apps.demo", unsound);
    assert!(bench.answer(device.stream, request).unwrap().write().contains("fault"));
}

#[test]
fn p6_2_a_session_has_at_most_256_names() {
    let (mut bench, mut gate) = Bench::new();
    bench.admin(Op::ResourcePut { resource: resource("apps", "*.apps.demo") }).unwrap();
    bench.policy("apps", r#"permit(principal, action, resource == Resource::"apps");"#);
    bench.settings(|settings| settings.asks_per_second = 1_000);
    let device = bench.ready("ana");
    for n in 0..256 {
        bench.ask_as(&device, n, &format!("n{n}.apps.demo"), Synthetic::from_index(n as u16));
    }
    bench.gate_answers(&mut gate);
    assert_eq!(gate.leases.len(), 256);
    bench.ask_as(&device, 999, "more.apps.demo", Synthetic::from_index(999));
    assert!(bench.answer(device.stream, 999).unwrap().write().contains("limit-reached"));
}

#[test]
fn p6_1_a_prefix_is_leased_as_it_is() {
    let (mut bench, mut gate) = Bench::new();
    bench.admin(Op::ResourcePut { resource: resource("plc", "10.1.0.0/16") }).unwrap();
    bench.policy("plc", r#"permit(principal, action, resource == Resource::"plc");"#);
    let device = bench.ready("ana");
    let ask = device::Ask {
        request: 1,
        wanted: Wanted::Address("10.1.2.3".parse().unwrap()),
        protocol: Protocol::Tcp,
        port: Port::new(80).unwrap(),
        carriers: vec![],
        avoid: None,
    };
    bench.say(device.stream, ask);
    bench.gate_answers(&mut gate);
    let Some(ToDevice::Granted(granted)) = bench.answer(device.stream, 1) else { panic!("not granted") };
    assert_eq!(granted.grant.covers, Match::Prefix("10.1.0.0/16".parse().unwrap()));
}

#[test]
fn p6_5_an_address_is_leased_by_the_name_that_it_has_at_its_site() {
    let (mut bench, mut gate) = Bench::new();
    bench.settings(|settings| settings.suffixes = vec!["corp.example".parse().unwrap()]);
    bench.admin(Op::ResourcePut { resource: resource("plc", "10.1.0.0/16") }).unwrap();
    bench.policy("plc", r#"permit(principal, action, resource == Resource::"plc");"#);
    let device = bench.ready("ana");
    let grant = bench.granted(&device, &mut gate, "10-1-2-3.hq.corp.example");
    let Match::Name { name, .. } = &grant.covers else { panic!("no name") };
    assert_eq!(name.as_str(), "10-1-2-3.hq.corp.example");
    assert_eq!(gate.leases[&grant.lease].target.to_string(), "10.1.2.3");
    for name in [
        "10-2-2-3.hq.corp.example",
        "10-1-2-3.berlin.corp.example",
        "10-1-2-3.hq.other.example",
        "x.10-1-2-3.hq.corp.example",
    ] {
        assert_eq!(bench.refused(&device, name), Decision::denied(DenyReason::NotFound), "{name}");
    }
    // The name means nothing any more, and neither does the lease.
    bench.settings(|settings| settings.suffixes.clear());
    bench.renew_all(&mut gate);
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
}

#[test]
fn p5_9_a_device_gives_a_lease_back() {
    let (mut bench, mut gate) = Bench::new();
    let (device, other) = (bench.ready("ana"), bench.ready("bo"));
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.say(other.stream, device::Release { lease });
    assert_eq!(bench.stored.leases.len(), 1, "not somebody else's");
    bench.say(device.stream, device::Release { lease });
    assert!(bench.stored.leases.is_empty());
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
}

#[test]
fn p7_requests_are_limited() {
    let (mut bench, _) = Bench::new();
    bench.settings(|settings| settings.asks_per_second = 2);
    let device = bench.ready("ana");
    let answers: Vec<DenyReason> =
        (0..25).map(|_| crate::decide::reason_of(&bench.refused(&device, "nothing.demo"))).collect();
    // Two of the first twenty were statements.
    assert_eq!(answers.iter().filter(|reason| **reason == DenyReason::NotFound).count(), 18);
    assert_eq!(answers[24], DenyReason::LimitReached);
    bench.after(secs(1));
    assert_eq!(crate::decide::reason_of(&bench.refused(&device, "nothing.demo")), DenyReason::NotFound);
}

#[test]
fn several_requests_for_one_thing_share_a_lease() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.store = Store::Slow;
    for request in [1, 2, 3] {
        bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    }
    bench.flush();
    bench.store = Store::Up;
    bench.ask_as(&device, 4, "wiki.demo", Synthetic::from_index(5));
    bench.gate_answers(&mut gate);
    bench.ask_as(&device, 5, "wiki.demo", Synthetic::from_index(5));
    assert_eq!(gate.leases.len(), 1);
    for request in 1..=5 {
        assert!(matches!(bench.answer(device.stream, request), Some(ToDevice::Granted(_))), "{request}");
    }
}
