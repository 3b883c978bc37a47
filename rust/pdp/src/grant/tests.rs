#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::time::Duration;

use proptest::prelude::*;
use ztna_api::admin::{Answer, HoldTarget, Op, ReachState, Settings};
use ztna_api::device::{self, Refused, ToDevice, Wanted};
use ztna_api::gateway::{self, LeaseError, ToGateway};
use ztna_model::{
    Address, Decision, DenyReason, FactKind, Fix, Match, Port, Protocol, Synthetic, minutes, secs,
};

use crate::audit::Event;
use crate::rows::{Gateway, Write};
use crate::testing::{Bench, Device, Gate, Store, carrier, p256, person, resource};
use crate::{Admin, Alarm, Input, Output, RequestId};

fn refused(bench: &mut Bench, device: &Device, name: &str) -> Decision {
    match bench.ask(device, name) {
        Some(ToDevice::Refused(Refused { decision, .. })) => decision,
        other => panic!("{name}: {other:?}"),
    }
}

fn over(bench: &mut Bench, device: &Device) -> Vec<DenyReason> {
    let frames = bench.frames(device.stream).into_iter();
    frames
        .filter_map(|frame| match frame {
            ToDevice::Over(over) => Some(over.reason),
            _ => None,
        })
        .collect()
}

fn settings(bench: &mut Bench, change: impl FnOnce(&mut Settings)) {
    let Ok(Answer::Settings { mut settings }) = bench.admin(Op::Settings {}) else { panic!("no settings") };
    change(&mut settings);
    bench.admin(Op::SettingsPut { settings }).unwrap();
}

fn hold(bench: &mut Bench, target: HoldTarget) -> ztna_api::admin::Revoked {
    let op = Op::HoldPlace { target, reason: "a test".into(), until: None };
    match bench.admin(op) {
        Ok(Answer::Revoked(revoked)) => revoked,
        other => panic!("{other:?}"),
    }
}

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
fn p5_6_p8_a_lease_is_written_down_with_its_decision_before_it_is_signed() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.store = Store::Slow;
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    assert!(bench.gate_frames(&gate).is_empty());
    assert!(bench.stored.leases.is_empty());
    bench.flush();
    assert_eq!(bench.stored.leases.len(), 1);
    let granted = bench.events().into_iter().find_map(|event| match event {
        Event::LeaseGranted { policies, resource, .. } => Some((policies.clone(), resource.clone())),
        _ => None,
    });
    let (policies, resource) = granted.unwrap();
    assert_eq!((resource.as_str(), policies.first().unwrap().as_str()), ("wiki", "wiki"));
    bench.gate_answers(&mut gate);
    assert!(bench.answer(device.stream, request).is_some());
}

#[test]
fn p8_new_grants_stop_when_the_store_is_down_and_renewals_go_on() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.store = Store::Down;
    assert_eq!(
        refused(&mut bench, &device, "payroll.demo"),
        Decision::Denied {
            reason: DenyReason::DeviceUnproven,
            fixes: vec![Fix::Device { fact: FactKind::DiskEncrypted }]
        }
    );
    let before = gate.leases[&lease].at;
    for _ in 0..10 {
        bench.after(minutes(1));
        bench.renew_all(&mut gate);
    }
    assert!(gate.leases[&lease].at > before, "renewed on later beats");
    assert!(bench.alarms.contains(&Alarm::StoreDown));
}

#[test]
fn p8_a_grant_that_cannot_be_written_down_is_refused() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.store = Store::Down;
    let decision = refused(&mut bench, &device, "wiki.demo");
    assert_eq!(decision, Decision::Denied { reason: DenyReason::Fault, fixes: vec![Fix::Retry] });
    assert!(bench.gate_answers(&mut gate).is_empty());
    bench.store = Store::Up;
    bench.granted(&device, &mut gate, "wiki.demo");
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
    assert_eq!(refused(&mut bench, &device, "payroll.demo"), expected);
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

fn policy(bench: &mut Bench, id: &str, text: &str) {
    bench.admin(Op::PolicyPut { policy: id.parse().unwrap(), text: text.into() }).unwrap();
}

