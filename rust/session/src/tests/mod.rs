//! A session against a broker that says what it is told to.

mod desk;
mod names;
mod networks;
mod rights;
mod roaming;

use proptest::prelude::*;
use ztna_api::device::{
    Changed, Ended, FromDevice, Granted, IsYours, Notice, NoticeEvent, Over, Position, Refused, Resources,
};
use ztna_auth::CallError;
use ztna_model::{
    Decision, DenyReason, DeviceId, EndReason, Fix, GatewayId, Incarnation, LeaseId, LinkId, secs,
};
use ztna_proxy::Verdict;

use crate::state::{State, Through};
use crate::{DialId, Output, Plane};
use desk::{Desk, denied, grant, granted};

#[test]
fn from_a_saved_account_to_connected() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    // The saved access token is over: it is renewed first.
    desk.answer_renewal();
    assert!(desk.took(|output| matches!(output, Output::OpenStream(_))));
    desk.open_and_welcome();
    assert_eq!(desk.session.state().name(), "checking device");
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Key(_)))));
    assert_eq!(desk.stated(), ["tunnel-key"]);
    assert!(desk.took(|output| matches!(output, Output::ReadSignals { broker_time: Some(_) })));
    desk.send_readings();
    assert_eq!(desk.stated(), ["facts"]);
    desk.judge(vec![granted("wiki"), denied("payroll")]);
    assert_eq!(desk.session.state(), &State::Connected);
}

#[test]
fn p5_4_p5_9_a_first_dial_asks_for_a_lease_and_the_next_does_not() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.dial(1, "wiki.demo", 80);
    assert_eq!(desk.stated(), ["presence"], "asking gains rights");
    let request = desk.asked().expect("a request");
    // A second dial meanwhile waits for the same answer.
    desk.dial(2, "wiki.demo", 80);
    assert_eq!(desk.asked(), None);
    let to = desk.synthetic("wiki.demo");
    desk.frame(Granted { request: Some(request), grant: grant("wiki", 1, &to) });
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Peer { .. }))));
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Allow(_)))));
    assert_eq!(desk.dialled(1).map(|to| to.port), Ok(80));
    assert_eq!(desk.dialled(2).map(|to| to.port), Ok(80));
    // Another port of the same grant is open already.
    desk.dial(3, "wiki.demo", 443);
    assert_eq!(desk.dialled(3).map(|to| to.port), Ok(443));
    assert_eq!(desk.asked(), None);
}

#[test]
fn p4_3_what_is_hidden_and_what_does_not_exist_are_refused_alike_and_nobody_is_asked() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    for (id, name) in [(1, "ledger.demo"), (2, "qzx7.demo"), (3, "wiki.demo.evil"), (4, "xwiki.demo")] {
        desk.dial(id, name, 80);
        assert_eq!(desk.dialled(id), Err(Verdict::NOT_FOUND), "{name}");
    }
    desk.dial(5, "wiki.demo", 22);
    assert_eq!(desk.dialled(5), Err(Verdict::NOT_FOUND), "another port is another application");
    assert_eq!(desk.asked(), None);
}

#[test]
fn p4_3_what_is_visible_but_denied_is_refused_with_reason_and_fix() {
    let mut desk = Desk::connected(vec![granted("wiki"), denied("payroll")]);
    desk.dial(1, "payroll.demo", 80);
    let (reason, fixes) = (DenyReason::DeviceUnfit, vec![Fix::AskAdministrator]);
    assert_eq!(desk.dialled(1), Err(Verdict::Denied { reason, fixes }));
    assert_eq!(desk.asked(), None);
}

#[test]
fn a_refusal_by_the_broker_reaches_the_application() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.dial(1, "wiki.demo", 80);
    let request = desk.asked().unwrap();
    desk.frame(Refused { request, decision: Decision::denied(DenyReason::GatewayAway) });
    assert_eq!(desk.dialled(1), Err(Verdict::denied(DenyReason::GatewayAway)));
}

