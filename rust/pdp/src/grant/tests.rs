#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::time::Duration;

use ztna_api::admin::{HoldTarget, Op, Site};
use ztna_api::device::ToDevice;
use ztna_api::gateway::{self, ToGateway};
use ztna_model::{Decision, DenyReason, FactKind, Fix, Resource, Synthetic, minutes, secs};

use crate::audit::Event;
use crate::testing::{Bench, Device, Gate, Store, resource};
use crate::{Admin, Alarm, Input, RequestId};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
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
        bench.refused(&device, "payroll.demo"),
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
    let decision = bench.refused(&device, "wiki.demo");
    assert_eq!(decision, Decision::Denied { reason: DenyReason::Fault, fixes: vec![Fix::Retry] });
    assert!(bench.gate_answers(&mut gate).is_empty());
    bench.store = Store::Up;
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p5_1_nothing_is_signed_on_an_old_beat() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let signed = |frames: &[ToGateway]| matches!(frames, [ToGateway::Lease(_), ..]);
    bench.settings(|settings| settings.lease_ttl_s = 20);
    bench.after(secs(5));
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    let frames = bench.gate_frames(&gate);
    assert!(signed(&frames), "5 s old, for a ttl of 20 s: {frames:?}");
    bench.after(millis(1));
    bench.facts(&mut device, &[]);
    bench.ask_as(&device, request, "payroll.demo", Synthetic::from_index(6));
    let frames = bench.gate_frames(&gate);
    assert!(matches!(frames.as_slice(), [ToGateway::BeatPlease(_)]), "{frames:?}");
    bench.tell(&gate, bench.beat_of(&gate));
    assert!(signed(&bench.gate_frames(&gate)));
    // A clock that goes back, or that of another run, is not believed.
    bench.settings(|settings| settings.lease_ttl_s = 10);
    bench.admin(Op::ResourcePut { resource: resource("third", "third.demo") }).unwrap();
    bench.policy("third", r#"permit(principal, action, resource == Resource::"third");"#);
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
        ("a shorter setting", Box::new(|b, _| b.settings(|s| s.lease_ttl_s = 10)), 10),
        ("a longer setting", Box::new(|b, _| b.settings(|s| s.lease_ttl_s = 300)), 300),
        (
            "a policy's word",
            Box::new(|b, _| b.policy("payroll", &format!("@max_ttl(\"60s\") {}", crate::testing::PAYROLL))),
            60,
        ),
        (
            "a fact that ages out",
            Box::new(move |b, d| {
                b.settings(|s| {
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
                b.settings(|s| s.idp_seen_max_s = 300);
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
                b.policy("payroll", &text);
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
                b.policy("payroll", &text);
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
fn p5_2_a_lease_does_not_outlive_its_session() {
    let (mut bench, mut gate) = Bench::new();
    bench.settings(|settings| settings.session_s = 3_600);
    let mut device = bench.ready("ana");
    bench.after(minutes(59));
    bench.read_nonces(&mut device);
    device.nonces.clear();
    bench.state(&mut device, ztna_api::statement::Body::Presence {});
    bench.tell(&gate, bench.beat_of(&gate));
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    assert_eq!(gate.leases[&lease].ttl, 59_000);
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
    let hold = bench.hold(HoldTarget::Resource("wiki".parse().unwrap()));
    assert!(hold.durable);
    gate.silent = true; // it did not hear the floor
    let text = gateway::Renew { beat: bench.beat_of(&gate), leases: vec![lease] };
    bench.gate_frames(&gate);
    bench.tell(&gate, text);
    let frames = bench.gate_frames(&gate);
    assert!(matches!(frames.as_slice(), [ToGateway::Over(over)] if over.lease == lease), "{frames:?}");
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
    assert_eq!(bench.over(&device), [DenyReason::LeaseExpired]);
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
fn p5_2_a_lease_ends_when_its_resource_moves_to_where_its_gateway_does_not_stand() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    let site = Site { id: "lab".parse().unwrap(), title: "Lab".into() };
    bench.admin(Op::SitePut { site }).unwrap();
    let moved = Resource { site: "lab".parse().unwrap(), ..resource("wiki", "wiki.demo") };
    bench.admin(Op::ResourcePut { resource: moved }).unwrap();
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
}

#[test]
fn p5_2_p5_6_a_lease_that_stays_under_a_floor_lives_no_longer_than_today_s_answer() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let wiki = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.granted(&device, &mut gate, "payroll.demo");
    bench.policy("wiki", &format!("@max_ttl(\"20s\") {}", crate::testing::WIKI));
    bench.after(secs(10));
    let left = |bench: &Bench, gate: &Gate| {
        let lease = &gate.leases[&wiki];
        lease.at + lease.ttl - bench.beat_of(gate).now
    };
    assert_eq!(left(&bench, &gate), 110_000, "an edit that ends nothing sends nothing");
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    bench.gate_answers(&mut gate);
    assert_eq!(gate.leases.len(), 1);
    assert_eq!(left(&bench, &gate), 20_000);
}
