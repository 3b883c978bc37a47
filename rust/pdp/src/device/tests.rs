#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::device::{Mine, Notice, NoticeEvent, Resources, ToDevice};
use ztna_api::statement::Body;
use ztna_model::{EndReason, LinkId, SessionId, secs};

use crate::audit::Event;
use crate::input::StreamId;
use crate::rows::SessionState;
use crate::testing::{Bench, Device, Store, person};
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
fn p6_6_a_device_is_told_of_the_organisation_s_domain_names_and_of_changes_to_them() {
    let (mut bench, _) = Bench::new();
    let set = |bench: &mut Bench, suffix: &str| {
        bench.settings(|settings| settings.suffixes = vec![suffix.parse().unwrap()]);
    };
    set(&mut bench, "corp.example");
    let mut device = bench.device("ana");
    bench.connect(&mut device);
    let frames = bench.frames(device.stream);
    let Some(ToDevice::Resources(Resources { suffixes, .. })) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(suffixes.iter().map(|suffix| suffix.as_str()).collect::<Vec<_>>(), ["corp.example"]);
    set(&mut bench, "acme.example");
    let frames = bench.frames(device.stream);
    let changed = frames.iter().find_map(|frame| match frame {
        ToDevice::Changed(changed) => changed.suffixes.clone(),
        _ => None,
    });
    assert_eq!(changed, Some(vec!["acme.example".parse().unwrap()]));
    bench.settings(|settings| settings.title = "Acme II".into());
    assert!(!bench.frames(device.stream).iter().any(|frame| matches!(frame, ToDevice::Changed(_))));
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
