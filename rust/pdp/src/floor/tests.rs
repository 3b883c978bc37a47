#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use proptest::prelude::*;
use ztna_api::admin::{Answer, HoldTarget, Op, ReachState, Settings};
use ztna_api::device::ToDevice;
use ztna_api::gateway::{self, LeaseError, ToGateway};
use ztna_model::{Decision, DenyReason, FactKind, Fix, Synthetic, minutes, secs};

use crate::audit::Event;
use crate::rows::{Gateway, Write};
use crate::testing::{Bench, Device, Gate, Store, p256, person, resource};
use crate::{Admin, Alarm, Input, Output, RequestId};

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
    assert_eq!(bench.over(&device), [DenyReason::Held]);
    assert!(bench.session(&device.tokens.sid).is_live(), "a hold ends no session");
    let held = Decision::Denied { reason: DenyReason::Held, fixes: vec![Fix::AskAdministrator] };
    assert_eq!(bench.refused(&device, "wiki.demo"), held);
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
        let placed = bench.hold(target.clone());
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
    assert_eq!(crate::decide::reason_of(&bench.refused(&device, "wiki.demo")), DenyReason::Held);
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
    let revoked = bench.hold(HoldTarget::Person(person("ana")));
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
    assert_eq!(bench.over(&device), [DenyReason::DeviceUnfit]);
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
    bench.settings(|settings| {
        settings.requirements.insert("max_age_s".into(), 100.into());
    });
    bench.facts(&mut device, &[]);
    let payroll = bench.granted(&device, &mut gate, "payroll.demo").lease;
    bench.after(secs(101));
    bench.gate_answers(&mut gate);
    assert!(!gate.leases.contains_key(&payroll));
    assert!(bench.over(&device).contains(&DenyReason::DeviceUnproven));
}

#[test]
fn p4_5_an_edge_of_time_cuts_by_itself() {
    let (mut bench, mut gate) = Bench::new();
    let text = crate::testing::WIKI.replace(';', " when { context.time.minute < 721 };");
    bench.policy("wiki", &text);
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
    bench.policy("robot", r#"permit(principal, action, resource == Resource::"robot");"#);
    let device = bench.ready("ana");
    let wiki = bench.granted(&device, &mut one, "wiki.demo").lease;
    let robot = bench.granted(&device, &mut two, "robot.demo").lease;
    bench.hold(HoldTarget::Resource("wiki".parse().unwrap()));
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
fn p5_11_p5_6_e08_a_gateway_that_was_away_gets_the_floors_first_and_then_the_list() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let payroll = bench.granted(&device, &mut gate, "payroll.demo").lease;
    let wiki = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.handle(Input::GatewayClosed(gate.stream)); // the wire is cut, the process lives
    let revoked = bench.hold(HoldTarget::Resource("payroll".parse().unwrap()));
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
    bench.hold(HoldTarget::Resource("payroll".parse().unwrap()));
    bench.hold(HoldTarget::Session(device.tokens.sid));
    bench.handle(Input::GatewayClosed(gate.stream));
    gate.silent = true;
    bench.connect_gate(&mut gate);
    let kinds: Vec<&str> = bench.gate_frames(&gate).iter().map(ToGateway::kind).collect();
    assert_eq!(kinds, ["welcome", "floor", "list"]);
}

#[test]
fn p3_6_a_hold_raises_the_floor_even_where_nothing_is_leased() {
    let (mut bench, gate) = Bench::new();
    let device = bench.ready("ana");
    let before = bench.session(&device.tokens.sid).epoch;
    bench.hold(HoldTarget::Person(person("ana")));
    let frames = bench.gate_frames(&gate);
    let [ToGateway::Floor(floor)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((floor.sid, floor.epoch, floor.keep.len()), (device.tokens.sid, before.next(), 0));
}

#[test]
fn p4_5_what_turns_by_itself_is_told_when_it_turns() {
    type Set = fn(&mut Settings);
    let rows: [(&str, Set, &str, Option<DenyReason>); 3] = [
        ("the provider's word", |all| all.idp_seen_max_s = 1_800, "wiki", Some(DenyReason::EvidenceTooOld)),
        (
            "a fact",
            |all| _ = all.requirements.insert("max_age_s".into(), 1_800.into()),
            "payroll",
            Some(DenyReason::DeviceUnproven),
        ),
        ("an idle session", |all| all.idle_s = 1_800, "wiki", None),
    ];
    for (name, set, resource, expected) in rows {
        let (mut bench, _) = Bench::new();
        bench.settings(set);
        let mut device = bench.ready("ana");
        bench.facts(&mut device, &[]);
        bench.after(secs(1_799));
        bench.frames(device.stream);
        bench.after(secs(1));
        let frames = bench.frames(device.stream);
        let told = frames.iter().find_map(|frame| match frame {
            ToDevice::Changed(changed) => {
                let one = changed.visible.iter().find(|one| one.resource.as_str() == resource)?;
                Some(Some(crate::decide::reason_of(&one.decision)))
            }
            ToDevice::Ended(_) => Some(None),
            _ => None,
        });
        assert_eq!(told, Some(expected), "{name}: {frames:?}");
    }
}

#[test]
fn p5_6_a_floor_is_remembered_for_as_long_as_a_lease_can_live() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.handle(Input::GatewayClosed(gate.stream));
    bench.hold(HoldTarget::Person(person("ana")));
    let epoch = bench.session(&device.tokens.sid).epoch;
    bench.after(secs(300));
    gate.silent = true;
    bench.connect_gate(&mut gate);
    let frames = bench.gate_frames(&gate);
    assert!(matches!(&frames[1], ToGateway::Floor(floor) if floor.epoch == epoch), "{frames:?}");
}

#[test]
fn p5_11_a_floor_is_in_force_when_this_very_one_is_acknowledged() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.granted(&device, &mut gate, "payroll.demo");
    bench.facts(&mut device, &[FactKind::DiskEncrypted]); // a floor that ends payroll
    let sid = device.tokens.sid;
    let first = bench.session(&sid).epoch;
    bench.hold(HoldTarget::Person(person("ana"))); // one that ends all
    let second = bench.session(&sid).epoch;
    assert!(second > first);
    let reach = |bench: &mut Bench| {
        let Ok(Answer::Holds { holds }) = bench.admin(Op::Holds {}) else { panic!("no holds") };
        holds[0].reach[0].state
    };
    bench.tell(&gate, gateway::FloorHeld { sid, epoch: first });
    assert!(matches!(reach(&mut bench), ReachState::Silent { .. }), "the word is about the one before");
    bench.tell(&gate, gateway::FloorHeld { sid, epoch: second });
    assert!(matches!(reach(&mut bench), ReachState::InForce { .. }));
}

