use std::cell::Cell;
use std::rc::Rc;

use ztna_model::{Protocol, Time, millis, secs};
use ztna_netstack::{AcceptError, Cause, ConnectError, Event, Limits, Scope};
use ztna_packet::TcpFlags;

use crate::net::{CLIENT, FAIR, GATEWAY, Net, SCOPE, Weather, end, flow, flow_v6, is, tcp};

#[test]
fn nothing_is_answered_before_the_caller_decides() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Tcp, 5000));
    net.run_for(secs(20));
    assert!(net.count(CLIENT, |packet| is(packet, TcpFlags::SYN)) > 3, "the SYN is repeated");
    assert_eq!(net.ends[GATEWAY].incoming.len(), 1, "and asked about once");
    assert_eq!(net.ends[GATEWAY].sent.len(), 0);

    let (gateway, seen) = net.ends[GATEWAY].incoming.remove(0);
    assert_eq!(seen, flow(Protocol::Tcp, 5000));
    net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
    net.run_until(|net| net.has_heard(GATEWAY, gateway, Event::Connected));
    assert!(net.has_heard(CLIENT, client, Event::Connected));
    assert_eq!(net.count(GATEWAY, |packet| is(packet, TcpFlags::SYN)), 1, "and answered once");
}

#[test]
fn segments_have_the_size_that_the_mtu_allows() {
    for (flow, size) in [(flow(Protocol::Tcp, 5000), 1240), (flow_v6(Protocol::Tcp, 5000), 1220)] {
        let mut net = Net::fair();
        let [client, _] = net.connection(flow);
        // The option is the first that smoltcp writes: kind 2, length 4.
        for end in [CLIENT, GATEWAY] {
            let syn = &net.ends[end].sent[0];
            let header = if flow.source.address.is_ipv4() { 40 } else { 60 };
            assert_eq!(syn[header..header + 4], [2, 4, (size >> 8) as u8, size as u8]);
        }
        net.ends[CLIENT].stack.send(client, &[1; 10_000]);
        net.drain();
        assert_eq!(net.count(CLIENT, |packet| packet.payload().len() == size), 8);
    }
}

#[test]
fn a_refusal_is_a_reset() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Tcp, 5000));
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    net.ends[GATEWAY].stack.refuse(gateway);
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Reset(Cause::Peer)));
    assert_eq!(net.count(GATEWAY, |packet| is(packet, TcpFlags::RST)), 1);
    assert_eq!(net.ends[GATEWAY].events, [], "who refuses knows");
    assert_eq!(net.ends[GATEWAY].stack.flows() + net.ends[CLIENT].stack.flows(), 0);
    assert_eq!(net.ends[GATEWAY].stack.accept(gateway, net.now), Err(AcceptError::NotWaiting));
}

#[test]
fn whoever_gives_up_is_not_waited_for() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Tcp, 5000));
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    net.ends[CLIENT].stack.abort(client);
    net.run_until(|net| net.has_heard(GATEWAY, gateway, Event::Reset(Cause::Peer)));
    assert_eq!(net.ends[GATEWAY].stack.flows(), 0);
    assert_eq!(net.ends[CLIENT].events, []);
}

#[test]
fn a_caller_that_never_decides_is_not_waited_for() {
    let mut net = Net::fair();
    net.obstacle = Box::new(|_, packet| !is(packet, TcpFlags::SYN));
    net.connect(flow(Protocol::Tcp, 5000));
    net.run_for(secs(70));
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    assert_eq!(net.heard(GATEWAY, gateway), [Event::Reset(Cause::Silence)]);
    assert_eq!(net.ends[GATEWAY].stack.next_wake(), None);
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    let mut net = Net::fair();
    net.obstacle = Box::new(|_, _| true);
    let begin = net.now;
    let client = net.connect(flow(Protocol::Tcp, 5000));
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Reset(Cause::Silence)));
    assert!((secs(30)..secs(40)).contains(&net.now.since(begin)));
    assert_eq!(net.count(CLIENT, |packet| is(packet, TcpFlags::SYN)), 6);
    assert_eq!((net.ends[CLIENT].stack.flows(), net.ends[CLIENT].stack.next_wake()), (0, None));
}

#[test]
fn handshakes_survive_what_is_lost() {
    for lost in 0..4 {
        let mut net = Net::fair();
        let seen = Rc::new(Cell::new(0));
        net.obstacle = Box::new(move |_, _| {
            seen.set(seen.get() + 1);
            seen.get() == lost + 1
        });
        let [client, gateway] = net.connection(flow(Protocol::Tcp, 5000));
        // The side that was asked speaks first.
        assert_eq!(net.ends[GATEWAY].stack.send(gateway, b"220 ready"), 9);
        net.run_until(|net| net.has_heard(CLIENT, client, Event::Readable));
        let mut buffer = [0; 20];
        assert_eq!(net.ends[CLIENT].stack.recv(client, &mut buffer), 9);
    }
}

#[test]
fn nothing_is_taken_before_there_is_a_connection() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Tcp, 5000));
    assert_eq!(net.ends[CLIENT].stack.send(client, b"early"), 0);
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    assert_eq!(net.ends[GATEWAY].stack.send(gateway, b"early"), 0);
    assert_eq!(net.ends[GATEWAY].stack.recv(gateway, &mut [0; 5]), 0);
}

