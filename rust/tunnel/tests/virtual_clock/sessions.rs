use std::collections::BTreeSet;

use proptest::prelude::*;

use ztna_model::{Carrier, Secret, Time, millis, secs};
use ztna_tunnel::{
    AddPeerError, Decapsulated, EncapsulateError, Encapsulated, PeerId, Role, Tunnel, wg_public,
};

use crate::pair::{Kind, Pair, Seeded, Side, address, packet};

use Kind::{Data, Initiation, Keepalive, Response};
use Side::{Client, Gateway};

#[test]
fn the_first_packet_makes_a_session_and_follows_it() {
    let mut pair = Pair::new();
    assert_eq!(pair.send(Client, &packet(100)), Ok(Encapsulated::Queued));
    assert_eq!(pair.send(Client, &packet(200)), Ok(Encapsulated::Queued));
    pair.run(secs(1));
    let expected = [(0, Client, Initiation), (20, Gateway, Response), (40, Client, Data), (40, Client, Data)];
    assert_eq!(pair.trace(), expected);
    assert_eq!(pair.gateway.packets, [packet(100), packet(200)]);

    pair.send(Gateway, &packet(300)).unwrap();
    pair.run(secs(1));
    assert_eq!(pair.client.packets, [packet(300)]);
    let stats = pair.client.tunnel.stats(pair.client.peer).unwrap();
    assert_eq!((stats.tx_bytes, stats.rx_bytes, stats.dropped), (300, 300, 0));
    assert_eq!(stats.path, Some(pair.gateway.address));
    assert_eq!(stats.last_handshake, stats.last_packet_received.map(|at| at - millis(980)));
}

#[test]
fn a_session_can_be_had_before_the_first_packet() {
    let mut pair = Pair::new();
    pair.announce();
    pair.run(secs(100));
    assert_eq!(pair.trace(), [(0, Client, Initiation), (20, Gateway, Response), (40, Client, Keepalive)]);
    assert!(pair.send(Gateway, &packet(64)).is_ok());
}

#[test]
fn p5_9_only_the_client_initiates() {
    let mut pair = Pair::new();
    let nothing = Err(EncapsulateError::NoSession);
    assert_eq!(pair.send(Gateway, &packet(64)), nothing);
    assert_eq!(pair.gateway.tunnel.announce(pair.gateway.peer, pair.now), nothing.map(|_: Encapsulated| ()));
    pair.run(secs(1_000));
    assert!(pair.trace().is_empty());

    // With a session, but no answer; with data to answer; with an old session; with an expired one.
    pair.send(Client, &packet(64)).unwrap();
    pair.run(secs(1));
    pair.lose(|sent| sent.by == Client);
    for _ in 0..700 {
        let _ = pair.send(Gateway, &packet(64));
        pair.run(secs(1));
    }
    assert_eq!(pair.send(Gateway, &packet(64)), nothing);
    assert_eq!(pair.count(Gateway, Initiation), 0);
    assert!(pair.gateway.tunnel.next_wake().is_none());
}

#[test]
fn both_refuse_what_the_other_role_sends() {
    let mut pair = Pair::new();
    let mut other = Tunnel::new(&Secret::new([2; 32]), 1_280, pair.now);
    let key = wg_public(&Secret::new([1; 32]));
    let peer = other.add_peer(key, None, Role::Initiator, &mut Seeded(5), pair.now).unwrap();
    other.set_carriers(peer, &[pair.client.address]);
    let mut out = [0; 1_500];
    other.announce(peer, pair.now).unwrap();
    let initiation = other.poll(&mut out, pair.now).unwrap();
    let from = pair.gateway.address;
    pair.deliver(Client, from, &out[..initiation.length]);
    assert_eq!(pair.client.refused, [ztna_tunnel::Refusal::WrongRole]);
    assert!(pair.trace().is_empty());
}

#[test]
fn a_pre_shared_key_must_be_the_same() {
    for (theirs, arrives) in [(Some([7; 32]), true), (Some([8; 32]), false), (None, false)] {
        let mut pair = Pair::with(1, Some([7; 32]), theirs);
        pair.send(Client, &packet(64)).unwrap();
        pair.run(secs(4));
        assert_eq!(!pair.gateway.packets.is_empty(), arrives);
    }
}

