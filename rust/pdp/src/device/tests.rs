#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::device::{Mine, Notice, NoticeEvent, Resources, ToDevice};
use ztna_api::statement::{self, Body, Confirmed, Statement};
use ztna_model::{
    DenyReason, EndReason, FactKind, FactState, LinkId, SessionId, Tier, WgPublic, minutes, secs,
};

use crate::audit::Event;
use crate::input::StreamId;
use crate::rows::SessionState;
use crate::testing::{Bench, Device, Store, p256, person, reading};
use crate::{Alarm, ClaimKind, Input, Output};

fn link(n: u8) -> LinkId {
    LinkId([n; 16])
}

fn is_over(bench: &Bench, device: &Device, why: EndReason) -> bool {
    let state = bench.session(&device.tokens.sid).state;
    matches!(state, SessionState::Ended { reason, .. } if reason == why)
}

fn welcomed(bench: &mut Bench, stream: StreamId) -> bool {
    bench.frames(stream).iter().any(|frame| matches!(frame, ToDevice::Welcome(_)))
}

#[test]
fn p3_5_the_full_state_comes_first() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    let frames = bench.frames(device.stream);
    let kinds: Vec<&str> = frames.iter().map(ToDevice::kind).collect();
    assert_eq!(kinds, ["welcome", "facts-please", "resources"], "nothing is graded before anything is known");
    let Some(ToDevice::Resources(Resources { visible, .. })) = frames.last() else { panic!("{frames:?}") };
    let names: Vec<String> = visible.iter().map(|one| one.resource.to_string()).collect();
    assert_eq!(names, ["payroll", "wiki"], "the ledger is hidden");
}

#[test]
fn p3_2_a_device_is_told_by_when_its_person_has_to_sign_in() {
    for (idp_seen_s, session_s, expected) in [(86_400, 7 * 86_400, 86_400), (86_400, 3_600, 3_600)] {
        let (mut bench, _) = Bench::new();
        bench.settings(|all| (all.idp_seen_max_s, all.session_s) = (idp_seen_s, session_s));
        let mut device = bench.device("ana");
        bench.connect(&mut device);
        let welcome = bench.frames(device.stream).into_iter().find_map(|frame| match frame {
            ToDevice::Welcome(welcome) => Some(welcome),
            _ => None,
        });
        assert_eq!(welcome.map(|welcome| welcome.sign_in_by), Some(bench.now.wall + secs(expected)));
    }
}

#[test]
fn p3_5_a_stream_says_hello_first_and_soon() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    let stream = bench.open(&device).unwrap();
    bench.after(secs(11));
    assert!(bench.is_closed(stream));
    let stream = bench.open(&device).unwrap();
    bench.say(stream, ztna_api::device::Stated { statement: "x".into() });
    assert!(bench.is_closed(stream));
    device.stream = bench.open(&device).unwrap();
    assert_eq!(bench.ask(&device, "wiki.demo"), None, "nothing is answered before it");
    assert!(bench.is_closed(device.stream));
}

#[test]
fn p3_5_the_next_stream_is_handed_over_when_the_current_one_says_so() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    let (before, prev) = (device.stream, device.link);
    let stream = bench.open(&device).unwrap();
    bench.hello(stream, prev, link(2));
    let asked = bench.frames(before);
    assert!(asked.iter().any(|frame| matches!(frame, ToDevice::IsYours(asked) if asked.next == link(2))));
    assert!(!welcomed(&mut bench, stream), "it waits for the answer");
    bench.say(before, Mine { next: link(2), mine: true });
    assert!(bench.is_closed(before));
    assert!(welcomed(&mut bench, stream));
    (device.stream, device.link) = (stream, Some(link(2)));
    bench.state(&mut device, Body::Presence {});
    assert!(bench.session(&device.tokens.sid).is_live());
}

