use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use ztna_model::{Random, Secret, millis, secs};
use ztna_tunnel::{Decapsulated, EncapsulateError, Encapsulated, Refusal, Role, Tunnel, wg_public};

use crate::pair::{Kind, Pair, Seeded, Side, address, packet};

use Kind::{Cookie, Initiation, Response};
use Side::{Client, Gateway};

/// A valid initiation to the gateway of a [`Pair`], by a key that nobody knows.
fn stranger(pair: &Pair, seed: u8) -> Vec<u8> {
    let mut tunnel = Tunnel::new(&Secret::new([seed; 32]), 1_280, pair.now);
    let peer = tunnel
        .add_peer(pair.gateway.tunnel.public(), None, Role::Initiator, &mut Seeded(6), pair.now)
        .unwrap();
    tunnel.set_carriers(peer, &[pair.gateway.address]);
    tunnel.announce(peer, pair.now).unwrap();
    let mut out = vec![0; 1_500];
    let length = tunnel.poll(&mut out, pair.now).unwrap().length;
    out.truncate(length);
    out
}

#[test]
fn p5_8_no_lease_no_peer_an_unknown_key_gets_nothing() {
    let mut pair = Pair::new();
    for seed in 50..60 {
        let initiation = stranger(&pair, seed);
        pair.deliver(Gateway, address("203.0.113.66:666"), &initiation);
    }
    pair.run(secs(100));
    assert!(pair.trace().is_empty());
    assert_eq!(pair.gateway.refused, [Refusal::UnknownKey; 10]);
    assert_eq!(pair.gateway.tunnel.refusals().of(Refusal::UnknownKey), 10);
}

#[test]
fn e10_nothing_that_passed_once_passes_again() {
    let mut pair = Pair::new();
    pair.send(Client, &packet(64)).unwrap();
    pair.run(secs(1));
    pair.send(Gateway, &packet(64)).unwrap();
    pair.run(secs(30));
    let (passed, arrived) = (pair.sent.clone(), (pair.client.packets.len(), pair.gateway.packets.len()));
    let elsewhere = address("203.0.113.66:666");
    for sent in &passed {
        let to = if sent.by == Client { Gateway } else { Client };
        pair.deliver(to, elsewhere, &sent.bytes);
    }
    assert_eq!(pair.sent, passed, "nothing was answered");
    assert_eq!((pair.client.packets.len(), pair.gateway.packets.len()), arrived);
    assert_eq!(pair.client.refused.len() + pair.gateway.refused.len(), passed.len());
    for side in [Client, Gateway] {
        let end = pair.end(side);
        assert_ne!(end.tunnel.stats(end.peer).unwrap().path, Some(elsewhere));
    }
}

#[test]
fn a_datagram_too_far_behind_is_refused() {
    let mut pair = Pair::connected();
    let datagrams: Vec<[u8; 96]> = (0..1_100)
        .map(|_| {
            let mut out = [0; 96];
            pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
            out
        })
        .collect();
    let from = pair.client.address;
    pair.deliver(Gateway, from, &datagrams[1_099]);
    pair.deliver(Gateway, from, &datagrams[80]);
    pair.deliver(Gateway, from, &datagrams[20]);
    assert_eq!(pair.gateway.packets.len(), 2);
    assert_eq!(pair.gateway.refused, [Refusal::Replayed]);
}

#[test]
fn a_wrong_index_finds_nobody() {
    let mut pair = Pair::connected();
    let mut out = [0; 96];
    pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
    let from = pair.client.address;
    for (byte, bit) in (4..8).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut wrong = out;
        wrong[byte] ^= 1 << bit;
        pair.deliver(Gateway, from, &wrong);
        assert_eq!(pair.gateway.refused.pop(), Some(Refusal::UnknownIndex));
    }
    pair.deliver(Gateway, from, &out);
    assert_eq!(pair.gateway.packets.len(), 1);
}

#[test]
fn an_authentic_datagram_without_an_ip_packet_is_refused() {
    let mut pair = Pair::connected();
    let mut long = packet(64);
    long[3] = 65;
    let mut short = packet(64);
    short[3] = 19;
    let mut six = packet(64);
    six[0] = 0x60;
    for inner in [vec![0; 64], vec![0x45; 16], long, short, six, vec![0x60; 32]] {
        pair.send(Client, &inner).unwrap();
        pair.run(millis(20));
        assert_eq!(pair.gateway.refused.pop(), Some(Refusal::NotIp), "{inner:x?}");
    }
    assert_eq!(pair.send(Client, &packet(64)).map(drop), Ok(()));
    pair.run(millis(20));
    assert_eq!(pair.gateway.packets.len(), 1);
}