#[test]
fn keys_are_renewed_from_120_seconds_on_while_packets_flow() {
    let mut pair = Pair::connected();
    let start = pair.now;
    for _ in 0..1_000 {
        pair.send(Client, &packet(64)).unwrap();
        pair.run(millis(500));
        pair.send(Gateway, &packet(64)).unwrap();
        pair.run(millis(500));
    }
    let handshakes: Vec<u64> = pair
        .sent
        .iter()
        .filter(|sent| sent.kind == Initiation)
        .map(|sent| sent.at.since(start).as_secs())
        .collect();
    assert_eq!(handshakes, [120, 241, 362, 483, 604, 725, 846, 967]);
    assert_eq!((pair.gateway.packets.len(), pair.client.packets.len()), (1_000, 1_000));
    assert!(pair.client.refused.is_empty() && pair.gateway.refused.is_empty());
}

#[test]
fn a_receiver_renews_keys_in_time() {
    let mut pair = Pair::connected();
    pair.run(secs(163));
    for _ in 0..4 {
        pair.send(Gateway, &packet(64)).unwrap();
        pair.run(millis(500));
    }
    assert_eq!(pair.count(Client, Initiation), 1);
    assert_eq!(pair.client.packets.len(), 4);
}

#[test]
fn every_packet_length_arrives_unchanged() {
    let mut pair = Pair::connected();
    let now = pair.now;
    for length in 20..=1_280 {
        let packet = packet(length);
        let padded = (usize::from(length).next_multiple_of(16)).min(1_280);
        let (mut plain, mut front) = ([0xff; 1_400], [0xff; 1_400]);
        let mut buffer = packet.clone();
        buffer.extend((0..40).map(|n| n as u8 | 0x80)); // the next packet in the same buffer
        let behind = buffer.clone();

        let (client, peer) = (&mut pair.client.tunnel, pair.client.peer);
        let sealed = client.encapsulate(peer, &packet, &mut plain, now);
        assert_eq!(sealed, Ok(Encapsulated::Sealed { length: padded + 32, to: pair.gateway.address }));
        assert_eq!(client.sealed_length(packet.len()), Some(padded + 32));
        let again = client.encapsulate_front(peer, &mut buffer, packet.len(), &mut front, now);
        assert_eq!(again, sealed);
        assert_eq!(buffer, behind, "what lies behind the packet is put back");
        assert!(
            plain[padded + 32..].iter().all(|byte| *byte == 0xff),
            "nothing is written behind the datagram"
        );

        let from = pair.client.address;
        pair.deliver(Gateway, from, &plain[..padded + 32]);
        pair.deliver(Gateway, from, &front[..padded + 32]);
        assert_eq!(pair.gateway.packets.split_off(0), [packet.clone(), packet]);
    }
}

#[test]
fn a_buffer_is_filled_datagram_by_datagram() {
    let mut pair = Pair::connected();
    let packet = packet(1_280);
    let segment = pair.client.tunnel.sealed_length(packet.len()).unwrap();
    let mut buffer = vec![0; segment * 49];
    for room in buffer.chunks_mut(segment) {
        pair.client.tunnel.encapsulate(pair.client.peer, &packet, room, pair.now).unwrap();
    }
    let from = pair.client.address;
    buffer.chunks(segment).for_each(|datagram| pair.deliver(Gateway, from, datagram));
    assert_eq!(pair.gateway.packets, vec![packet; 49]);
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let mut pair = Pair::connected();
    let (client, peer, now) = (&mut pair.client.tunnel, pair.client.peer, pair.now);
    let mut out = [0; 1_400];
    let length = |length| Err(EncapsulateError::Length { length, mtu: 1_280 });
    assert_eq!(client.encapsulate(peer, &[], &mut out, now), length(0));
    assert_eq!(client.encapsulate(peer, &packet(1_281), &mut out, now), length(1_281));
    assert_eq!(client.encapsulate_front(peer, &mut [0; 20], 21, &mut out, now), length(21));
    let room = Err(EncapsulateError::NoRoom { room: 95, needed: 96 });
    assert_eq!(client.encapsulate(peer, &packet(64), &mut out[..95], now), room);
    let nobody = PeerId::from_number(9);
    assert_eq!(client.encapsulate(nobody, &packet(64), &mut out, now), Err(EncapsulateError::UnknownPeer));
    assert_eq!(client.stats(nobody), None);
}

