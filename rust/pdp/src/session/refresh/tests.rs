#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::admin::Op;
use ztna_api::dpop::Proof;
use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::{DenyReason, EndReason, minutes, secs};

use crate::rows::SessionState;
use crate::testing::{Bench, Device, Store, p256};
use crate::{ClaimKind, Input, Output, RequestId};

#[test]
fn p3_4_refresh_repeated_by_the_same_key_gets_the_same_answer() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let (old, key) = (device.tokens.refresh_token.clone(), &device.key);
    let next = bench.refresh(&old, key).unwrap();
    assert_ne!(next.refresh_token, old);
    bench.after(minutes(60)); // as long as the new pair is not used
    assert_eq!(bench.refresh(&old, key).unwrap(), next);
    let third = bench.refresh(&next.refresh_token, key).unwrap(); // the new pair is used
    bench.after(secs(29));
    assert_eq!(bench.refresh(&old, key).unwrap(), next);
    bench.after(secs(2));
    let refused = bench.refresh(&old, key).unwrap_err();
    assert_eq!(refused.reason, Some(DenyReason::SessionEnded));
    assert!(bench.refresh(&third.refresh_token, key).is_err(), "the whole session is over");
    let ended = SessionState::Ended { reason: EndReason::TokenReused, at: bench.now.wall };
    assert_eq!(bench.session(&device.tokens.sid).state, ended);
}

#[test]
fn p3_4_an_access_token_of_the_new_pair_counts_as_its_use() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    let old = device.tokens.refresh_token.clone();
    device.tokens = bench.refresh(&old, &device.key).unwrap();
    bench.connect(&mut device);
    bench.after(secs(31));
    assert!(bench.refresh(&old, &device.key).is_err());
    assert!(!bench.session(&device.tokens.sid).is_live());
}

#[test]
fn a06_a_spent_token_in_other_hands_ends_the_session_and_a_live_one_is_no_use_to_them() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let refused = bench.refresh(&device.tokens.refresh_token, &p256()).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::InvalidGrant);
    assert!(bench.session(&device.tokens.sid).is_live(), "whoever holds no key ends nothing");
    bench.refresh(&device.tokens.refresh_token, &device.key).unwrap();
    bench.refresh(&device.tokens.refresh_token, &p256()).unwrap_err();
    assert!(!bench.session(&device.tokens.sid).is_live());
}

/// One thing wrong with the proof of a live device, and the refusal that it must cause whatever is asked with it.
fn check_proof(name: &str, change: impl Fn(&mut Bench, &mut Proof), error: TokenErrorCode) {
    type Ask = fn(&mut Bench, &Device, Proof) -> Result<(), TokenError>;
    let refresh: Ask = |bench, device, proof| {
        let (request, token) = (RequestId(bench.number()), device.tokens.refresh_token.clone().into());
        bench.handle(Input::Refresh(crate::Refresh { request, proof, token }));
        bench.tokens(request).map(|_| ())
    };
    let stream: Ask = |bench, device, proof| {
        let (stream, token) = (crate::StreamId(bench.number()), device.tokens.access_token.clone().into());
        let address = "192.0.2.7".parse().unwrap();
        bench.handle(Input::DeviceOpened(crate::DeviceOpened { stream, proof, token, address }));
        let answer = bench.find(|output| match output {
            Output::Stream(answered, answer) if *answered == stream => Some(answer.clone()),
            _ => None,
        });
        answer.expect("an answer")
    };
    for (what, ask) in [("refresh", refresh), ("stream", stream)] {
        let (mut bench, _) = Bench::new();
        let device = bench.device("ana");
        let mut proof = bench.proof(&device.key);
        change(&mut bench, &mut proof);
        let refused = ask(&mut bench, &device, proof).expect_err(name);
        assert_eq!(refused.error, error, "{what}: {name}");
        assert!(bench.session(&device.tokens.sid).is_live(), "{what}: {name}: it costs the device nothing");
        let sound = bench.proof(&device.key);
        assert_eq!(ask(&mut bench, &device, sound.clone()), Ok(()), "{what}: {name}");
        let again = ask(&mut bench, &device, sound).expect_err("a proof used before");
        assert_eq!(again.error, TokenErrorCode::InvalidDpopProof, "{what}");
    }
}

#[test]
fn p3_4_p3_5_a07_refreshing_and_opening_a_stream_take_a_fresh_proof_that_nobody_used() {
    use TokenErrorCode::*;
    check_proof("no nonce", |_, proof| proof.nonce = None, UseDpopNonce);
    check_proof("a nonce of its own making", |_, proof| proof.nonce = Some("AAAA".into()), UseDpopNonce);
    let old = |bench: &mut Bench, proof: &mut Proof| {
        let nonces = crate::nonce::Nonces::new(&ztna_model::Secret::new([7; 32]), &crate::testing::org());
        let (purpose, then) = (crate::nonce::Purpose::Request, bench.now.wall - secs(301));
        proof.nonce = Some(nonces.seal(purpose, then, &mut crate::testing::Counter(9)));
    };
    check_proof("a nonce 301 s old", old, UseDpopNonce);
    let elsewhere = |bench: &mut Bench, proof: &mut Proof| {
        bench.claims.insert((ClaimKind::Jti, format!("{} {}", proof.jkt, proof.jti)));
    };
    check_proof("used at another broker", elsewhere, InvalidDpopProof);
}