#[test]
fn a_decision_that_turns_ends_its_lease_here_before_any_gateway_has_to() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    let visible = vec![denied("wiki")];
    desk.frame(Changed { position: position(2), visible, gone: vec![], suffixes: None });
    assert!(
        desk.took(|output| matches!(output, Output::Plane(Plane::End { reason: DenyReason::Revoked, .. })))
    );
    assert_eq!(desk.session.state().name(), "needs attention");
    desk.frame(Changed {
        position: position(3),
        visible: vec![granted("wiki")],
        gone: vec![],
        suffixes: None,
    });
    assert_eq!(desk.session.state(), &State::Connected);
}

#[test]
fn a_lease_that_is_over_is_asked_for_again() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    let lease = desk.grant_wiki();
    desk.frame(Over { lease, reason: DenyReason::Restarted });
    assert!(
        desk.took(|output| matches!(output, Output::Plane(Plane::End { reason: DenyReason::Restarted, .. })))
    );
    desk.dial(9, "wiki.demo", 80);
    assert!(desk.asked().is_some());
}

#[test]
fn p5_5_a_gateway_s_notice_is_believed_about_its_own_leases_alone() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    let lease = desk.grant_wiki();
    let (other, own): (GatewayId, GatewayId) = ("gw-2".parse().unwrap(), "gw-1".parse().unwrap());
    desk.session.handle_notice(&other, lease, DenyReason::Revoked);
    assert!(!desk.took(|output| matches!(output, Output::Plane(Plane::End { .. }))));
    desk.session.handle_notice(&own, LeaseId([9; 16]), DenyReason::Revoked);
    assert!(!desk.took(|output| matches!(output, Output::Plane(Plane::End { .. }))));
    desk.session.handle_notice(&own, lease, DenyReason::Revoked);
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::End { .. }))));
}

#[test]
fn p5_10_a_silent_gateway_is_avoided_by_the_next_request() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    let silent: GatewayId = "gw-1".parse().unwrap();
    desk.session.handle_gateway_silent(&silent);
    desk.dial(9, "wiki.demo", 80);
    let ask = desk.take_ask().expect("a request");
    assert_eq!(ask.avoid, Some(silent));
}

#[test]
fn p3_5_links_form_a_chain_and_a_retry_repeats_them() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    desk.answer_renewal();
    let first = desk.hello();
    assert_eq!(first.prev, None);
    // The stream breaks before the welcome: the same link again.
    desk.session.handle_stream_closed(false, desk.now);
    desk.wait();
    let again = desk.hello();
    assert_eq!((again.prev, again.next), (None, first.next));
    desk.welcome();
    desk.session.handle_stream_closed(false, desk.now);
    desk.wait();
    let second = desk.hello();
    assert_eq!(second.prev, Some(first.next));
    assert_ne!(second.next, first.next);
}

#[test]
fn p3_5_the_next_link_is_on_disk_before_it_is_sent() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    desk.answer_renewal();
    let outputs = desk.drain();
    let saved = outputs.iter().rposition(|output| matches!(output, Output::Save(_))).expect("saved");
    let opened = outputs.iter().position(|output| matches!(output, Output::OpenStream(_))).expect("opened");
    assert!(saved < opened);
}

#[test]
fn c05_p3_5_a_device_does_not_vouch_for_who_repeats_its_hello() {
    let mut desk = Desk::connected(vec![]);
    let welcomed = desk.last_link;
    for link in [welcomed, LinkId([7; 16])] {
        desk.frame(IsYours { next: link });
        let answer = desk.sent().into_iter().find_map(|frame| match frame {
            FromDevice::Mine(answer) => Some(answer),
            _ => None,
        });
        assert_eq!(answer.map(|answer| answer.mine), Some(false));
    }
}