#[test]
fn p3_5_only_the_current_stream_speaks_for_a_link_and_only_for_the_one_it_was_asked_about() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let (current, prev) = (device.stream, device.link);
    let claimant = bench.open(&device).unwrap();
    let bystander = bench.open(&device).unwrap();
    bench.hello(claimant, prev, link(2));
    for from in [claimant, bystander] {
        bench.say(from, Mine { next: link(2), mine: true });
        bench.say(from, Mine { next: link(2), mine: false });
    }
    bench.say(current, Mine { next: link(3), mine: true });
    bench.say(current, Mine { next: link(3), mine: false });
    assert!(!welcomed(&mut bench, claimant) && !bench.is_closed(current));
    assert!(bench.session(&device.tokens.sid).is_live());
    bench.say(current, Mine { next: link(2), mine: true });
    assert!(welcomed(&mut bench, claimant));
}

#[test]
fn p3_5_p7_a_hello_that_is_out_of_place_closes_its_stream_and_nothing_else() {
    use ztna_api::device::Hello;
    use ztna_api::discovery::Versions;
    let good = |prev| Hello {
        org: crate::testing::org(),
        versions: Versions::OURS,
        prev,
        next: link(2),
        software: String::new(),
        platform: String::new(),
    };
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    let elsewhere = Hello { org: "https://other.example".parse().unwrap(), ..good(None) };
    let above = Versions { min: Versions::OURS.max + 1, max: Versions::OURS.max + 9 };
    let stranger = Hello { versions: above, ..good(None) };
    for (name, hello) in [("to another organisation", elsewhere), ("in another language", stranger)] {
        let stream = bench.open(&device).unwrap();
        bench.say(stream, hello);
        assert!(bench.is_closed(stream), "{name}");
        assert!(bench.session(&device.tokens.sid).is_live(), "{name}");
    }
    bench.connect(&mut device);
    bench.say(device.stream, good(device.link));
    assert!(bench.is_closed(device.stream), "a second one");
    assert!(bench.session(&device.tokens.sid).is_live());
    assert_eq!(bench.session(&device.tokens.sid).links.map(|links| links.current), device.link);
}

#[test]
fn p3_5_a_stream_that_is_silent_for_five_seconds_is_replaced() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let stream = bench.open(&device).unwrap();
    bench.hello(stream, device.link, link(2));
    bench.after(secs(4));
    assert!(!welcomed(&mut bench, stream));
    bench.after(secs(1));
    assert!(bench.is_closed(device.stream));
    assert!(welcomed(&mut bench, stream));
}

#[test]
fn p3_5_a_stream_found_dead_is_replaced_at_once() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let stream = bench.open(&device).unwrap();
    bench.hello(stream, device.link, link(2));
    bench.handle(Input::DeviceClosed(device.stream));
    assert!(welcomed(&mut bench, stream));
}

#[test]
fn c05_p3_5_a_thief_is_seen_while_the_device_is_awake() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let other = bench.ready("ana");
    bench.admin(ztna_api::admin::Op::DeviceAdmit { device: other.tokens.device }).unwrap();
    bench.outputs.clear();
    let stream = bench.open(&device).unwrap(); // with the stolen key
    bench.hello(stream, device.link, link(66));
    bench.say(device.stream, Mine { next: link(66), mine: false });
    assert!(is_over(&bench, &device, EndReason::Cloned));
    for stream in [stream, device.stream] {
        let frames = bench.frames(stream);
        assert!(
            frames
                .iter()
                .any(|frame| matches!(frame, ToDevice::Ended(ended) if ended.reason == EndReason::Cloned))
        );
        assert!(bench.is_closed(stream));
    }
    let told = bench.frames(other.stream);
    let told_of = |frame: &ToDevice| {
        matches!(frame, ToDevice::Notice(Notice { event: NoticeEvent::DeviceCloned { .. } }))
    };
    assert!(told.iter().any(told_of), "{told:?}");
    assert!(bench.alarms.contains(&Alarm::Cloned { sid: device.tokens.sid }));
    assert_eq!(bench.stored.people[&person("ana")].not_before, bench.now.wall);
    let ended = |event: &&Event| matches!(event, Event::SessionEnded { reason: EndReason::Cloned, .. });
    assert_eq!(bench.events().into_iter().filter(ended).count(), 1);
}

