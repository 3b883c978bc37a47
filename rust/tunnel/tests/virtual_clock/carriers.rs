use ztna_model::{Carrier, millis, secs};
use ztna_tunnel::{EncapsulateError, Refusal};

use crate::pair::{Kind, Pair, Side, address, packet};

use Kind::{Initiation, Opening, Response};
use Side::{Client, Gateway};

fn path(pair: &mut Pair, side: Side) -> Option<Carrier> {
    let end = pair.end(side);
    end.tunnel.stats(end.peer).unwrap().path
}

#[test]
fn a_handshake_is_tried_everywhere_and_the_first_answer_is_the_path() {
    let mut pair = Pair::new();
    let [dead, alive] = [address("203.0.113.9:1"), pair.gateway.address];
    pair.client.tunnel.set_carriers(pair.client.peer, &[dead, alive]);
    pair.send(Client, &packet(64)).unwrap();
    let tried: Vec<Carrier> = pair.sent.iter().map(|sent| sent.to).collect();
    assert_eq!(tried, [dead, alive]);
    pair.run(secs(1));
    assert_eq!(pair.gateway.packets.len(), 1);
    assert_eq!(path(&mut pair, Client), Some(alive));
    assert_eq!(path(&mut pair, Gateway), Some(pair.client.address));
}

#[test]
fn the_same_handshake_by_two_paths_is_answered_once() {
    let mut pair = Pair::new();
    pair.send(Client, &packet(64)).unwrap();
    let initiation = pair.sent[0].clone();
    pair.run(secs(1));
    pair.deliver(Gateway, address("203.0.113.9:1"), &initiation.bytes);
    assert_eq!(pair.count(Gateway, Response), 1);
    assert_eq!(path(&mut pair, Gateway), Some(pair.client.address));
}

#[test]
fn no_more_than_five_addresses_are_tried() {
    let mut pair = Pair::new();
    let many: Vec<Carrier> = (1..=20).map(|port| Carrier::Udp(([203, 0, 113, 1], port).into())).collect();
    pair.client.tunnel.set_carriers(pair.client.peer, &many);
    pair.send(Client, &packet(64)).unwrap();
    let tried: Vec<Carrier> = pair.sent.iter().map(|sent| sent.to).collect();
    assert_eq!(tried, many[..5]);
}

#[test]
fn without_an_address_nothing_is_tried() {
    let mut pair = Pair::new();
    pair.client.tunnel.set_carriers(pair.client.peer, &[]);
    assert_eq!(pair.send(Client, &packet(64)), Err(EncapsulateError::NoCarrier));
    assert_eq!(pair.client.tunnel.announce(pair.client.peer, pair.now), Err(EncapsulateError::NoCarrier));
    assert_eq!(pair.client.tunnel.next_wake(), None);
}

#[test]
fn a_client_that_moves_keeps_its_session() {
    let mut pair = Pair::connected();
    pair.client.address = address("203.0.113.50:9999");
    pair.announce();
    pair.run(millis(20));
    pair.send(Gateway, &packet(64)).unwrap();
    pair.run(millis(20));
    assert_eq!(pair.client.packets.len(), 1);
    assert_eq!(path(&mut pair, Gateway), Some(pair.client.address));
    assert_eq!(pair.count(Client, Initiation), 0);
}

#[test]
fn a_gateway_that_moves_is_found_once_its_silence_is_noticed() {
    let mut pair = Pair::connected();
    let [old, new] = [pair.gateway.address, address("198.51.100.77:5000")];
    pair.gateway.address = new;
    pair.client.tunnel.set_carriers(pair.client.peer, &[old, new]);
    pair.send(Client, &packet(64)).unwrap();
    pair.run(secs(16));
    let tried: Vec<Carrier> =
        pair.sent.iter().filter(|sent| sent.kind == Initiation).map(|sent| sent.to).collect();
    assert_eq!(tried, [old, new]);
    assert_eq!(path(&mut pair, Client), Some(new));
}

#[test]
fn new_keys_are_asked_for_where_the_gateway_answers() {
    let mut pair = Pair::connected();
    let [home, other] = [pair.gateway.address, address("198.51.100.77:5000")];
    pair.client.tunnel.set_carriers(pair.client.peer, &[other, home]);
    pair.run(secs(130));
    pair.send(Client, &packet(64)).unwrap();
    let tried: Vec<Carrier> = pair.sent.iter().map(|sent| sent.to).collect();
    assert_eq!(tried, [home, home], "an initiation and a packet");
}

#[test]
fn only_what_is_authentic_and_newest_moves_the_path() {
    let mut pair = Pair::connected();
    let home = pair.client.address;
    let elsewhere = address("203.0.113.66:666");
    let seal = |pair: &mut Pair| {
        let mut out = [0; 96];
        pair.client.tunnel.encapsulate(pair.client.peer, &packet(64), &mut out, pair.now).unwrap();
        out
    };
    let (overtaken, first) = (seal(&mut pair), seal(&mut pair));
    pair.deliver(Gateway, home, &first);
    pair.deliver(Gateway, elsewhere, &first);
    assert_eq!(pair.gateway.refused.pop(), Some(Refusal::Replayed));
    let mut forged = seal(&mut pair);
    forged[40] ^= 1;
    pair.deliver(Gateway, elsewhere, &forged);
    assert_eq!(pair.gateway.refused.pop(), Some(Refusal::Forged));
    pair.deliver(Gateway, elsewhere, &overtaken);
    assert_eq!((pair.gateway.packets.len(), pair.gateway.refused.len()), (2, 0));
    assert_eq!(path(&mut pair, Gateway), Some(home));

    let next = seal(&mut pair);
    pair.deliver(Gateway, elsewhere, &next);
    assert_eq!(path(&mut pair, Gateway), Some(elsewhere));
}

#[test]
fn an_old_initiation_does_not_move_the_path_even_of_a_peer_made_anew() {
    let mut pair = Pair::new();
    pair.send(Client, &packet(64)).unwrap();
    let initiation = pair.sent[0].clone();
    pair.run(secs(1));
    let key = pair.client.tunnel.public();
    pair.gateway.tunnel.remove_peer(pair.gateway.peer);
    pair.gateway.add(key, None, ztna_tunnel::Role::Responder, &mut crate::pair::Seeded(8));
    pair.deliver(Gateway, address("203.0.113.66:666"), &initiation.bytes);
    assert_eq!(path(&mut pair, Gateway), None);
    assert_eq!(pair.send(Gateway, &packet(64)), Err(EncapsulateError::NoSession));
}

#[test]
fn p5_9_one_empty_datagram_opens_a_path() {
    let mut pair = Pair::new();
    let to = pair.client.address;
    assert!(pair.gateway.tunnel.open_path(pair.gateway.peer, to));
    pair.flush(Gateway);
    pair.run(secs(100));
    assert_eq!(pair.trace(), [(0, Gateway, Opening)]);
    assert_eq!(pair.client.refused, [Refusal::Unreadable]);
    assert_eq!((path(&mut pair, Gateway), pair.next()), (None, None));
}