#[test]
fn p6_2_a_wildcard_takes_one_lease_for_each_name_label_by_label() {
    let (mut bench, mut gate) = Bench::new();
    bench.admin(Op::ResourcePut { resource: resource("apps", "*.apps.demo") }).unwrap();
    policy(&mut bench, "apps", r#"permit(principal, action, resource == Resource::"apps");"#);
    let device = bench.ready("ana");
    let one = bench.granted(&device, &mut gate, "a.apps.demo");
    let two = bench.granted(&device, &mut gate, "b.apps.demo");
    assert_ne!(one.lease, two.lease);
    assert_eq!(gate.leases[&one.lease].target.to_string(), "a.apps.demo");
    for name in ["apps.demo", "x.a.apps.demo", "aapps.demo"] {
        assert_eq!(refused(&mut bench, &device, name), Decision::denied(DenyReason::NotFound), "{name}");
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
    policy(&mut bench, "apps", r#"permit(principal, action, resource == Resource::"apps");"#);
    settings(&mut bench, |settings| settings.asks_per_second = 1_000);
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
    policy(&mut bench, "plc", r#"permit(principal, action, resource == Resource::"plc");"#);
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
fn p5_1_nothing_is_signed_on_an_old_beat() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let signed = |frames: &[ToGateway]| matches!(frames, [ToGateway::Lease(_), ..]);
    bench.after(secs(30));
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    let frames = bench.gate_frames(&gate);
    assert!(signed(&frames), "30 s old, for a ttl of 120 s: {frames:?}");
    bench.after(millis(1));
    bench.facts(&mut device, &[]);
    bench.ask_as(&device, request, "payroll.demo", Synthetic::from_index(6));
    let frames = bench.gate_frames(&gate);
    assert!(matches!(frames.as_slice(), [ToGateway::BeatPlease(_)]), "{frames:?}");
    bench.tell(&gate, bench.beat_of(&gate));
    assert!(signed(&bench.gate_frames(&gate)));
    // A clock that goes back, or that of another run, is not believed.
    settings(&mut bench, |settings| settings.lease_ttl_s = 10);
    bench.admin(Op::ResourcePut { resource: resource("third", "third.demo") }).unwrap();
    policy(&mut bench, "third", r#"permit(principal, action, resource == Resource::"third");"#);
    bench.after(secs(3));
    bench.ask_as(&device, request, "third.demo", Synthetic::from_index(7));
    assert!(bench.gate_frames(&gate).iter().any(|frame| matches!(frame, ToGateway::BeatPlease(_))));
    let mut beat = bench.beat_of(&gate);
    beat.now -= 60_000;
    bench.tell(&gate, beat);
    let beat = gateway::Beat { run: ztna_model::RunId([1; 16]), ..bench.beat_of(&gate) };
    bench.tell(&gate, beat);
    assert!(bench.gate_frames(&gate).is_empty());
    bench.tell(&gate, bench.beat_of(&gate));
    assert!(signed(&bench.gate_frames(&gate)));
    gate.silent = true;
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn p5_2_a_lease_lives_no_longer_than_its_answer() {
    let ttl = |change: &dyn Fn(&mut Bench, &mut Device)| {
        let (mut bench, mut gate) = Bench::new();
        let mut device = bench.ready("ana");
        bench.facts(&mut device, &[]);
        change(&mut bench, &mut device);
        bench.tell(&gate, bench.beat_of(&gate));
        let lease = bench.granted(&device, &mut gate, "payroll.demo").lease;
        gate.leases[&lease].ttl
    };
    let fresh = |bench: &mut Bench, device: &mut Device| {
        bench.frames(device.stream);
        device.nonces.clear();
        bench.state(device, ztna_api::statement::Body::Presence {});
    };
    type Row = (&'static str, Box<dyn Fn(&mut Bench, &mut Device)>, u64);
    let rows: Vec<Row> = vec![
        ("as set", Box::new(|_, _| ()), 120),
        ("a shorter setting", Box::new(|b, _| settings(b, |s| s.lease_ttl_s = 10)), 10),
        ("a longer setting", Box::new(|b, _| settings(b, |s| s.lease_ttl_s = 300)), 300),
        (
            "a policy's word",
            Box::new(|b, _| policy(b, "payroll", &format!("@max_ttl(\"60s\") {}", crate::testing::PAYROLL))),
            60,
        ),
        (
            "a fact that ages out",
            Box::new(move |b, d| {
                settings(b, |s| {
                    let limit = serde_json::json!({"disk_encrypted": 330});
                    s.requirements.insert("max_age_s_of".into(), limit);
                });
                b.after(minutes(4));
                fresh(b, d);
            }),
            89, // the last whole second at which the answer is a yes
        ),
        (
            "evidence that gets too old",
            Box::new(move |b, d| {
                settings(b, |s| s.idp_seen_max_s = 300);
                b.after(minutes(4));
                fresh(b, d);
            }),
            59,
        ),
        (
            "an age that a policy reads",
            Box::new(move |b, d| {
                let text =
                    crate::testing::PAYROLL.replace("when {", "when { context.auth.age_s < 250 } when {");
                policy(b, "payroll", &text);
                b.after(minutes(4));
                fresh(b, d);
            }),
            9,
        ),
        (
            "an edge of time",
            Box::new(move |b, d| {
                let text =
                    crate::testing::PAYROLL.replace("when {", "when { context.time.minute < 721 } when {");
                policy(b, "payroll", &text);
                b.after(secs(20));
                fresh(b, d);
            }),
            39,
        ),
    ];
    for (name, change, expected) in rows {
        assert_eq!(ttl(&*change), expected * 1_000, "{name}");
    }
}

#[test]
fn p5_4_a_renewal_is_a_full_decision_and_writes_nothing() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.after(secs(50)); // up to the next sweep nothing else is written
    let (rows, at) = (bench.audit.len(), gate.leases[&lease].at);
    bench.renew_all(&mut gate);
    assert_eq!(bench.audit.len(), rows);
    assert_eq!(gate.leases[&lease].at, at + 50_000);
    bench.after(secs(11));
    assert!(
        matches!(bench.events().last(), Some(Event::Renewals { count: 1 })),
        "counted, and the count written"
    );
    bench.stored.holds.clear();
    // Behind the broker's back nothing changes; in its rows something does.
    let hold = hold(&mut bench, HoldTarget::Resource("wiki".parse().unwrap()));
    assert!(hold.durable);
    gate.silent = true; // it did not hear the floor
    let text = gateway::Renew { beat: bench.beat_of(&gate), leases: vec![lease] };
    bench.gate_frames(&gate);
    bench.tell(&gate, text);
    let frames = bench.gate_frames(&gate);
    assert!(matches!(frames.as_slice(), [ToGateway::Over(over)] if over.lease == lease), "{frames:?}");
}

#[test]
fn p3_6_p5_6_a_hold_floors_first_and_is_answered_last() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.store = Store::Slow;
    bench.outputs.clear();
    let request = RequestId(bench.number());
    let op = Op::HoldPlace { target: HoldTarget::Person(person("ana")), reason: "x".into(), until: None };
    bench.handle(Input::Admin(Admin { request, uid: 0, op }));
    assert!(matches!(bench.outputs.first(), Some(Output::ToGateway(_, ToGateway::Floor(_)))));
    assert_eq!(bench.admin_answer(request), None);
    assert!(bench.stored.holds.is_empty());
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty(), "cut before the store has heard of it");
    bench.flush();
    let Some(Ok(Answer::Revoked(revoked))) = bench.admin_answer(request) else { panic!("no answer") };
    assert!(revoked.durable);
    assert!(matches!(revoked.reach.as_slice(), [reach] if matches!(reach.state, ReachState::InForce { .. })));
    assert_eq!(bench.stored, *bench.pdp.rows());
    assert_eq!(over(&mut bench, &device), [DenyReason::Held]);
    assert!(bench.session(&device.tokens.sid).is_live(), "a hold ends no session");
    let held = Decision::Denied { reason: DenyReason::Held, fixes: vec![Fix::AskAdministrator] };
    assert_eq!(refused(&mut bench, &device, "wiki.demo"), held);
}

#[test]
fn p3_6_holds_of_every_kind_deny_and_lifting_them_gives_back() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let other = bench.ready("bo");
    let session = bench.session(&device.tokens.sid).clone();
    let rows: [(HoldTarget, bool); 4] = [
        (HoldTarget::Person(person("ana")), false),
        (HoldTarget::Device(session.device), false),
        (HoldTarget::Session(session.sid), false),
        (HoldTarget::Resource("wiki".parse().unwrap()), true),
    ];
    for (target, all) in rows {
        bench.granted(&device, &mut gate, "wiki.demo");
        let theirs = bench.granted(&other, &mut gate, "wiki.demo").lease;
        let placed = hold(&mut bench, target.clone());
        bench.gate_answers(&mut gate);
        let left: Vec<_> = gate.leases.keys().copied().collect();
        assert_eq!(left, if all { vec![] } else { vec![theirs] }, "{target:?}");
        let id = placed.hold.unwrap();
        bench.admin(Op::HoldLift { hold: id }).unwrap();
        assert!(
            bench
                .events()
                .iter()
                .any(|event| matches!(event, Event::HoldLifted { hold, expired: false } if *hold == id))
        );
    }
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p3_6_a_hold_ends_by_itself() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let target = HoldTarget::Resource("wiki".parse().unwrap());
    let until = Some(bench.now.wall + minutes(2));
    bench.admin(Op::HoldPlace { target, reason: "x".into(), until }).unwrap();
    bench.after(secs(119));
    assert_eq!(crate::decide::reason_of(&refused(&mut bench, &device, "wiki.demo")), DenyReason::Held);
    bench.after(secs(1));
    assert!(bench.stored.holds.is_empty());
    let changed = bench.frames(device.stream).into_iter().any(|frame| {
        matches!(frame, ToDevice::Changed(changed) if changed.visible.iter().any(|one| one.decision.is_granted()))
    });
    assert!(changed, "the device learns that it may again");
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p3_6_a_revocation_never_waits_for_a_store_that_is_down() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.store = Store::Down;
    let revoked = hold(&mut bench, HoldTarget::Person(person("ana")));
    assert!(!revoked.durable, "in force, not durable");
    assert!(bench.alarms.contains(&Alarm::NotDurable));
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
    bench.after(secs(10));
    bench.store = Store::Up;
    bench.after(secs(3));
    assert_eq!(bench.stored.holds.len(), 1);
    assert_eq!(bench.stored, *bench.pdp.rows());
    assert!(bench.events().iter().any(|event| matches!(event, Event::HoldPlaced { .. })));
    assert!(bench.events().iter().any(|event| matches!(event, Event::Floor { .. })));
}

#[test]
fn p4_5_what_stays_is_undisturbed_by_a_floor() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let wiki = bench.granted(&device, &mut gate, "wiki.demo").lease;
    let payroll = bench.granted(&device, &mut gate, "payroll.demo").lease;
    let before = gate.leases[&wiki].clone();
    bench.after(secs(40)); // the beat is too old to sign anything new on
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    let frames = bench.gate_answers(&mut gate);
    let [ToGateway::Floor(floor)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((floor.keep.len(), floor.reason), (1, DenyReason::DeviceUnfit));
    let after = &gate.leases[&wiki];
    assert_eq!(after.epoch, before.epoch.next());
    assert_eq!((after.at, after.ttl), (before.at, before.ttl), "it lives no longer for it");
    assert!(!gate.leases.contains_key(&payroll));
    assert_eq!(over(&mut bench, &device), [DenyReason::DeviceUnfit]);
    // A worse fact that nothing reads, and a better one: nothing ends, so there is no floor.
    bench.facts(&mut device, &[FactKind::DiskEncrypted, FactKind::Tpm]);
    bench.facts(&mut device, &[]);
    assert!(bench.gate_answers(&mut gate).is_empty());
    bench.granted(&device, &mut gate, "payroll.demo");
}

#[test]
fn p4_5_every_trigger_decides_anew() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let wiki: ztna_model::ResourceId = "wiki".parse().unwrap();
    let remove = || Op::PolicyRemove { policy: "wiki".parse().unwrap() };
    let put = || Op::PolicyPut { policy: "wiki".parse().unwrap(), text: crate::testing::WIKI.into() };
    let groups = |groups: &[&str]| Op::PersonGroups {
        person: person("ana"),
        groups: groups.iter().map(|id| id.parse().unwrap()).collect(),
    };
    let mut moved = resource("wiki", "wiki.demo");
    moved.ports = "80,443".parse().unwrap();
    let triggers: Vec<(&str, Op, Op)> = vec![
        ("a policy is removed", remove(), put()),
        (
            "a forbid is added",
            Op::PolicyPut {
                policy: "no".parse().unwrap(),
                text: "forbid(principal, action, resource);".into(),
            },
            Op::PolicyRemove { policy: "no".parse().unwrap() },
        ),
        ("a person leaves a group", groups(&[]), groups(&["staff"])),
        (
            "a resource is changed",
            Op::ResourcePut { resource: moved },
            Op::ResourcePut { resource: resource("wiki", "wiki.demo") },
        ),
    ];
    for (name, bad, good) in triggers {
        let lease = bench.granted(&device, &mut gate, "wiki.demo");
        assert_eq!(lease.resource, wiki);
        bench.admin(bad).unwrap();
        bench.gate_answers(&mut gate);
        assert!(gate.leases.is_empty(), "{name}");
        bench.admin(good).unwrap();
        bench.frames(device.stream);
        device.nonces.clear();
        bench.state(&mut device, ztna_api::statement::Body::Presence {});
    }
}

#[test]
fn p4_5_a_fact_that_ages_out_cuts_by_itself() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    settings(&mut bench, |settings| {
        settings.requirements.insert("max_age_s".into(), 100.into());
    });
    bench.facts(&mut device, &[]);
    let payroll = bench.granted(&device, &mut gate, "payroll.demo").lease;
    bench.after(secs(101));
    bench.gate_answers(&mut gate);
    assert!(!gate.leases.contains_key(&payroll));
    assert!(over(&mut bench, &device).contains(&DenyReason::DeviceUnproven));
}

#[test]
fn p4_5_an_edge_of_time_cuts_by_itself() {
    let (mut bench, mut gate) = Bench::new();
    let text = crate::testing::WIKI.replace(';', " when { context.time.minute < 721 };");
    policy(&mut bench, "wiki", &text);
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.after(secs(61));
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
}

#[test]
fn p5_6_a_floor_goes_to_all_gateways_each_with_its_own() {
    let keys = [p256(), p256()];
    let (mut bench, mut one) = Bench::with(|rows| {
        let (id, site) = ("gw-2".parse().unwrap(), "lab".parse().unwrap());
        rows.sites.insert(site, ztna_api::admin::Site { id: "lab".parse().unwrap(), title: "Lab".into() });
        let key = Some(ztna_model::Signer::public_key(&keys[0]));
        let gateway = Gateway { id, site: "lab".parse().unwrap(), key, revoked: None };
        rows.apply(&Write::put(gateway));
        let mut robot = resource("robot", "robot.demo");
        robot.site = "lab".parse().unwrap();
        rows.apply(&Write::put(robot));
    });
    let [key, _] = keys;
    let mut two = bench.gate("gw-2", key);
    policy(&mut bench, "robot", r#"permit(principal, action, resource == Resource::"robot");"#);
    let device = bench.ready("ana");
    let wiki = bench.granted(&device, &mut one, "wiki.demo").lease;
    let robot = bench.granted(&device, &mut two, "robot.demo").lease;
    hold(&mut bench, HoldTarget::Resource("wiki".parse().unwrap()));
    let (first, second) = (bench.gate_answers(&mut one), bench.gate_answers(&mut two));
    let keep = |frames: &[ToGateway]| match frames {
        [ToGateway::Floor(floor)] => floor.keep.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((keep(&first), keep(&second)), (0, 1));
    assert!(!one.leases.contains_key(&wiki) && two.leases.contains_key(&robot));
    assert!(one.leases.values().all(|lease| lease.rule.resource.as_str() != "robot"));
}

#[test]
fn p5_6_e08_a_gateway_that_was_away_gets_the_floors_first_and_then_the_list() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let payroll = bench.granted(&device, &mut gate, "payroll.demo").lease;
    let wiki = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.handle(Input::GatewayClosed(gate.stream)); // the wire is cut, the process lives
    let revoked = hold(&mut bench, HoldTarget::Resource("payroll".parse().unwrap()));
    let [reach] = revoked.reach.as_slice() else { panic!("{revoked:?}") };
    let ReachState::Silent { ends_by } = reach.state else { panic!("{reach:?}") };
    assert_eq!(ends_by, bench.now.wall + secs(120), "at most ttl after the last beat");
    bench.after(secs(3));
    let silent = |alarm: &Alarm| matches!(alarm, Alarm::GatewaySilent { ends_by: by, .. } if *by == ends_by);
    assert!(bench.alarms.iter().any(silent));
    let Ok(Answer::Status(status)) = bench.admin(Op::Status {}) else { panic!("no status") };
    assert_eq!(status.outstanding.len(), 1);

    gate.stream = crate::StreamId(0);
    let frames = {
        bench.connect_gate(&mut gate);
        assert!(!gate.leases.contains_key(&payroll) && gate.leases.contains_key(&wiki));
        let Ok(Answer::Holds { holds }) = bench.admin(Op::Holds {}) else { panic!("no holds") };
        holds
    };
    assert!(matches!(frames[0].reach[0].state, ReachState::InForce { .. }));
    let Ok(Answer::Status(status)) = bench.admin(Op::Status {}) else { panic!("no status") };
    assert!(status.outstanding.is_empty());
}

#[test]
fn p5_6_on_reconnect_come_welcome_floors_and_list_in_this_order() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    hold(&mut bench, HoldTarget::Resource("payroll".parse().unwrap()));
    hold(&mut bench, HoldTarget::Session(device.tokens.sid));
    bench.handle(Input::GatewayClosed(gate.stream));
    gate.silent = true;
    bench.connect_gate(&mut gate);
    let kinds: Vec<&str> = bench.gate_frames(&gate).iter().map(ToGateway::kind).collect();
    assert_eq!(kinds, ["welcome", "floor", "list"]);
}

#[test]
fn p5_6_a_floor_outlives_the_broker() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.handle(Input::GatewayClosed(gate.stream));
    hold(&mut bench, HoldTarget::Person(person("ana")));
    let epoch = bench.session(&device.tokens.sid).epoch;
    bench.restart();
    assert_eq!(bench.session(&device.tokens.sid).epoch, epoch);
    gate.silent = true;
    bench.connect_gate(&mut gate);
    let frames = bench.gate_frames(&gate);
    assert!(matches!(&frames[1], ToGateway::Floor(floor) if floor.epoch == epoch && floor.keep.is_empty()));
    assert!(matches!(&frames[2], ToGateway::List(list) if list.live.is_empty()));
}