#[test]
fn a_stream_that_does_not_answer_is_dead_and_the_dial_is_asked_again() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.dial(1, "wiki.demo", 80);
    assert!(desk.asked().is_some());
    desk.pass(secs(5));
    assert!(desk.took(|output| matches!(output, Output::CloseStream)));
    assert_eq!(desk.session.state().name(), "reconnecting");
    desk.wait();
    desk.reconnect(vec![granted("wiki")]);
    assert!(desk.asked().is_some(), "the application still waits");
}

#[test]
fn a_dial_does_not_wait_for_ever() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.handle_stream_closed(false, desk.now);
    desk.dial(1, "wiki.demo", 80);
    desk.pass(secs(10));
    assert_eq!(desk.dialled(1), Err(Verdict::denied(DenyReason::BrokerAway)));
}

#[test]
fn with_the_broker_away_what_is_granted_goes_on_until_leases_are_over() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    desk.session.handle_stream_closed(false, desk.now);
    desk.dial(7, "wiki.demo", 80);
    assert_eq!(desk.dialled(7).map(|to| to.port), Ok(80));
    desk.pass(secs(300));
    assert_eq!(desk.session.state(), &State::Unreachable);
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Clear(_)))));
    desk.dial(8, "wiki.demo", 80);
    assert_eq!(desk.dialled(8), Err(Verdict::denied(DenyReason::BrokerAway)));
}

#[test]
fn whoever_needs_the_stream_hastens_it() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.handle_stream_closed(false, desk.now);
    for _ in 0..12 {
        let at = desk.session.stream_wake().unwrap();
        desk.pass(at.since(desk.now));
        desk.answer_renewal();
        desk.session.handle_stream_closed(false, desk.now);
    }
    let patient = desk.session.stream_wake().unwrap().since(desk.now);
    assert!(patient >= secs(10), "{patient:?}");
    desk.dial(1, "wiki.demo", 80);
    let hasty = desk.session.stream_wake().unwrap().since(desk.now);
    assert!(hasty <= secs(1), "{hasty:?}");
}

#[test]
fn an_ended_session_leaves_nothing_behind() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    desk.frame(Ended { reason: EndReason::Cloned });
    assert_eq!(desk.session.state().name(), "signed out");
    assert!(desk.took(|output| matches!(output, Output::Erase)));
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Clear(_)))));
    assert!(desk.session.snapshot().grants.is_empty());
    desk.dial(8, "wiki.demo", 80);
    assert_eq!(desk.dialled(8), Err(Verdict::denied(DenyReason::SignedOut)));
    assert_eq!(desk.session.next_wake(), None);
}

#[test]
fn turning_the_tunnel_off_never_signs_out() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.disconnect();
    assert_eq!(desk.session.state(), &State::Off);
    assert!(!desk.took(|output| matches!(output, Output::Erase)));
    assert!(desk.session.snapshot().person.is_some());
    assert_eq!(desk.session.next_wake(), None, "nothing wakes a device that is off");
}

#[test]
fn p3_7_signing_out_works_offline() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.sign_out(desk.now);
    assert_eq!(desk.session.state().name(), "signed out");
    let told = desk.drain().into_iter().find_map(|output| match output {
        Output::Call { call, request } => Some((call, request.uri().path().to_owned())),
        _ => None,
    });
    let (call, path) = told.expect("the broker is told if it can be");
    assert_eq!(path, "/v1/sign-out");
    assert!(desk.session.is_taking_leave());
    desk.session.handle_answer(call, Err(CallError::Unreachable("gone".into())), desk.now);
    assert_eq!(desk.session.state().name(), "signed out");
    assert!(!desk.session.is_taking_leave());
}

#[test]
fn p3_7_the_broker_is_told_though_the_access_token_is_over() {
    let mut desk = Desk::new();
    desk.session.sign_out(desk.now);
    assert_eq!(desk.session.state().name(), "signed out");
    assert!(desk.took(|output| matches!(output, Output::Erase)));
    desk.answer_renewal();
    assert!(desk.session.is_taking_leave());
    assert!(!desk.took(|output| matches!(output, Output::Save(_))), "what was erased is not written again");
    assert_eq!(desk.session.state().name(), "signed out");
    assert!(desk.session.snapshot().sid.is_none());
}