#[test]
fn the_same_flow_in_two_scopes_is_two_flows() {
    let mut net = Net::fair();
    let stack = &mut net.ends[GATEWAY].stack;
    let ids =
        [Scope(1), Scope(2)].map(|scope| stack.connect(scope, flow(Protocol::Tcp, 5000), net.now).unwrap());
    assert_ne!(ids[0], ids[1]);
    assert_eq!(stack.connect(Scope(1), flow(Protocol::Tcp, 5000), net.now), Err(ConnectError::Taken));
    for (id, scope) in ids.into_iter().zip([Scope(1), Scope(2)]) {
        assert_eq!(stack.flow(id), Some((scope, flow(Protocol::Tcp, 5000))));
    }
    stack.abort_where(|scope, _| scope == Scope(1));
    assert_eq!(stack.flow(ids[0]), None);
    assert!(stack.flow(ids[1]).is_some());
}

#[test]
fn sequence_numbers_cannot_be_foretold() {
    let mut first = Vec::new();
    for seed in 0..8 {
        let mut net = Net::new(FAIR, [Limits::DESKTOP, Limits::GATEWAY], seed);
        for _ in 0..8 {
            let client = net.connect(flow(Protocol::Tcp, 5000));
            net.drain();
            first.push(tcp(&ztna_packet::parse(net.ends[CLIENT].sent.last().unwrap()).unwrap()).sequence);
            net.ends[CLIENT].stack.abort(client);
            net.drain();
        }
    }
    let count = first.len();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), count);
}

#[test]
fn ports_are_chosen_among_those_that_are_free() {
    let mut net = Net::fair();
    let wish = flow(Protocol::Tcp, 0);
    let mut ports: Vec<u16> = (0..500)
        .map(|_| {
            let id = net.connect(wish);
            net.ends[CLIENT].stack.flow(id).unwrap().1.source.port
        })
        .collect();
    let first = ports[..3].to_vec();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 500);
    assert!(ports[0] >= 49_152);
    assert!(
        first[1].abs_diff(first[0]) > 1 || first[2].abs_diff(first[1]) > 1,
        "one after the other: {first:?}"
    );
}

#[test]
fn what_cannot_be_begun() {
    let mut net = Net::fair();
    let good = flow(Protocol::Tcp, 5000);
    let to = |address: &str, port| ztna_model::Flow { destination: end(address, port), ..good };
    let rows = [
        (ztna_model::Flow { protocol: Protocol::IcmpEcho, ..good }, ConnectError::OtherProtocol),
        (to("2001:db8::1", 80), ConnectError::BadEnds),
        (to("224.0.0.1", 80), ConnectError::BadEnds),
        (to("255.255.255.255", 80), ConnectError::BadEnds),
        (to("0.0.0.0", 80), ConnectError::BadEnds),
        (to("198.18.0.7", 0), ConnectError::BadEnds),
    ];
    for (flow, expected) in rows {
        assert_eq!(net.ends[CLIENT].stack.connect(SCOPE, flow, Time::ZERO), Err(expected), "{flow:?}");
    }
    assert_eq!(net.ends[CLIENT].stack.flows(), 0);
}

#[test]
fn a_peer_that_has_forgotten_a_connection_can_begin_it_anew() {
    let mut net = Net::fair();
    let [_, old] = net.connection(flow(Protocol::Tcp, 5000));
    // The client starts again: nothing of the old connection is left there, but its port.
    let mut dice = crate::net::Dice(99);
    net.ends[CLIENT].stack = ztna_netstack::Netstack::new(Limits::DESKTOP, &mut dice);
    net.ends[CLIENT].events.clear();
    let client = net.connect(flow(Protocol::Tcp, 5000));
    net.run_until(|net| net.has_heard(GATEWAY, old, Event::Reset(Cause::Peer)));
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    assert_ne!(gateway, old);
    net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Connected));
}

#[test]
fn a_client_lets_nobody_in() {
    let mut net = Net::fair();
    net.ends[GATEWAY].stack.connect(SCOPE, flow(Protocol::Tcp, 5000), net.now).unwrap();
    net.run_for(millis(100));
    assert_eq!(net.ends[CLIENT].incoming, []);
    assert_eq!(net.ends[CLIENT].stack.flows(), 0);
}

#[test]
fn many_handshakes_in_bad_weather() {
    let weather = Weather { delay: millis(30), lost: 10, late: 30, twice: 20 };
    for seed in 0..40 {
        let mut net = Net::new(weather, [Limits::DESKTOP, Limits::GATEWAY], seed);
        let clients: Vec<_> = (0..20).map(|i| net.connect(flow(Protocol::Tcp, 5000 + i))).collect();
        net.run_until(|net| net.ends[GATEWAY].incoming.len() == 20);
        for (gateway, _) in std::mem::take(&mut net.ends[GATEWAY].incoming) {
            net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
        }
        net.run_for(secs(40));
        for client in clients {
            assert_eq!(net.heard(CLIENT, client).first(), Some(&Event::Connected));
        }
        assert_eq!(net.ends[GATEWAY].incoming, [], "nobody is let in twice");
    }
}