#[test]
fn a_buffer_too_small_is_refused_before_anything_is_spent() {
    let mut pair = Pair::connected();
    let mut out = [0; 96];
    pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
    let from = pair.client.address;
    let mut small = [0; 79];
    let refused = pair.gateway.tunnel.decapsulate(&out, from, &mut small, pair.now);
    assert_eq!(refused, Err(Refusal::NoRoom));
    let mut enough = [0; 80];
    let opened = pair.gateway.tunnel.decapsulate(&out, from, &mut enough, pair.now);
    assert_eq!(opened, Ok(Decapsulated::Packet { peer: pair.gateway.peer, packet: &mut packet(64) }));
}

/// The engine ages its sessions by stamps of its own. Here its clock stands still.
#[test]
fn a_session_of_180_seconds_is_over_even_if_the_engine_thinks_it_young() {
    let mut pair = Pair::connected();
    let mut out = [0; 1_400];
    let seal = |pair: &mut Pair, side, out: &mut [u8], age| {
        let end = pair.end(side);
        let began = end.tunnel.stats(end.peer).unwrap().last_handshake.unwrap();
        (began + age, end.tunnel.encapsulate(end.peer, &packet(64), out, began + age))
    };
    let (now, sealed) = seal(&mut pair, Client, &mut out, millis(179_999));
    assert!(matches!(sealed, Ok(Encapsulated::Sealed { .. })));
    let from = pair.client.address;
    let mut inside = [0; 1_400];
    // The gateway's session began 20 ms before the client's.
    let late = pair.gateway.tunnel.decapsulate(&out[..96], from, &mut inside, now);
    assert_eq!(late, Err(Refusal::Expired));
    let in_time = pair.gateway.tunnel.decapsulate(&out[..96], from, &mut inside, now - millis(20));
    assert!(in_time.is_ok());

    assert_eq!(seal(&mut pair, Client, &mut out, secs(180)).1, Ok(Encapsulated::Queued));
    let (_, sealed) = seal(&mut pair, Gateway, &mut out, millis(179_999));
    assert!(matches!(sealed, Ok(Encapsulated::Sealed { .. })));
    assert_eq!(seal(&mut pair, Gateway, &mut out, secs(180)).1, Err(EncapsulateError::NoSession));
}

#[test]
fn p5_8_h01_a_flood_of_handshakes_gets_cookies_and_bounded_work() {
    let mut pair = Pair::new();
    let initiation = stranger(&pair, 50);
    let attacker = address("203.0.113.66:666");
    for _ in 0..5_000 {
        pair.deliver(Gateway, attacker, &initiation);
    }
    let refusals = pair.gateway.tunnel.refusals();
    assert_eq!((refusals.of(Refusal::UnknownKey), refusals.of(Refusal::CookieDue)), (500, 4_500));
    assert_eq!(pair.count(Gateway, Cookie), 4_500);
    assert!(pair.sent.iter().all(|sent| sent.to == attacker && sent.bytes.len() == 64));

    // The codes are checked first: without our public key there is nothing, load or not.
    let mut damaged = initiation;
    damaged[120] ^= 1;
    pair.sent.clear();
    pair.deliver(Gateway, attacker, &damaged);
    assert!(pair.sent.is_empty());
    assert_eq!(pair.gateway.refused.last(), Some(&Refusal::BadMac));
}

#[test]
fn h01_a_client_gets_in_during_a_flood() {
    let mut pair = Pair::new();
    let initiation = stranger(&pair, 50);
    pair.send(Client, &packet(64)).unwrap();
    for _ in 0..12 {
        for _ in 0..600 {
            pair.deliver(Gateway, address("203.0.113.66:666"), &initiation);
        }
        pair.run(secs(1));
    }
    let client = pair.client.address;
    let to_client = pair.sent.iter().filter(|sent| sent.to == client && sent.by == Gateway);
    let kinds: Vec<Kind> = to_client.map(|sent| sent.kind).take(2).collect();
    assert_eq!(kinds, [Cookie, Response]);
    assert_eq!(pair.count(Client, Initiation), 2, "the second bears the cookie");
    assert_eq!(pair.gateway.packets.len(), 1);
}

#[test]
fn h01_one_peer_is_not_answered_more_than_50_times_a_second() {
    let mut pair = Pair::new();
    for _ in 0..1_000 {
        pair.announce();
        pair.run(millis(1));
        pair.lose(|sent| sent.kind == Response);
    }
    assert!(pair.count(Gateway, Response) <= 50, "{}", pair.count(Gateway, Response));
}