#[test]
fn signing_out_while_the_browser_is_awaited_gives_the_sign_in_up() {
    let mut desk = Desk::new();
    desk.session.sign_out(desk.now);
    let org = ztna_model::OrgString { org: "https://acme.example".parse().unwrap(), root: None };
    desk.session.sign_in(org, "http://127.0.0.1:1/back".into(), None, desk.now);
    assert_eq!(desk.session.state(), &State::SigningIn);
    desk.session.sign_out(desk.now);
    assert_eq!(desk.session.state().name(), "signed out");
    let late = desk.session.handle_redirect("http://127.0.0.1:1/back?code=a&state=b", desk.now);
    assert!(late.is_err(), "what the browser brings afterwards is nobody's");
}

#[test]
fn p5_9_a_new_key_at_each_start_and_every_day() {
    let made = |desk: &mut Desk| desk.took(|output| matches!(output, Output::Plane(Plane::Key(_))));
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    desk.answer_renewal();
    desk.open_and_welcome();
    assert!(made(&mut desk), "each start has a key of its own");
    desk.pass(secs(24 * 60 * 60 - 1));
    assert!(!made(&mut desk));
    desk.drain();
    desk.pass(secs(1));
    assert!(made(&mut desk), "a stream that lives on does not keep it");
    assert!(desk.session.next_wake() > Some(desk.now));
    desk.session.handle_stream_closed(false, desk.now);
    desk.drain();
    desk.pass(secs(3 * 24 * 60 * 60));
    assert!(!made(&mut desk), "without a broker there is nobody to vouch for it to");
}

#[test]
fn facts_are_sent_again_at_half_their_age() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    assert_eq!(desk.session.next_wake(), Some(desk.now + secs(21_600)));
    desk.pass(secs(21_600));
    assert!(desk.took(|output| matches!(output, Output::ReadSignals { .. })));
}

#[test]
fn a_device_that_waits_shows_its_code_and_passes_nothing() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    desk.answer_renewal();
    desk.open();
    desk.frame(ztna_api::device::Waiting {
        approval: ztna_model::ApprovalId([1; 16]),
        code: "A1B2C3".into(),
    });
    assert_eq!(desk.session.state(), &State::AwaitingAdmission { code: "A1B2C3".into() });
    desk.dial(1, "wiki.demo", 80);
    assert_eq!(desk.dialled(1), Err(Verdict::denied(DenyReason::DeviceNotAdmitted)));
}

/// As the broker says it: welcome, wait, and one day all the rest.
#[test]
fn a_device_that_waits_after_its_welcome_is_connected_once_it_is_admitted() {
    let mut desk = Desk::connected(vec![]);
    desk.session.handle_stream_closed(false, desk.now);
    desk.wait();
    desk.open();
    desk.welcome();
    desk.dial(1, "wiki.demo", 80);
    desk.frame(ztna_api::device::Waiting {
        approval: ztna_model::ApprovalId([1; 16]),
        code: "A1B2C3".into(),
    });
    assert_eq!(desk.session.state(), &State::AwaitingAdmission { code: "A1B2C3".into() });
    assert_eq!(desk.dialled(1), Err(Verdict::denied(DenyReason::DeviceNotAdmitted)));
    desk.judge(vec![granted("wiki")]);
    assert_eq!(desk.session.state(), &State::Connected);
}

#[test]
fn the_person_is_told_of_other_devices() {
    let mut desk = Desk::connected(vec![]);
    let event =
        NoticeEvent::DeviceWaiting { device: DeviceId([5; 16]), name: "phone".into(), code: "XYZ123".into() };
    let notice = Notice { event };
    desk.frame(notice.clone());
    assert_eq!(desk.session.snapshot().notices, [notice]);
}