#[test]
fn p5_6_leases_outlive_the_broker() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.restart();
    bench.connect_gate(&mut gate);
    assert!(gate.leases.contains_key(&lease), "it is on the list");
    bench.connect(&mut device);
    let granted =
        |frame: &ToDevice| matches!(frame, ToDevice::Granted(granted) if granted.grant.lease == lease);
    assert!(bench.frames(device.stream).iter().any(granted), "and in the device's full state");
    let before = gate.leases[&lease].at;
    bench.after(secs(1));
    bench.renew_all(&mut gate);
    assert!(gate.leases[&lease].at > before);
}

#[test]
fn p5_6_a_restarted_gateway_s_leases_are_void_and_are_granted_anew() {
    let (mut bench, mut gate) = Bench::new();
    let (device, asleep) = (bench.ready("ana"), bench.ready("bo"));
    let before = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.granted(&asleep, &mut gate, "wiki.demo");
    bench.handle(Input::DeviceClosed(asleep.stream));
    bench.frames(device.stream);
    bench.start_gate(&mut gate);
    bench.gate_answers(&mut gate);
    assert!(!gate.leases.contains_key(&before));
    assert_eq!(gate.leases.len(), 1, "for the session that is active");
    let frames = bench.frames(device.stream);
    let over = |frame: &ToDevice| matches!(frame, ToDevice::Over(over) if over.lease == before && over.reason == DenyReason::Restarted);
    assert!(frames.iter().any(over), "{frames:?}");
    let granted = |frame: &ToDevice| matches!(frame, ToDevice::Granted(granted) if granted.request.is_none());
    assert!(frames.iter().any(granted), "{frames:?}");
    assert_eq!(bench.stored, *bench.pdp.rows());
}