#[test]
fn a_response_or_cookie_that_answers_nothing_is_refused() {
    let mut pair = Pair::new();
    pair.send(Client, &packet(64)).unwrap();
    pair.run(secs(1));
    let response = pair.sent.iter().find(|sent| sent.kind == Response).unwrap().bytes.clone();
    let from = pair.gateway.address;
    pair.deliver(Client, from, &response);
    let mut cookie = vec![3; 64];
    cookie[1..4].fill(0);
    cookie[4..8].copy_from_slice(&response[8..12]);
    pair.deliver(Client, from, &cookie);
    assert_eq!(pair.client.refused, [Refusal::Unasked, Refusal::Unasked]);
}

/// Every datagram of a session with both kinds of handshake, damaged in some way.
fn damaged(pair: &mut Pair, pick: usize, damage: impl Fn(&mut Vec<u8>)) -> (Side, Vec<u8>, bool) {
    pair.send(Client, &packet(40)).unwrap();
    pair.run(secs(1));
    pair.send(Gateway, &packet(40)).unwrap();
    pair.run(secs(1));
    let sent = pair.sent[pick % pair.sent.len()].clone();
    let mut bytes = sent.bytes.clone();
    damage(&mut bytes);
    let is_new = bytes != sent.bytes;
    (if sent.by == Client { Gateway } else { Client }, bytes, is_new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn damaged_datagrams_are_refused_and_not_answered(
        pick in any::<usize>(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bits: u8, grow in 0..40_usize,
    ) {
        let mut pair = Pair::new();
        let (to, bytes, _) = damaged(&mut pair, pick, |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            let keep = if bits.is_multiple_of(2) { bytes.len() } else { cut.index(bytes.len() + 1) };
            bytes.truncate(keep);
            bytes.resize(bytes.len() + if bits.is_multiple_of(3) { grow } else { 0 }, bits);
        });
        let (from, sent) = (address("203.0.113.66:666"), pair.sent.len());
        let before = pair.end(to).packets.len();
        pair.deliver(to, from, &bytes);
        prop_assert_eq!(pair.end(to).packets.len(), before);
        prop_assert_eq!(pair.sent.len(), sent);
        prop_assert_eq!(pair.end(to).refused.len(), 1);
    }

    #[test]
    fn junk_is_refused_and_not_answered(kind in 0..6_u8, length in prop_oneof![Just(148), Just(92), Just(64), 0..200_usize], seed: u64, fits: bool) {
        let mut pair = Pair::connected();
        let mut junk = vec![0; length];
        Seeded(seed).fill(&mut junk);
        junk.iter_mut().zip([kind, 0, 0, 0]).for_each(|(to, from)| *to = from);
        if fits && length >= 12 {
            // Bears an index that somebody has.
            let mut out = [0; 96];
            pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
            junk[4..8].copy_from_slice(&out[4..8]);
            junk[8..12].copy_from_slice(&out[4..8]);
        }
        for side in [Client, Gateway] {
            pair.deliver(side, address("203.0.113.66:666"), &junk);
            prop_assert!(pair.end(side).packets.is_empty());
            prop_assert_eq!(pair.end(side).refused.len(), 1);
        }
        prop_assert!(pair.sent.is_empty());
    }

    #[test]
    fn what_an_authentic_peer_puts_inside_is_cut_or_refused(inner in vec(any::<u8>(), 1..200)) {
        let mut pair = Pair::connected();
        pair.send(Client, &inner).unwrap();
        pair.run(millis(20));
        match pair.gateway.packets.first() {
            Some(packet) => prop_assert!(packet.len() >= 20 && packet.len() <= inner.len().next_multiple_of(16)),
            None => prop_assert_eq!(&pair.gateway.refused, &vec![Refusal::NotIp]),
        }
    }
}

/// `tests/corpus/tunnel`: datagrams from outside, named by what they are. The initiation is by a key that the tunnel
/// does not know, the rest bear the index of nobody.
#[test]
fn the_corpus_is_refused() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/tunnel");
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 10);
    for name in names {
        let mut pair = Pair::new();
        pair.deliver(Gateway, pair.client.address, &std::fs::read(&name).unwrap());
        let expected = match name.file_stem().unwrap().to_str().unwrap() {
            "initiation-by-unknown-key" => Refusal::UnknownKey,
            "initiation-with-wrong-mac1" | "initiation-to-another-key" => Refusal::BadMac,
            "response-to-nobody" | "cookie-to-nobody" | "data-to-nobody" | "keepalive-to-nobody" => {
                Refusal::UnknownIndex
            }
            _ => Refusal::Unreadable,
        };
        assert_eq!(pair.gateway.refused, [expected], "{}", name.display());
        assert!(pair.sent.is_empty());
    }
}

/// A peer whose secret is known to the test, so that the corpus can be read again.
#[test]
fn the_keys_of_the_corpus_are_these() {
    let gateway = wg_public(&Secret::new([2; 32]));
    assert_eq!(gateway.to_string(), "ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59");
}