#[test]
fn p5_6_a_floor_outlives_the_broker() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.handle(Input::GatewayClosed(gate.stream));
    bench.hold(HoldTarget::Person(person("ana")));
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

/// One thing that administrators, devices, gateways, the store or time do.
fn step(bench: &mut Bench, gate: &mut Gate, device: &mut Device, step: u8) {
    let id = || "wiki".parse().unwrap();
    if matches!(step, 2 | 3) {
        bench.flush(); // a device that gets no nonces states nothing
    }
    match step {
        0 => drop(bench.ask(device, "wiki.demo")),
        1 => drop(bench.ask(device, "payroll.demo")),
        2 => bench.facts(device, &[]),
        3 => bench.facts(device, &[FactKind::DiskEncrypted]),
        4 => admin(
            bench,
            Op::HoldPlace { target: HoldTarget::Resource(id()), reason: "x".into(), until: None },
        ),
        5 => {
            let lift: Vec<_> = bench.pdp.rows().holds.keys().copied().collect();
            lift.into_iter().for_each(|hold| admin(bench, Op::HoldLift { hold }));
        }
        6 => admin(bench, Op::PolicyRemove { policy: "wiki".parse().unwrap() }),
        7 => {
            let (policy, text) = ("wiki".parse().unwrap(), crate::testing::WIKI.into());
            admin(bench, Op::PolicyPut { policy, text });
        }
        8 => bench.handle(Input::GatewayClosed(gate.stream)),
        9 => bench.connect_gate(gate),
        10 => bench.start_gate(gate),
        11 => bench.after(secs(20)),
        12 => bench.store = Store::Slow,
        13 => bench.store = Store::Down,
        _ => {
            bench.store = Store::Up;
            bench.flush();
        }
    }
    bench.gate_answers(gate);
}

fn admin(bench: &mut Bench, op: Op) {
    let request = RequestId(bench.number());
    bench.handle(Input::Admin(Admin { request, uid: 0, op }));
}

/// What a gateway that listens holds and that would not be granted today.
fn excess(bench: &Bench, gate: &Gate) -> Option<String> {
    if bench.pdp.gateways.stream(&gate.id) != Some(gate.stream) {
        return None;
    }
    let now = bench.beat_of(gate).now;
    let alive = gate.leases.values().filter(|lease| now < lease.at + lease.ttl);
    let mut bad = alive.filter(|lease| {
        let known = bench.pdp.rows().leases.contains_key(&lease.id);
        !known || !bench.pdp.decide_lease(lease).0.decision.is_granted()
    });
    bad.next().map(|lease| format!("{lease:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn p4_5_p5_6_no_gateway_that_listens_holds_what_would_not_be_granted(
        steps in proptest::collection::vec(0..15_u8, 1..16),
    ) {
        let (mut bench, mut gate) = Bench::new();
        let mut device = bench.ready("ana");
        for number in steps {
            step(&mut bench, &mut gate, &mut device, number);
            prop_assert_eq!(excess(&bench, &gate), None, "after {}", number);
            if bench.store == Store::Up {
                for lease in gate.leases.keys() {
                    prop_assert!(bench.stored.leases.contains_key(lease) || !bench.pdp.rows().leases.contains_key(lease));
                }
            }
        }
        // However the store failed on the way: once it is back, it holds what is in force.
        step(&mut bench, &mut gate, &mut device, 14);
        bench.after(secs(10));
        bench.flush();
        prop_assert_eq!(&bench.stored, bench.pdp.rows());
        // And whoever starts again on it decides alike.
        let epoch = bench.session(&device.tokens.sid).epoch;
        bench.restart();
        prop_assert_eq!(bench.session(&device.tokens.sid).epoch, epoch);
        bench.connect_gate(&mut gate);
        prop_assert_eq!(excess(&bench, &gate), None, "after a restart");
    }
}
