//! What a device gains rights by, and what takes them away again.

use ztna_api::device::{Changed, Nonces, Refused};
use ztna_model::{Decision, DenyReason, minutes, secs};
use ztna_proxy::Verdict;

use super::desk::{Desk, granted};
use super::position;
use crate::{Output, Plane};

fn nonces() -> Nonces {
    Nonces { nonces: vec!["fresh-1".into(), "fresh-2".into()] }
}

#[test]
fn p3_5_nothing_is_asked_for_unless_the_key_was_shown_lately() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.dial(1, "wiki.demo", 80);
    let request = desk.asked().expect("the key was shown on the way");
    desk.frame(Refused { request, decision: Decision::denied(DenyReason::GatewayAway) });
    desk.drain();
    desk.pass(minutes(4) - secs(1));
    desk.dial(2, "wiki.demo", 80);
    let request = desk.asked().expect("once is enough for four minutes");
    desk.frame(Refused { request, decision: Decision::denied(DenyReason::GatewayAway) });
    desk.drain();

    desk.pass(secs(1));
    desk.dial(3, "wiki.demo", 80);
    assert_eq!(desk.stated(), [""; 0], "nonces that came so long ago are not used");
    assert_eq!(desk.asked(), None);
    desk.frame(nonces());
    assert_eq!(desk.stated(), ["presence"]);
    assert!(desk.asked().is_some());
}

#[test]
fn p4_3_what_is_gone_is_as_if_it_had_never_been() {
    let mut desk = Desk::connected(vec![granted("wiki"), granted("blog")]);
    desk.grant_wiki();
    let gone = vec!["wiki".parse().unwrap()];
    desk.frame(Changed { position: position(2), visible: vec![], gone, suffixes: None });
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::End { .. }))));
    desk.dial(1, "wiki.demo", 80);
    assert_eq!(desk.dialled(1), Err(Verdict::NOT_FOUND));
    assert_eq!(desk.asked(), None);
}

#[test]
fn p5_9_under_a_new_key_everything_is_asked_for_anew() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    desk.pass(minutes(24 * 60));
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Key(_)))));
    desk.drain();
    desk.dial(1, "wiki.demo", 80);
    desk.frame(nonces());
    assert!(desk.asked().is_some(), "no gateway takes packets under the key before");
}

#[test]
fn p5_9_what_is_off_passes_nothing_and_comes_back_with_another_key() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.grant_wiki();
    desk.session.disconnect();
    let cleared = |output: &Output| matches!(output, Output::Plane(Plane::Clear(DenyReason::SignedOut)));
    assert!(desk.took(cleared), "flows end at once");
    assert!(desk.session.snapshot().grants.is_empty());
    desk.session.connect(desk.now);
    desk.open_and_welcome();
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::Key(_)))));
}

#[test]
fn p3_4_no_stream_is_opened_with_a_token_that_is_about_to_end() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    assert!(!desk.took(|output| matches!(output, Output::OpenStream(_))));
    desk.answer_renewal();
    assert!(desk.took(|output| matches!(output, Output::OpenStream(_))));
    desk.open_and_welcome();
    desk.session.handle_stream_closed(false, desk.now);
    desk.drain();
    desk.pass(minutes(5) - secs(10));
    assert!(!desk.took(|output| matches!(output, Output::OpenStream(_))), "it is renewed first");
}

#[test]
fn p3_5_what_is_on_disk_is_the_link_that_is_sent() {
    let mut desk = Desk::new();
    desk.session.connect(desk.now);
    desk.answer_renewal();
    let outputs = desk.drain();
    let opened = outputs.iter().position(|output| matches!(output, Output::OpenStream(_))).expect("opened");
    let saved = outputs[..opened].iter().rev().find_map(|output| match output {
        Output::Save(saved) => Some(saved.clone()),
        _ => None,
    });
    let kept = saved.expect("saved").into_account(desk.session.signer.clone()).links.next;
    assert_eq!(kept, Some(desk.hello().next));
}