fn two_gateways() -> (Bench, Gate, Gate) {
    let key = p256();
    let public = ztna_model::Signer::public_key(&key);
    let (mut bench, one) = Bench::with(|rows| {
        let (id, site) = ("gw-2".parse().unwrap(), "hq".parse().unwrap());
        rows.apply(&Write::put(Gateway { id, site, key: Some(public), revoked: None }));
    });
    let two = bench.gate("gw-2", key);
    (bench, one, two)
}

#[test]
fn p5_10_the_gateway_is_sticky_by_session_and_may_be_avoided() {
    let (mut bench, mut one, mut two) = two_gateways();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let first = bench.granted(&device, &mut one, "wiki.demo").gateway;
    assert_eq!(first.as_str(), "gw-1");
    assert_eq!(bench.granted(&device, &mut one, "payroll.demo").gateway, first);
    let other = bench.ready("bo");
    assert_eq!(bench.granted(&other, &mut two, "wiki.demo").gateway.as_str(), "gw-2", "the less loaded");
    let ask = device::Ask {
        request: 77,
        wanted: Wanted::Name { name: "wiki.demo".parse().unwrap(), synthetic: Synthetic::from_index(1) },
        protocol: Protocol::Tcp,
        port: Port::new(80).unwrap(),
        carriers: vec![],
        avoid: Some(first),
    };
    bench.say(device.stream, ask);
    bench.gate_answers(&mut one);
    bench.gate_answers(&mut two);
    let Some(ToDevice::Granted(granted)) = bench.answer(device.stream, 77) else { panic!("not granted") };
    assert_eq!(granted.grant.gateway.as_str(), "gw-2");
}