#[test]
fn g03_no_secret_is_printed() {
    let desk = Desk::connected(vec![granted("wiki")]);
    let printed = format!("{:?} {:?}", desk.session, desk.session.account);
    for secret in ["refresh-1", "refresh-2", "access-2", "idp-refresh"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

#[test]
fn what_is_saved_reads_back() {
    let desk = Desk::connected(vec![]);
    let saved = crate::Saved::of(desk.session.account.as_ref().unwrap());
    assert_eq!(crate::Saved::read(&saved.write()).unwrap(), saved);
    assert!(crate::Saved::read(&"{}".to_owned().into()).is_err());
}

fn position(sequence: u64) -> Position {
    Position { incarnation: Incarnation([1; 16]), sequence }
}

/// Anything that can happen to a connected session.
#[derive(Clone, Debug)]
enum Anything {
    Dial(u8),
    Closed(bool),
    Opened,
    Welcomed,
    Judged(bool),
    Granted,
    Over,
    Ended,
    Refused,
    Passed(u16),
    Connect,
    Disconnect,
    SignOut,
    Answered,
}

fn anything() -> impl Strategy<Value = Anything> {
    use Anything as A;
    prop_oneof![
        (0..3u8).prop_map(A::Dial),
        any::<bool>().prop_map(A::Closed),
        Just(A::Opened),
        Just(A::Welcomed),
        any::<bool>().prop_map(A::Judged),
        Just(A::Granted),
        Just(A::Over),
        Just(A::Ended),
        Just(A::Refused),
        (0..400u16).prop_map(A::Passed),
        Just(A::Connect),
        Just(A::Disconnect),
        Just(A::SignOut),
        Just(A::Answered),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an application is let through only in states that let through, every dial
    /// is answered at most once, and the session never wants to be woken at once for nothing.
    #[test]
    fn whatever_happens_nothing_passes_that_should_not(steps in prop::collection::vec(anything(), 0..40)) {
        let mut desk = Desk::connected(vec![granted("wiki"), denied("payroll")]);
        let (mut dials, mut answered) = (100, Vec::new());
        for step in steps {
            match step {
                Anything::Dial(which) => {
                    dials += 1;
                    desk.dial(dials, ["wiki.demo", "payroll.demo", "ledger.demo"][usize::from(which)], 80);
                }
                Anything::Closed(refused) => desk.session.handle_stream_closed(refused, desk.now),
                Anything::Opened => desk.session.handle_stream_opened(desk.now),
                Anything::Welcomed => desk.welcome(),
                Anything::Judged(all) => {
                    let wiki = if all { denied("wiki") } else { granted("wiki") };
                    let visible = vec![wiki, denied("payroll")];
                    desk.frame(Resources { position: position(5), suffixes: vec![], visible });
                    desk.grade();
                }
                Anything::Granted => {
                    let to = desk.synthetic("wiki.demo");
                    desk.frame(Granted { request: None, grant: grant("wiki", 1, &to) });
                }
                Anything::Over => desk.frame(Over { lease: LeaseId([1; 16]), reason: DenyReason::Revoked }),
                Anything::Ended => desk.frame(Ended { reason: EndReason::Administrator }),
                Anything::Refused => {
                    desk.frame(Refused { request: 1, decision: Decision::denied(DenyReason::NotEntitled) });
                }
                Anything::Passed(seconds) => desk.pass(secs(u64::from(seconds))),
                Anything::Connect => desk.session.connect(desk.now),
                Anything::Disconnect => desk.session.disconnect(),
                Anything::SignOut => desk.session.sign_out(desk.now),
                Anything::Answered => desk.answer_renewal(),
            }
            for output in desk.drain() {
                if let Output::Dialled { dial: DialId(id), answer } = output {
                    prop_assert!(!answered.contains(&id), "dial {id} was answered twice");
                    answered.push(id);
                    let through = desk.session.state().lets_through();
                    prop_assert!(answer.is_err() || through == Through::Granted, "{through:?}");
                }
            }
            prop_assert!(desk.session.next_wake().is_none_or(|at| at > desk.now));
        }
    }
}
