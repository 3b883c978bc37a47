use ztna_api::device::FromDevice;
use ztna_model::secs;

use super::desk::{Desk, granted};
use crate::Output;
use crate::state::State;

fn opens(desk: &mut Desk) -> bool {
    desk.took(|output| matches!(output, Output::OpenStream(_)))
}

#[test]
fn another_network_ends_the_wait_for_a_better_moment() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    for _ in 0..3 {
        desk.session.handle_stream_closed(false, desk.now);
        desk.pass(secs(5));
        assert!(opens(&mut desk));
    }
    desk.session.handle_stream_closed(false, desk.now);
    assert!(!opens(&mut desk), "it waits");
    desk.session.handle_network_changed(desk.now);
    assert!(opens(&mut desk), "and no longer");
}

#[test]
fn a_stream_that_was_being_opened_in_another_network_is_opened_anew() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.handle_stream_closed(false, desk.now);
    desk.pass(secs(2));
    assert!(opens(&mut desk));
    desk.session.handle_network_changed(desk.now);
    assert!(desk.took(|output| matches!(output, Output::CloseStream)) && opens(&mut desk));
}

#[test]
fn an_open_stream_shows_within_seconds_whether_it_still_is() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    desk.session.handle_network_changed(desk.now);
    assert!(desk.sent().iter().any(|frame| matches!(frame, FromDevice::NeedNonces(_))));
    desk.pass(secs(6));
    assert!(desk.took(|output| matches!(output, Output::CloseStream)));
    assert_eq!(*desk.session.state(), State::Reconnecting, "and what is granted goes on meanwhile");
}