#[test]
fn p5_10_a_gateway_that_does_not_answer_is_replaced_in_three_seconds() {
    let (mut bench, mut one, mut two) = two_gateways();
    let device = bench.ready("ana");
    one.silent = true;
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    bench.after(secs(2));
    bench.gate_answers(&mut two);
    let Some(ToDevice::Granted(granted)) = bench.answer(device.stream, request) else {
        panic!("not granted")
    };
    assert_eq!(granted.grant.gateway.as_str(), "gw-2");
}

#[test]
fn p5_10_a_gateway_whose_stream_is_gone_is_replaced_in_three_seconds() {
    let (mut bench, mut one, mut two) = two_gateways();
    let device = bench.ready("ana");
    let before = bench.granted(&device, &mut one, "wiki.demo").lease;
    bench.handle(Input::GatewayClosed(one.stream));
    bench.after(secs(2));
    bench.gate_answers(&mut two);
    assert_eq!(two.leases.len(), 1);
    let frames = bench.frames(device.stream);
    let over = |frame: &ToDevice| matches!(frame, ToDevice::Over(over) if over.lease == before && over.reason == DenyReason::GatewayAway);
    assert!(frames.iter().any(over));
    // One that comes back within the second keeps what it has.
    bench.handle(Input::GatewayClosed(two.stream));
    bench.connect_gate(&mut two);
    bench.after(secs(2));
    assert_eq!(two.leases.len(), 1);
}

