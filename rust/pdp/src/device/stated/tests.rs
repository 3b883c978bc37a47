#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::device::ToDevice;
use ztna_api::statement::{self, Body, Confirmed, Statement};
use ztna_model::{DenyReason, EndReason, FactKind, FactState, Tier, WgPublic, minutes, secs};

use crate::audit::Event;
use crate::rows::SessionState;
use crate::testing::{Bench, Device, Store, p256, person, reading};
use crate::{Alarm, ClaimKind, Input};

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
fn p2_4_facts_and_keys_stated_over_an_old_nonce_count_for_nothing() {
    for (after, counts) in [(minutes(5), true), (minutes(5) + secs(1), false)] {
        let (mut bench, _) = Bench::new();
        let mut device = bench.ready("ana");
        let (readings, wg_pub) = (vec![reading(FactKind::Tpm, true)], WgPublic([79; 32]));
        let facts = bench.statement(&mut device, Body::Facts { readings });
        let key = bench.statement(&mut device, Body::TunnelKey { wg_pub });
        bench.after(after);
        for statement in [facts, key] {
            bench.say(device.stream, ztna_api::device::Stated { statement });
        }
        assert_eq!(bench.device_row(&device.tokens.device).received.is_some(), counts, "{after:?}");
        let tunnel = bench.session(&device.tokens.sid).tunnel.clone();
        assert_eq!(tunnel.unwrap().wg_pub == wg_pub, counts, "{after:?}");
    }
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

    // In a session of another broker: nothing can be asked for under it here.
    let mut other = bench.device("ana");
    bench.admin(ztna_api::admin::Op::DeviceAdmit { device: other.tokens.device }).unwrap();
    bench.connect(&mut other);
    bench.claims.insert((ClaimKind::TunnelKey, other.tunnel.to_string()));
    bench.make_ready(&mut other);
    assert_eq!(bench.session(&other.tokens.sid).tunnel, None);
    assert_eq!(refusal(&mut bench, &other, "wiki.demo"), Some(DenyReason::DeviceUnproven));
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
fn p5_9_a_device_hears_of_its_grants_when_it_has_vouched_for_the_key_they_are_for() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    let lease = bench.granted(&device, &mut gate, "wiki.demo").lease;
    let told = |bench: &mut Bench, device: &Device| {
        let is_it =
            |frame: &ToDevice| matches!(frame, ToDevice::Granted(granted) if granted.grant.lease == lease);
        bench.frames(device.stream).iter().filter(|frame| is_it(frame)).count()
    };
    bench.handle(Input::DeviceClosed(device.stream)); // the network was away for a moment
    bench.connect(&mut device);
    assert_eq!(told(&mut bench, &device), 0, "which key it has by now is not known");
    bench.make_ready(&mut device);
    assert_eq!(told(&mut bench, &device), 1);
    let wg_pub = device.tunnel;
    bench.state(&mut device, Body::TunnelKey { wg_pub });
    assert_eq!(told(&mut bench, &device), 0, "it has heard");

    bench.handle(Input::DeviceClosed(device.stream)); // the process was started anew
    device.tunnel = bench.tunnel_key();
    bench.connect(&mut device);
    bench.state(&mut device, Body::Presence {});
    let unproven = Some(DenyReason::DeviceUnproven);
    assert_eq!(refusal(&mut bench, &device, "wiki.demo"), unproven, "nothing for the key of before");
    bench.make_ready(&mut device);
    assert_eq!(told(&mut bench, &device), 0, "it is over");
    bench.gate_answers(&mut gate);
    bench.granted(&device, &mut gate, "wiki.demo");
}

#[test]
fn p5_9_a_lease_that_is_offered_again_is_told_to_the_key_that_it_is_for() {
    for (name, same) in [("the same process", true), ("another one", false)] {
        let (mut bench, mut gate) = Bench::new();
        let mut device = bench.ready("ana");
        bench.granted(&device, &mut gate, "wiki.demo");
        bench.restart();
        bench.connect(&mut device);
        bench.connect_gate(&mut gate);
        let granted = |frames: Vec<ToDevice>| {
            frames.iter().filter(|frame| matches!(frame, ToDevice::Granted(_))).count()
        };
        assert_eq!(granted(bench.frames(device.stream)), 0, "{name}");
        if !same {
            device.tunnel = bench.tunnel_key();
        }
        bench.make_ready(&mut device);
        assert_eq!(granted(bench.frames(device.stream)), usize::from(same), "{name}");
    }
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
    let own = first.tokens.device;
    bench.state(&mut first, Body::Confirm { device: own, action: Confirmed::End });
    assert!(bench.device_row(&own).is_theirs(), "from another one, not by itself");
    bench.state(&mut first, Body::Confirm { device, action });
    assert!(bench.device_row(&device).is_admitted());
    assert!(bench.session(&second.tokens.sid).is_open());
    bench.state(&mut first, Body::Confirm { device, action: Confirmed::End });
    assert!(!bench.device_row(&device).is_theirs());
    assert!(matches!(
        bench.session(&second.tokens.sid).state,
        SessionState::Ended { reason: EndReason::EndedByOwner, .. }
    ));
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