#[test]
fn p3_4_a07_the_proof_for_an_answer_that_was_lost_is_good_once() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let token = device.tokens.refresh_token.clone();
    bench.refresh(&token, &device.key).unwrap();
    let proof = bench.proof(&device.key);
    let outcomes = [1_000_000, 1_000_001].map(|number| {
        let (request, proof, token) = (RequestId(number), proof.clone(), token.clone().into());
        bench.handle(Input::Refresh(crate::Refresh { request, proof, token }));
        bench.tokens(request).map_err(|refused| refused.error)
    });
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().err(), Some(&TokenErrorCode::InvalidDpopProof));
}

/// Ends the session of a device while something it has asked for is on its way to the store.
fn ended_meanwhile(ask: impl FnOnce(&mut Bench, &Device)) -> Bench {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    bench.store = Store::Slow;
    ask(&mut bench, &device);
    let end = RequestId(bench.number());
    let op = Op::SessionEnd { sid: device.tokens.sid };
    bench.handle(Input::Admin(crate::Admin { request: end, uid: 0, op }));
    bench.flush();
    assert!(!bench.session(&device.tokens.sid).is_live());
    bench.store = Store::Up;
    bench.after(minutes(1));
    assert!(bench.stored.tokens.is_empty(), "what was on its way is swept out");
    assert_eq!(bench.stored, *bench.pdp.rows());
    bench
}

#[test]
fn p3_4_what_ends_a_session_ends_what_it_was_about_to_get() {
    let renewal = RequestId(1_000_000);
    let mut bench = ended_meanwhile(|bench, device| {
        let (proof, token) = (bench.proof(&device.key), device.tokens.refresh_token.clone().into());
        bench.handle(Input::Refresh(crate::Refresh { request: renewal, proof, token }));
    });
    let refused = bench.tokens(renewal).expect_err("a renewal of what is over");
    assert_eq!(refused.reason, Some(DenyReason::SessionEnded));

    let stream = crate::StreamId(1_000_000);
    let bench = ended_meanwhile(|bench, device| {
        let (proof, token) = (bench.proof(&device.key), device.tokens.access_token.clone().into());
        let address = "192.0.2.7".parse().unwrap();
        bench.handle(Input::DeviceOpened(crate::DeviceOpened { stream, proof, token, address }));
    });
    let is_refused = |output: &Output| matches!(output, Output::Stream(to, Err(_)) if *to == stream);
    assert!(bench.outputs.iter().any(is_refused), "no stream for a session that is over");
}

#[test]
fn p3_4_two_brokers_rotate_a_token_once() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let hash = crate::rows::TokenHash::of(&device.tokens.refresh_token).to_string();
    bench.claims.insert((ClaimKind::Refresh, hash));
    let refused = bench.refresh(&device.tokens.refresh_token, &device.key).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::SlowDown);
    assert!(bench.session(&device.tokens.sid).is_live());
}

#[test]
fn p3_4_twelve_idle_hours_or_seven_days_end_a_session() {
    let refresh = |bench: &mut Bench, device: &mut Device| {
        let token = device.tokens.refresh_token.clone();
        device.tokens = bench.refresh(&token, &device.key).unwrap();
    };
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    bench.after(minutes(11 * 60));
    refresh(&mut bench, &mut device);
    bench.after(minutes(11 * 60));
    refresh(&mut bench, &mut device);
    bench.restart();
    bench.after(minutes(12 * 60) - secs(1));
    assert!(bench.session(&device.tokens.sid).is_live(), "it was heard of when it renewed");
    bench.after(secs(1));
    let state = bench.session(&device.tokens.sid).state;
    assert!(matches!(state, SessionState::Ended { reason: EndReason::Idle, .. }), "{state:?}");
    assert!(bench.refresh(&device.tokens.refresh_token, &device.key).is_err());

    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    for _ in 0..15 {
        bench.after(minutes(11 * 60));
        refresh(&mut bench, &mut device);
    }
    bench.after(minutes(4 * 60));
    let state = bench.stored.sessions.get(&device.tokens.sid).map(|session| session.state);
    assert!(matches!(state, Some(SessionState::Ended { reason: EndReason::Expired, .. })), "{state:?}");
}

#[test]
fn p3_4_tokens_are_kept_by_their_hashes_alone() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let next = bench.refresh(&device.tokens.refresh_token, &device.key).unwrap();
    let kept: String =
        bench.stored.tokens.values().map(|row| crate::rows::Row::from(row.clone()).document()).collect();
    for token in
        [&device.tokens.access_token, &device.tokens.refresh_token, &next.access_token, &next.refresh_token]
    {
        assert!(!kept.contains(token));
    }
    assert!(kept.contains("sealed"));
}

#[test]
fn p3_4_an_access_token_lives_five_minutes() {
    let (mut bench, _) = Bench::new();
    bench.after(secs(30)); // between two sweeps: it is its own age that ends it
    let device = bench.device("ana");
    bench.after(secs(299));
    assert!(bench.open(&device).is_ok());
    bench.after(secs(1));
    assert_eq!(bench.open(&device).unwrap_err().error, TokenErrorCode::InvalidToken);
}

#[test]
fn a07_a_stolen_access_token_opens_nothing_without_its_key() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.device("ana");
    device.key = p256();
    assert_eq!(bench.open(&device).unwrap_err().error, TokenErrorCode::InvalidToken);
}