#[test]
fn p5_10_no_gateway_is_a_reason_of_its_own() {
    let (mut bench, gate) = Bench::new();
    let device = bench.ready("ana");
    bench.handle(Input::GatewayClosed(gate.stream));
    let away = Decision::Denied { reason: DenyReason::GatewayAway, fixes: vec![Fix::Retry] };
    assert_eq!(refused(&mut bench, &device, "wiki.demo"), away);
}

#[test]
fn p5_3_a_lease_that_the_gateway_declines_is_refused_and_written_down() {
    let (mut bench, gate) = Bench::new();
    let device = bench.ready("ana");
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    let frames = bench.gate_frames(&gate);
    let [ToGateway::Lease(offered)] = frames.as_slice() else { panic!("{frames:?}") };
    let lease = Some(bench.verified(&gate, &offered.lease).id);
    bench.tell(&gate, gateway::Declined { lease, code: LeaseError::OutOfReach });
    let Some(ToDevice::Refused(refused)) = bench.answer(device.stream, request) else { panic!("no answer") };
    assert_eq!(crate::decide::reason_of(&refused.decision), DenyReason::OutOfReach);
    assert!(bench.stored.leases.is_empty());
    assert!(
        bench
            .events()
            .iter()
            .any(|event| matches!(event, Event::LeaseDeclined { code: LeaseError::OutOfReach, .. }))
    );
}