#[test]
fn p5_9_only_64_packets_wait_for_a_session() {
    let mut pair = Pair::new();
    for length in 20..120 {
        pair.send(Client, &packet(length)).unwrap();
    }
    let stats = pair.client.tunnel.stats(pair.client.peer).unwrap();
    assert_eq!((stats.waiting, stats.dropped), (64, 36));
    pair.run(secs(1));
    let lengths: Vec<usize> = pair.gateway.packets.iter().map(Vec::len).collect();
    assert_eq!(lengths, (56..120).collect::<Vec<_>>());
}

#[test]
fn packets_read_no_clock() {
    let mut pair = Pair::connected();
    let (client, gateway) = (&mut pair.client, &mut pair.gateway);
    let now = pair.now + secs(1);
    pair.clock.set(now);
    let (mut out, mut inside) = ([0; 1_400], [0; 1_400]);
    let mut both = |times| {
        let before = pair.clock.reads();
        for _ in 0..times {
            client.tunnel.encapsulate(client.peer, &packet(64), &mut out, now).unwrap();
            gateway.tunnel.decapsulate(&out[..96], client.address, &mut inside, now).unwrap();
        }
        pair.clock.reads() - before
    };
    let first = both(1);
    assert!((1..=6).contains(&first), "the head of a batch: {first} reads");
    assert_eq!(both(100), 0);
}

#[test]
fn peers_are_told_apart() {
    let now = Time::ZERO;
    let gateway_key = Secret::new([200; 32]);
    let mut gateway = Tunnel::new(&gateway_key, 1_280, now);
    let mut random = Seeded(3);
    let mut clients: Vec<(Tunnel, PeerId, PeerId, Carrier)> = (0..20_u8)
        .map(|n| {
            let secret = Secret::new([n + 1; 32]);
            let at_gateway =
                gateway.add_peer(wg_public(&secret), None, Role::Responder, &mut random, now).unwrap();
            let mut tunnel = Tunnel::new(&secret, 1_280, now);
            let to = tunnel.add_peer(gateway.public(), None, Role::Initiator, &mut random, now).unwrap();
            tunnel.set_carriers(to, &[address("198.51.100.1:5000")]);
            (tunnel, to, at_gateway, Carrier::Udp(([192, 0, 2, n], 4_000).into()))
        })
        .collect();
    let (mut one, mut two) = ([0; 1_500], [0; 1_500]);
    for (n, (client, to, at_gateway, from)) in clients.iter_mut().enumerate() {
        let packet = packet(20 + n as u16);
        client.encapsulate(*to, &packet, &mut one, now).unwrap();
        let initiation = client.poll(&mut one, now).unwrap();
        gateway.decapsulate(&one[..initiation.length], *from, &mut two, now).unwrap();
        let response = gateway.poll(&mut two, now).unwrap();
        assert_eq!(response.to, *from);
        client.decapsulate(&two[..response.length], address("198.51.100.1:5000"), &mut one, now).unwrap();
        let data = client.poll(&mut one, now).unwrap();
        let arrived = gateway.decapsulate(&one[..data.length], *from, &mut two, now).unwrap();
        let mut expected = packet.clone();
        assert_eq!(arrived, Decapsulated::Packet { peer: *at_gateway, packet: &mut expected });
    }
    assert_eq!(gateway.peers().count(), 20);
}

#[test]
fn a_removed_peer_is_gone_and_its_id_means_nobody() {
    let mut pair = Pair::connected();
    let (old, key) = (pair.gateway.peer, pair.client.tunnel.public());
    let mut out = [0; 1_400];
    pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
    assert!(pair.gateway.tunnel.remove_peer(old));
    assert!(!pair.gateway.tunnel.remove_peer(old));
    let from = pair.client.address;
    pair.deliver(Gateway, from, &out[..96]);
    assert_eq!(pair.gateway.refused, [ztna_tunnel::Refusal::UnknownIndex]);
    assert_eq!(pair.gateway.tunnel.next_wake(), None);

    pair.gateway.add(key, None, Role::Responder, &mut Seeded(9));
    assert_ne!(pair.gateway.peer, old);
    assert_eq!(pair.gateway.peer.slot(), old.slot());
    assert_eq!(pair.gateway.tunnel.stats(old), None);
    assert_eq!(pair.gateway.tunnel.key_of(pair.gateway.peer), Some(key));
    assert!(!pair.gateway.tunnel.open_path(old, from) && !pair.gateway.tunnel.set_carriers(old, &[from]));
    assert_eq!(pair.send(Gateway, &packet(64)), Err(EncapsulateError::NoSession));
}