#[test]
fn c05_p3_5_a_thief_who_repeats_the_device_s_own_hello_is_seen() {
    for asleep in [false, true] {
        let (mut bench, _) = Bench::new();
        let device = bench.ready("ana"); // on its first stream, whose hello follows none
        if asleep {
            bench.handle(Input::DeviceClosed(device.stream));
        }
        let stream = bench.open(&device).unwrap(); // with the stolen key
        bench.hello(stream, None, device.link.unwrap());
        assert!(is_over(&bench, &device, EndReason::Cloned), "asleep: {asleep}");
    }
}

#[test]
fn c05_p3_5_a_thief_is_seen_when_a_sleeping_device_wakes() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    let slept_on = device.link;
    bench.handle(Input::DeviceClosed(device.stream)); // it sleeps
    bench.connect(&mut device); // the thief follows the chain, with the stolen key
    assert!(bench.session(&device.tokens.sid).is_live());
    let stream = bench.open(&device).unwrap(); // the device wakes and follows the link that it knows
    bench.hello(stream, slept_on, link(3));
    assert!(is_over(&bench, &device, EndReason::Cloned));
}

#[test]
fn p3_5_two_claimants_with_different_links_are_two_devices() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let (one, two) = (bench.open(&device).unwrap(), bench.open(&device).unwrap());
    bench.hello(one, device.link, link(2));
    bench.hello(two, device.link, link(3));
    assert!(is_over(&bench, &device, EndReason::Cloned));
}

#[test]
fn p3_5_a_hello_may_be_repeated_on_a_fresh_connection() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let (one, two) = (bench.open(&device).unwrap(), bench.open(&device).unwrap());
    bench.hello(one, device.link, link(2));
    bench.hello(two, device.link, link(2));
    assert!(bench.is_closed(one));
    bench.say(device.stream, Mine { next: link(2), mine: true });
    assert!(welcomed(&mut bench, two));
    // The welcome was lost, too: the same hello once more.
    bench.handle(Input::DeviceClosed(two));
    let three = bench.open(&device).unwrap();
    bench.hello(three, device.link, link(2));
    assert!(welcomed(&mut bench, three));
}

#[test]
fn c05_p3_5_another_broker_that_gave_a_successor_exposes_a_clone() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    bench.handle(Input::DeviceClosed(device.stream));
    let id = format!("{} {}", device.tokens.sid, device.link.unwrap());
    bench.claims.insert((ClaimKind::Link, id));
    let stream = bench.open(&device).unwrap();
    bench.hello(stream, device.link, link(2));
    assert!(is_over(&bench, &device, EndReason::Cloned));
}

#[test]
fn p3_5_a_chain_outlives_the_broker() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    let known = device.link;
    bench.restart();
    bench.connect(&mut device);
    assert!(bench.session(&device.tokens.sid).is_live());
    bench.restart();
    let stream = bench.open(&device).unwrap();
    bench.hello(stream, known, link(9));
    assert!(is_over(&bench, &device, EndReason::Cloned));
}

#[test]
fn p3_5_a_session_has_few_streams_at_once() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    for _ in 0..4 {
        bench.open(&device).unwrap();
    }
    assert!(bench.open(&device).is_err());
}

fn refusal(bench: &mut Bench, device: &Device, name: &str) -> Option<DenyReason> {
    match bench.ask(device, name)? {
        ToDevice::Refused(refused) => Some(crate::decide::reason_of(&refused.decision)),
        _ => None,
    }
}