#[test]
fn p5_6_a_session_behind_a_gateway_s_floor_catches_up() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    let frames = bench.gate_frames(&gate);
    let [ToGateway::Lease(offered)] = frames.as_slice() else { panic!("{frames:?}") };
    let lease = bench.verified(&gate, &offered.lease);
    bench.tell(&gate, gateway::Declined { lease: Some(lease.id), code: LeaseError::BelowFloor });
    assert!(bench.session(&device.tokens.sid).epoch > lease.epoch);
    bench.gate_answers(&mut gate);
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p5_5_a_lease_that_ends_at_the_gateway_is_over_everywhere() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.tell(&gate, gateway::Ended { lease, reason: DenyReason::Silent });
    assert_eq!(over(&mut bench, &device), [DenyReason::Silent]);
    assert!(bench.stored.leases.is_empty());
    // Another gateway's word counts for nothing.
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    let (mut other_bench, other) = Bench::new();
    other_bench.tell(&other, gateway::Ended { lease, reason: DenyReason::Silent });
    assert_eq!(bench.stored.leases.len(), 1);
}

#[test]
fn p5_11_a_lease_that_nobody_renews_is_over_by_itself() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.after(secs(119));
    assert_eq!(bench.stored.leases.len(), 1);
    bench.after(secs(2));
    assert!(bench.stored.leases.is_empty());
    assert_eq!(over(&mut bench, &device), [DenyReason::LeaseExpired]);
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
    settings(&mut bench, |settings| settings.asks_per_second = 2);
    let device = bench.ready("ana");
    let answers: Vec<DenyReason> =
        (0..25).map(|_| crate::decide::reason_of(&refused(&mut bench, &device, "nothing.demo"))).collect();
    assert_eq!(answers.iter().filter(|reason| **reason == DenyReason::NotFound).count(), 20);
    assert_eq!(answers[24], DenyReason::LimitReached);
    bench.after(secs(1));
    assert_eq!(crate::decide::reason_of(&refused(&mut bench, &device, "nothing.demo")), DenyReason::NotFound);
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

