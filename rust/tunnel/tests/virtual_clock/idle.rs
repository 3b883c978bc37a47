use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use ztna_model::{Time, millis, minutes, secs};
use ztna_tunnel::{Encapsulated, Wake, WakeReason};

use crate::pair::{Kind, Pair, START, Side, packet};

use Kind::{Data, Initiation, Keepalive, Response};
use Side::{Client, Gateway};
use WakeReason::{GivingUp, MissingAnswer, Retransmission};

fn wakes(pair: &Pair, since: Time) -> Vec<(u64, WakeReason)> {
    let all = pair.client.wakes.iter().chain(&pair.gateway.wakes);
    all.filter(|(at, _)| *at >= since).map(|(at, why)| (at.since(since).as_millis() as u64, *why)).collect()
}

#[test]
fn an_idle_tunnel_needs_no_clock_and_sends_nothing() {
    let mut pair = Pair::new();
    assert_eq!(pair.next(), None);
    pair.send(Client, &packet(64)).unwrap();
    pair.run(minutes(1));
    pair.sent.clear();
    for _ in 0..24 {
        assert_eq!(pair.next(), None);
        pair.run(minutes(60));
    }
    assert!(pair.sent.is_empty());
}

#[test]
fn the_tunnel_says_when_and_why() {
    let mut pair = Pair::connected();
    assert_eq!(pair.client.tunnel.next_wake(), None);
    pair.send(Client, &packet(64)).unwrap();
    let expected = Wake { at: pair.now + secs(15), peer: pair.client.peer, why: MissingAnswer };
    assert_eq!(pair.client.tunnel.next_wake(), Some(expected));
    pair.run(millis(20));
    let expected = Wake { at: pair.now + secs(10), peer: pair.gateway.peer, why: WakeReason::Keepalive };
    assert_eq!(pair.gateway.tunnel.next_wake(), Some(expected));
    pair.gateway.tunnel.remove_peer(pair.gateway.peer);
    assert_eq!(pair.gateway.tunnel.next_wake(), None);
}

#[test]
fn with_an_answering_peer_nothing_wakes_after_15_seconds() {
    for (exchange, expected) in [
        (&[Client][..], &[(10_020, WakeReason::Keepalive)][..]),
        (&[Client, Gateway], &[(10_040, WakeReason::Keepalive)]),
        (&[Gateway], &[(10_020, WakeReason::Keepalive)]),
        (&[Client, Gateway, Client], &[(10_060, WakeReason::Keepalive)]),
    ] {
        let mut pair = Pair::connected();
        pair.run(secs(20));
        let start = pair.now;
        for side in exchange {
            pair.send(*side, &packet(64)).unwrap();
            pair.run(millis(20));
        }
        pair.run(minutes(60));
        assert_eq!(wakes(&pair, start), *expected, "{exchange:?}");
    }
}

#[test]
fn without_an_answer_nothing_wakes_after_90_seconds() {
    let mut pair = Pair::connected();
    pair.run(secs(20));
    pair.lose(|sent| sent.by == Client);
    let start = pair.now;
    pair.send(Client, &packet(64)).unwrap();
    pair.run(minutes(60));
    let mut expected = vec![(15_000, MissingAnswer)];
    expected.extend((20..90).step_by(5).map(|second| (second * 1_000, Retransmission)));
    expected.push((90_000, GivingUp));
    assert_eq!(wakes(&pair, start), expected);
    assert_eq!(pair.count(Client, Initiation), 15);
    assert_eq!(pair.next(), None);
}

#[test]
fn a_handshake_that_nobody_answers_is_given_up() {
    let mut pair = Pair::new();
    pair.lose(|_| true);
    pair.send(Client, &packet(64)).unwrap();
    pair.run(minutes(60));
    let seconds: Vec<u64> = pair.trace().iter().map(|(at, ..)| at / 1_000).collect();
    assert_eq!(seconds, (0..90).step_by(5).collect::<Vec<u64>>());
    let stats = pair.client.tunnel.stats(pair.client.peer).unwrap();
    assert_eq!((stats.waiting, stats.dropped, stats.trying_since), (0, 1, None));

    pair.lose(|_| false);
    pair.send(Client, &packet(65)).unwrap();
    pair.run(secs(1));
    assert_eq!(pair.gateway.packets, [packet(65)]);
}

#[test]
fn a_lost_keepalive_is_noticed_and_the_session_made_anew() {
    let mut pair = Pair::connected();
    pair.lose(|sent| sent.kind == Keepalive);
    let start = pair.now.since(START).as_millis() as u64;
    pair.send(Client, &packet(64)).unwrap();
    pair.run(minutes(5));
    let trace: Vec<_> = pair.trace().into_iter().map(|(at, by, kind)| (at - start, by, kind)).collect();
    let expected = [
        (0, Client, Data),
        (10_020, Gateway, Keepalive),
        (15_000, Client, Initiation),
        (15_020, Gateway, Response),
        (15_040, Client, Keepalive),
    ];
    assert_eq!(trace, expected);
}