#[test]
fn p3_5_nothing_is_gained_without_a_presence_of_five_minutes() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    let unproven = Some(DenyReason::DeviceUnproven);
    assert_eq!(refusal(&mut bench, &device, "wiki.demo"), unproven, "neither presence nor tunnel key");
    bench.make_ready(&mut device);
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.after(minutes(5));
    bench.granted(&device, &mut gate, "wiki.demo");
    bench.after(secs(1));
    assert_eq!(refusal(&mut bench, &device, "wiki.demo"), unproven);
    bench.read_nonces(&mut device); // which came with the refusal
    bench.state(&mut device, Body::Presence {});
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p3_5_a_presence_is_as_old_as_the_nonce_that_it_was_made_over() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    let text = bench.statement(&mut device, Body::Presence {});
    bench.after(minutes(4));
    bench.say(device.stream, ztna_api::device::Stated { statement: text });
    assert!(bench.pdp.is_present(device.stream));
    bench.after(minutes(1));
    assert!(bench.pdp.is_present(device.stream));
    bench.after(secs(1));
    assert!(!bench.pdp.is_present(device.stream), "when it was said is the sender's choice");
}

#[test]
fn p2_4_a_statement_is_good_once_on_its_own_stream_and_for_five_minutes() {
    let is_present = |bench: &Bench, device: &Device| bench.pdp.is_present(device.stream);
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    let text = bench.statement(&mut device, Body::Presence {});
    bench.say(device.stream, ztna_api::device::Stated { statement: text.clone() });
    assert!(is_present(&bench, &device));

    // Again, after a while: the nonce is used.
    bench.after(minutes(5) + secs(1));
    bench.say(device.stream, ztna_api::device::Stated { statement: text });
    assert!(!is_present(&bench, &device));

    // Five minutes late.
    let mut other = bench.device("bo");
    bench.connect(&mut other);
    let late = bench.statement(&mut other, Body::Presence {});
    bench.after(minutes(5) + secs(1));
    bench.say(other.stream, ztna_api::device::Stated { statement: late });
    assert!(!is_present(&bench, &other));

    // On another stream of the same session.
    bench.say(device.stream, ztna_api::device::NeedNonces { count: 8 });
    device.nonces.clear();
    let text = bench.statement(&mut device, Body::Presence {});
    bench.handle(Input::DeviceClosed(device.stream));
    device.tokens = bench.refresh(&device.tokens.refresh_token.clone(), &device.key).unwrap();
    bench.connect(&mut device);
    bench.say(device.stream, ztna_api::device::Stated { statement: text });
    assert!(!is_present(&bench, &device));

    // Signed by another key.
    let nonce = device.nonces.pop().unwrap();
    let statement =
        Statement { org: crate::testing::org(), sid: device.tokens.sid, nonce, body: Body::Presence {} };
    let forged = statement::sign(&p256(), &statement).unwrap();
    bench.say(device.stream, ztna_api::device::Stated { statement: forged });
    assert!(!is_present(&bench, &device));

    // The nonce was used at another broker.
    let text = bench.statement(&mut device, Body::Presence {});
    let claimed = ztna_api::jws::Unverified::parse(&text, "openztna-device+jws", &[]).unwrap();
    let claimed: Statement = claimed.verify(&ztna_model::Signer::public_key(&device.key)).unwrap();
    bench.claims.insert((ClaimKind::Nonce, claimed.nonce));
    bench.say(device.stream, ztna_api::device::Stated { statement: text });
    assert!(!is_present(&bench, &device));
}

#[test]
fn p5_2_a_tunnel_key_lives_in_one_session() {
    let (mut bench, _) = Bench::new();
    let (mut ana, mut bo) = (bench.ready("ana"), bench.ready("bo"));
    let wg_pub = WgPublic([77; 32]);
    bench.state(&mut ana, Body::TunnelKey { wg_pub });
    assert_eq!(bench.session(&ana.tokens.sid).tunnel.as_ref().unwrap().wg_pub, wg_pub);
    let before = bench.session(&bo.tokens.sid).tunnel.clone();
    bench.state(&mut bo, Body::TunnelKey { wg_pub });
    assert_eq!(bench.session(&bo.tokens.sid).tunnel, before);
}