#[test]
fn p5_2_between_decision_and_signature_a_hold_wins() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.store = Store::Slow;
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    let hold = RequestId(bench.number());
    let target = HoldTarget::Resource("wiki".parse().unwrap());
    let op = Op::HoldPlace { target, reason: "x".into(), until: None };
    bench.handle(Input::Admin(Admin { request: hold, uid: 0, op }));
    bench.flush();
    let frames = bench.gate_answers(&mut gate);
    assert!(!frames.iter().any(|frame| matches!(frame, ToGateway::Lease(_))), "{frames:?}");
    let Some(ToDevice::Refused(refused)) = bench.answer(device.stream, request) else { panic!("no answer") };
    assert_eq!(crate::decide::reason_of(&refused.decision), DenyReason::Held);
    assert!(bench.stored.leases.is_empty());
    assert_eq!(bench.stored, *bench.pdp.rows());
}

#[test]
fn p5_12_a_gateway_comes_with_its_own_key_or_not_at_all() {
    let (mut bench, gate) = Bench::new();
    let open = |bench: &mut Bench, gateway: &str, key| {
        let stream = crate::StreamId(bench.number());
        let gateway = gateway.parse().unwrap();
        bench.handle(Input::GatewayOpened(crate::GatewayOpened { stream, gateway, key }));
        bench.is_closed(stream)
    };
    assert!(open(&mut bench, "gw-1", ztna_model::Signer::public_key(&p256())));
    assert!(open(&mut bench, "gw-9", ztna_model::Signer::public_key(&gate.key)));
    assert!(!open(&mut bench, "gw-1", ztna_model::Signer::public_key(&gate.key)));
    // A statement about another run, or by another key, is not believed.
    let (mut bench, gate) = Bench::new();
    let stream = crate::StreamId(bench.number());
    let (gateway, key) = (gate.id.clone(), ztna_model::Signer::public_key(&gate.key));
    bench.handle(Input::GatewayOpened(crate::GatewayOpened { stream, gateway, key }));
    let wg_pub = ztna_model::WgPublic([5; 32]);
    let statement =
        gateway::Statement { org: crate::testing::org(), gw: gate.id.clone(), run: gate.run, wg_pub };
    let hello = gateway::Hello {
        org: crate::testing::org(),
        versions: ztna_api::discovery::Versions::OURS,
        beat: bench.beat_of(&gate),
        wg_pub: ztna_model::WgPublic([6; 32]),
        statement: statement.sign(&gate.key, Vec::new()).unwrap(),
        carriers: vec![],
        software: String::new(),
    };
    bench.handle(Input::FromGateway(stream, hello.into()));
    assert!(bench.is_closed(stream));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever administrators, facts and gateways do in whatever order, a gateway that listens holds only what would
    /// be granted today, and the store holds what the image holds.
    #[test]
    fn p4_5_p5_no_gateway_holds_what_would_not_be_granted(steps in proptest::collection::vec(0..12_u8, 1..14)) {
        let (mut bench, mut gate) = Bench::new();
        let mut device = bench.ready("ana");
        let target = HoldTarget::Resource("wiki".parse().unwrap());
        for step in steps {
            match step {
                0 => drop(bench.ask(&device, "wiki.demo")),
                1 => drop(bench.ask(&device, "payroll.demo")),
                2 => bench.facts(&mut device, &[]),
                3 => bench.facts(&mut device, &[FactKind::DiskEncrypted]),
                4 => drop(hold(&mut bench, target.clone())),
                5 => {
                    let lift: Vec<_> = bench.stored.holds.keys().copied().collect();
                    lift.into_iter().for_each(|hold| drop(bench.admin(Op::HoldLift { hold })));
                }
                6 => drop(bench.admin(Op::PolicyRemove { policy: "wiki".parse().unwrap() })),
                7 => policy(&mut bench, "wiki", crate::testing::WIKI),
                8 => bench.handle(Input::GatewayClosed(gate.stream)),
                9 => bench.connect_gate(&mut gate),
                10 => bench.start_gate(&mut gate),
                _ => bench.after(secs(20)),
            }
            bench.frames(device.stream);
            device.nonces.clear();
            bench.state(&mut device, ztna_api::statement::Body::Presence {});
            bench.gate_answers(&mut gate);
            if bench.pdp.gateways.stream(&gate.id) == Some(gate.stream) {
                for lease in gate.leases.values() {
                    let live = bench.pdp.rows().leases.contains_key(&lease.id);
                    let run_out = bench.beat_of(&gate).now >= lease.at + lease.ttl;
                    prop_assert!(live || run_out, "{:?} is not known", lease);
                    let (judged, _) = bench.pdp.decide_lease(lease);
                    prop_assert!(judged.decision.is_granted() || run_out, "{:?}", judged);
                }
            }
            prop_assert_eq!(&bench.stored, bench.pdp.rows());
        }
        prop_assert!(matches!(bench.stored.resources.values().next().unwrap().address, Address::Name(_)));
    }
}
