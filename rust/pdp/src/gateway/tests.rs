use ztna_api::device::{self, ToDevice, Wanted};
use ztna_api::gateway::{self, LeaseError, ToGateway};
use ztna_model::{Decision, DenyReason, FactKind, Fix, Port, Protocol, Synthetic, secs};

use crate::Input;
use crate::audit::Event;
use crate::rows::{Gateway, Write};
use crate::testing::{Bench, Gate, p256};

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
fn p5_6_leases_outlive_the_broker() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.restart();
    bench.connect_gate(&mut gate);
    assert!(gate.leases.contains_key(&lease), "it is on the list");
    bench.connect(&mut device);
    bench.make_ready(&mut device);
    let granted =
        |frame: &ToDevice| matches!(frame, ToDevice::Granted(granted) if granted.grant.lease == lease);
    assert!(bench.frames(device.stream).iter().any(granted), "and the device hears of it");
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

#[test]
fn p5_6_a_floor_keeps_nothing_at_a_gateway_that_was_restarted_since() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let wiki = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.granted(&device, &mut gate, "payroll.demo");
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    bench.gate_answers(&mut gate);
    assert!(gate.leases.contains_key(&wiki), "the floor kept it");
    gate.silent = true;
    bench.start_gate(&mut gate);
    let frames = bench.gate_frames(&gate);
    let floor = |frame: &ToGateway| matches!(frame, ToGateway::Floor(floor) if floor.keep.is_empty());
    assert!(frames.iter().any(floor), "{frames:?}");
    let list = |frame: &ToGateway| matches!(frame, ToGateway::List(list) if list.live.is_empty());
    assert!(frames.iter().any(list), "{frames:?}");
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
    assert_eq!(bench.refused(&device, "wiki.demo"), away);
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
fn p5_5_a_lease_that_ends_at_the_gateway_is_over_everywhere() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.tell(&gate, gateway::Ended { lease, reason: DenyReason::Silent });
    assert_eq!(bench.over(&device), [DenyReason::Silent]);
    assert!(bench.stored.leases.is_empty());
    // Another gateway's word counts for nothing.
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    let (mut other_bench, other) = Bench::new();
    other_bench.tell(&other, gateway::Ended { lease, reason: DenyReason::Silent });
    assert_eq!(bench.stored.leases.len(), 1);
}

#[test]
fn e01_no_gateway_speaks_for_leases_of_another() {
    let (mut bench, mut one, two) = two_gateways();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut one, "wiki.demo").lease;
    bench.tell(&two, gateway::Ended { lease, reason: DenyReason::Silent });
    bench.tell(&two, gateway::Declined { lease: Some(lease), code: LeaseError::BelowFloor });
    bench.after(secs(1));
    let renew = gateway::Renew { beat: bench.beat_of(&two), leases: vec![lease] };
    bench.tell(&two, renew);
    let frames = bench.gate_frames(&two);
    assert!(frames.iter().any(|frame| matches!(frame, ToGateway::Over(over) if over.lease == lease)));
    assert!(!frames.iter().any(|frame| matches!(frame, ToGateway::Renewed(_))), "{frames:?}");
    assert!(bench.stored.leases.contains_key(&lease) && bench.over(&device).is_empty());
}

#[test]
fn h01_a_gateway_that_asks_for_one_lease_a_thousand_times_gets_it_once() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.after(secs(1));
    bench.gate_frames(&gate);
    for _ in 0..10 {
        let renew = gateway::Renew { beat: bench.beat_of(&gate), leases: vec![lease; 100] };
        bench.tell(&gate, renew);
    }
    let renewed = |frame: &ToGateway| {
        if let ToGateway::Renewed(renewed) = frame { renewed.leases.len() } else { 0 }
    };
    assert_eq!(bench.gate_frames(&gate).iter().map(renewed).sum::<usize>(), 1);
    bench.after(secs(1));
    bench.renew_all(&mut gate);
    assert_eq!(bench.pdp.grants.renewals(), 2, "and again when it is due");
}

#[test]
fn h01_a_gateway_that_says_hello_twice_is_cut() {
    let (mut bench, gate) = Bench::new();
    let wg_pub = ztna_model::WgPublic([5; 32]);
    let statement =
        gateway::Statement { org: crate::testing::org(), gw: gate.id.clone(), run: gate.run, wg_pub };
    let hello = gateway::Hello {
        org: crate::testing::org(),
        versions: ztna_api::discovery::Versions::OURS,
        beat: bench.beat_of(&gate),
        wg_pub,
        statement: statement.sign(&gate.key, Vec::new()).unwrap(),
        carriers: vec![],
        software: String::new(),
    };
    bench.tell(&gate, hello);
    assert!(bench.is_closed(gate.stream));
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

#[test]
fn p5_10_a_gateway_that_is_silently_cut_off_is_replaced_in_twenty_seconds() {
    let (mut bench, mut one, mut two) = two_gateways();
    let device = bench.ready("ana");
    bench.granted(&device, &mut one, "wiki.demo");
    bench.beating.remove(&one.stream); // its connection stands, and says nothing
    bench.after(secs(17));
    assert!(bench.is_closed(one.stream));
    bench.gate_answers(&mut two);
    assert_eq!(two.leases.len(), 1);
    assert!(bench.frames(device.stream).iter().any(|frame| matches!(frame, ToDevice::Granted(_))));
}

#[test]
fn p5_6_a_lease_that_may_never_have_reached_its_gateway_is_offered_again() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", Synthetic::from_index(5));
    bench.outputs.clear(); // written down, and lost with the broker
    bench.restart();
    bench.connect(&mut device);
    bench.make_ready(&mut device);
    let granted = |frames: Vec<ToDevice>| frames.iter().any(|frame| matches!(frame, ToDevice::Granted(_)));
    assert!(!granted(bench.frames(device.stream)), "nobody knows whether the gateway holds it");
    bench.connect_gate(&mut gate);
    assert_eq!(gate.leases.len(), 1);
    assert!(granted(bench.frames(device.stream)));
}