#[test]
fn p2_4_a_new_tunnel_key_ends_the_leases_of_the_one_before() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    bench.state(&mut device, Body::TunnelKey { wg_pub: WgPublic([78; 32]) });
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
    let over = |frame: &ToDevice| matches!(frame, ToDevice::Over(over) if over.lease == lease);
    assert!(bench.frames(device.stream).iter().any(over));
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p4_4_d01_what_a_scripted_client_says_of_itself_is_tier_zero() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    let received = bench.device_row(&device.tokens.device).received.clone().unwrap();
    assert_eq!(received.tier, Tier::Unproven);
    let stated = bench.events().into_iter().any(|event| {
        matches!(event, Event::FactsReceived { facts, .. } if facts.iter().all(|(_, _, tier)| *tier == Tier::Unproven))
    });
    assert!(stated);
    // An organisation that asks for proven apps, which is the default, counts none of it.
    let Ok(ztna_api::admin::Answer::Settings { settings }) = bench.admin(ztna_api::admin::Op::Settings {})
    else {
        panic!("no settings")
    };
    let settings = ztna_api::admin::Settings { requirements: serde_json::Map::new(), ..settings };
    bench.admin(ztna_api::admin::Op::SettingsPut { settings }).unwrap();
    let facts = bench.pdp.facts_at(&device.tokens.device, bench.now.wall);
    assert!(facts.iter().all(|fact| fact.state == FactState::Unknown));
}

#[test]
fn p4_1_facts_age_from_the_nonce_of_their_statement() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    bench.say(device.stream, ztna_api::device::NeedNonces { count: 1 });
    let sealed = bench.now.wall;
    let readings = vec![reading(FactKind::Tpm, true)];
    let text = bench.statement(&mut device, Body::Facts { readings });
    bench.after(minutes(4));
    bench.say(device.stream, ztna_api::device::Stated { statement: text });
    let received = bench.device_row(&device.tokens.device).received.clone().unwrap();
    assert_eq!(received.as_of, sealed);
    let state = |bench: &Bench| {
        let facts = bench.pdp.facts_at(&device.tokens.device, bench.now.wall);
        facts.iter().find(|fact| fact.kind == FactKind::Tpm).unwrap().state
    };
    bench.after(minutes(12 * 60) - minutes(4) - secs(1));
    assert_eq!(state(&bench), FactState::Pass);
    bench.after(secs(1));
    assert_eq!(state(&bench), FactState::Unknown);
}

#[test]
fn p8_facts_that_got_worse_count_even_when_the_store_is_down() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    bench.granted(&device, &mut gate, "payroll.demo");
    bench.say(device.stream, ztna_api::device::NeedNonces { count: 8 });
    bench.store = Store::Down;
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
    assert!(bench.alarms.contains(&Alarm::NotDurable));
    // What got better does not: it would be a grant that nobody wrote down.
    bench.facts(&mut device, &[]);
    assert_eq!(refusal(&mut bench, &device, "payroll.demo"), Some(DenyReason::DeviceUnfit));
    bench.store = Store::Up;
    bench.after(secs(3));
    assert_eq!(bench.stored, *bench.pdp.rows(), "written down as soon as the store is back");
    assert!(bench.alarms.contains(&Alarm::StoreBack));
}

#[test]
fn p2_2_p2_3_a_person_admits_and_ends_devices_from_another_one() {
    let (mut bench, _) = Bench::new();
    let mut first = bench.ready("ana");
    let mut second = bench.device("ana");
    bench.connect(&mut second);
    let (device, action) = (second.tokens.device, Confirmed::Admit);
    bench.state(&mut second, Body::Confirm { device, action });
    assert!(!bench.device_row(&device).is_admitted(), "not itself");
    let mut bo = bench.ready("bo");
    bench.state(&mut bo, Body::Confirm { device, action });
    assert!(!bench.device_row(&device).is_admitted(), "nor somebody else's");
    let mut third = bench.device("ana");
    bench.connect(&mut third);
    bench.state(&mut third, Body::Confirm { device, action });
    assert!(!bench.device_row(&device).is_admitted(), "nor two that wait each other");
    bench.state(&mut third, Body::Confirm { device: first.tokens.device, action: Confirmed::End });
    assert!(bench.device_row(&first.tokens.device).is_theirs(), "who waits ends nobody");
    bench.state(&mut first, Body::Confirm { device, action });
    assert!(bench.device_row(&device).is_admitted());
    assert!(bench.session(&second.tokens.sid).is_open());
    bench.state(&mut first, Body::Confirm { device, action: Confirmed::End });
    assert!(!bench.device_row(&device).is_theirs());
    assert!(is_over(&bench, &second, EndReason::EndedByOwner));
    assert!(bench.session(&first.tokens.sid).is_live());
}