#[test]
fn a_gateway_that_started_again_is_reached_without_waiting_for_its_silence() {
    let mut pair = Pair::connected();
    let key = pair.client.tunnel.public();
    pair.gateway.tunnel.remove_peer(pair.gateway.peer);
    pair.gateway.add(key, None, Role::Responder, &mut Seeded(9));
    pair.client.tunnel.reconnect(pair.client.peer, pair.now).unwrap();
    pair.flush(Client);
    assert_eq!(pair.send(Client, &packet(64)), Ok(Encapsulated::Queued));
    pair.run(secs(1));
    assert_eq!(pair.gateway.packets.len(), 1);
    let refused = pair.gateway.tunnel.reconnect(pair.gateway.peer, pair.now);
    assert_eq!(refused, Err(EncapsulateError::NoSession));
}

#[test]
fn a_tunnel_can_move_to_its_thread() {
    const fn moves<T: Send>() {}
    moves::<Tunnel>();
}

#[test]
fn a_key_has_one_peer() {
    let secret = Secret::new([1; 32]);
    let mut tunnel = Tunnel::new(&secret, 1_280, Time::ZERO);
    let key = wg_public(&Secret::new([2; 32]));
    let mut add = |key| tunnel.add_peer(key, None, Role::Responder, &mut Seeded(1), Time::ZERO);
    let first = add(key).unwrap();
    assert_eq!(add(key), Err(AddPeerError::KeyTaken));
    assert_eq!(add(wg_public(&secret)), Err(AddPeerError::UnusableKey));
    for weak in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        assert_eq!(add(ztna_model::WgPublic(weak)), Err(AddPeerError::UnusableKey));
    }
    assert_eq!(tunnel.peer_with(&key), Some(first));
}

#[test]
fn ten_thousand_peers_have_ten_thousand_indices() {
    let now = Time::ZERO;
    let mut random = Seeded(4);
    let mut tunnel = Tunnel::new(&Secret::new([1; 32]), 1_280, now);
    let mut senders = BTreeSet::new();
    let mut out = [0; 1_500];
    for n in 1..=10_000_u16 {
        // Any number is some point's coordinate, or its twist's.
        let mut key = [9; 32];
        key[..2].copy_from_slice(&n.to_le_bytes());
        let peer =
            tunnel.add_peer(ztna_model::WgPublic(key), None, Role::Initiator, &mut random, now).unwrap();
        tunnel.set_carriers(peer, &[address("192.0.2.1:1")]);
        tunnel.announce(peer, now).unwrap();
        tunnel.poll(&mut out, now).unwrap();
        senders.insert([out[5], out[6], out[7]]);
    }
    assert_eq!(tunnel.peers().map(PeerId::slot).collect::<BTreeSet<_>>().len(), 10_000);
    assert_eq!(senders.len(), 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_order_within_the_window_arrives_once(order in Just((0..400_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let mut pair = Pair::connected();
        let datagrams: Vec<Vec<u8>> = (0..400)
            .map(|n| {
                let mut out = [0; 1_400];
                pair.client.tunnel.encapsulate(pair.client.peer, &packet(20 + n), &mut out, pair.now).unwrap();
                out[..pair.client.tunnel.sealed_length(20 + usize::from(n)).unwrap()].to_vec()
            })
            .collect();
        let from = pair.client.address;
        for _ in 0..2 {
            order.iter().for_each(|n| pair.deliver(Gateway, from, &datagrams[*n]));
        }
        let lengths: Vec<usize> = pair.gateway.packets.iter().map(|packet| packet.len() - 20).collect();
        prop_assert_eq!(lengths, order);
        prop_assert_eq!(&pair.gateway.refused, &vec![ztna_tunnel::Refusal::Replayed; 400]);
    }
}