#[test]
fn a_packet_after_a_silence_costs_no_handshake() {
    let mut pair = Pair::connected();
    for _ in 0..5 {
        pair.run(secs(20));
        for side in [Client, Client, Gateway, Gateway, Client] {
            pair.send(side, &packet(64)).unwrap();
            pair.run(millis(20));
        }
    }
    assert_eq!(pair.count(Client, Initiation), 0);
}

/// What a test does before the machine sleeps, and what the peer has to say about it afterwards.
#[test]
fn a_machine_that_slept_wakes_to_silence() {
    let cases: [fn(&mut Pair); 4] = [
        |pair| {
            pair.lose(|sent| sent.by == Gateway); // a handshake without an answer
            pair.run(secs(1));
        },
        |pair| pair.run(secs(1)), // a session that is new
        |pair| {
            pair.run(secs(1));
            pair.send(Gateway, &packet(64)).unwrap(); // a keepalive owed
            pair.run(secs(1));
        },
        |pair| {
            pair.run(secs(1));
            pair.lose(|_| true);
            pair.send(Client, &packet(64)).unwrap(); // an answer missed
        },
    ];
    for (n, before) in cases.into_iter().enumerate() {
        for slept in [minutes(4), minutes(8 * 60)] {
            let mut pair = Pair::new();
            pair.send(Client, &packet(64)).unwrap();
            before(&mut pair);
            pair.sent.clear();
            pair.sleep(slept);
            pair.run(minutes(10));
            assert_eq!(pair.trace(), [], "case {n}");
            assert_eq!(pair.next(), None);

            pair.lose(|_| false);
            pair.send(Client, &packet(99)).unwrap();
            pair.run(secs(1));
            assert_eq!(pair.gateway.packets.last(), Some(&packet(99)));
            pair.send(Gateway, &packet(98)).unwrap();
            pair.run(secs(1));
            assert_eq!(pair.client.packets.last(), Some(&packet(98)));
        }
    }
}

/// The engine forgets everything 540 s after its last session began, a handshake in progress too.
#[test]
fn a_handshake_outlives_the_engines_memory() {
    for idle in [secs(450), secs(500), secs(538), millis(539_950), secs(541)] {
        let mut pair = Pair::connected();
        pair.run(idle - secs(1));
        let (until, lost) = (pair.now + secs(17), pair.sent.len());
        pair.lose(move |sent| sent.at < until);
        assert_eq!(pair.send(Client, &packet(77)), Ok(Encapsulated::Queued));
        pair.run(secs(30));
        assert_eq!(pair.gateway.packets, [packet(77)], "{idle:?}");
        assert!(pair.sent.len() - lost <= 9, "{idle:?}: {:?}", pair.trace());
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(Side),
    Announce,
    /// From here on, of eight datagrams those are lost whose bit is set.
    Lose(u8),
}

fn step() -> impl Strategy<Value = (Duration, Step)> {
    let gap = prop_oneof![
        4 => 0..200_u64,
        3 => 200..12_000_u64,
        2 => 12_000..40_000_u64,
        1 => 40_000..200_000_u64,
        1 => 440_000..560_000_u64,
    ];
    let step = prop_oneof![
        5 => Just(Step::Send(Client)),
        3 => Just(Step::Send(Gateway)),
        1 => Just(Step::Announce),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => Just(Step::Lose(0xff)),
        1 => Just(Step::Lose(0)),
    ];
    (gap.prop_map(millis), step)
}

/// Plays the steps, and tells what was sent and what arrived.
fn play(steps: &[(Duration, Step)], run: fn(&mut Pair, Duration)) -> (Vec<(u64, Side, Kind)>, [usize; 2]) {
    let mut pair = Pair::new();
    for (gap, step) in steps {
        run(&mut pair, *gap);
        match step {
            Step::Send(side) => drop(pair.send(*side, &packet(64))),
            Step::Announce => pair.announce(),
            Step::Lose(mask) => {
                let (mask, mut n) = (*mask, 0);
                pair.lose(move |_| {
                    n += 1;
                    mask >> (n % 8) & 1 == 1
                });
            }
        }
    }
    run(&mut pair, secs(300));
    (pair.trace(), [pair.client.packets.len(), pair.gateway.packets.len()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn waiting_for_deadlines_is_the_same_as_looking_all_the_time(steps in vec(step(), 1..14)) {
        prop_assert_eq!(play(&steps, Pair::run), play(&steps, Pair::run_polled));
    }
}