#[test]
fn c05_a_device_under_a_hold_brings_no_other_one_in_and_ends_none() {
    use ztna_api::admin::HoldTarget;
    for nth in 0..3 {
        let (mut bench, _) = Bench::new();
        let mut first = bench.ready("ana");
        let target = match nth {
            0 => HoldTarget::Device(first.tokens.device),
            1 => HoldTarget::Session(first.tokens.sid),
            _ => HoldTarget::Person(person("ana")),
        };
        let mut second = bench.device("ana"); // a new key on the stolen machine, say
        bench.connect(&mut second);
        bench.hold(target);
        let device = second.tokens.device;
        for action in [Confirmed::Admit, Confirmed::End] {
            bench.state(&mut first, Body::Confirm { device, action });
        }
        let state = &bench.device_row(&device).state;
        assert!(matches!(state, crate::rows::DeviceState::Waiting { .. }), "{nth}: {state:?}");
    }
}

#[test]
fn p3_7_a_session_that_ends_says_so_and_closes() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    bench.admin(ztna_api::admin::Op::SessionEnd { sid: device.tokens.sid }).unwrap();
    let frames = bench.frames(device.stream);
    assert!(
        matches!(frames.last(), Some(ToDevice::Ended(ended)) if ended.reason == EndReason::Administrator)
    );
    assert!(bench.is_closed(device.stream));
    assert_eq!(bench.stored.people[&person("ana")].not_before, bench.now.wall);
}

#[test]
fn frames_of_one_person_keep_their_order_while_the_store_is_slow() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    bench.store = Store::Slow;
    bench.make_ready(&mut device); // presence and tunnel key are on their way
    let request = bench.number();
    bench.ask_as(&device, request, "wiki.demo", ztna_model::Synthetic::from_index(5));
    assert_eq!(bench.answer(device.stream, request), None);
    bench.flush();
    bench.gate_answers(&mut gate);
    assert!(matches!(bench.answer(device.stream, request), Some(ToDevice::Granted(_))));
}

#[test]
fn a_frame_on_an_unknown_stream_is_nobody_s() {
    let (mut bench, _) = Bench::new();
    bench.say(StreamId(999), Mine { next: link(1), mine: true });
    assert!(!bench.outputs.iter().any(|output| matches!(output, Output::ToDevice(..))));
    assert!(!bench.stored.sessions.contains_key(&SessionId([1; 16])));
}

#[test]
fn p3_5_a_floor_while_a_hello_is_on_its_way_makes_no_clone_of_the_device() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    bench.handle(Input::DeviceClosed(device.stream));
    let stream = bench.open(&device).unwrap();
    bench.store = Store::Slow;
    bench.hello(stream, device.link, link(2));
    let op = ztna_api::admin::Op::HoldPlace {
        target: ztna_api::admin::HoldTarget::Session(device.tokens.sid),
        reason: "x".into(),
        until: None,
    };
    bench.handle(Input::Admin(crate::Admin { request: crate::RequestId(9_999), uid: 0, op }));
    bench.flush();
    bench.store = Store::Up;
    assert!(welcomed(&mut bench, stream));
    assert_eq!(bench.stored, *bench.pdp.rows());
    bench.handle(Input::DeviceClosed(stream));
    device.link = Some(link(2));
    bench.connect(&mut device);
    assert!(bench.session(&device.tokens.sid).is_live());
}
