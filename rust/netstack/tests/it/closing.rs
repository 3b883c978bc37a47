use std::cell::Cell;
use std::rc::Rc;

use ztna_model::{Protocol, minutes, secs};
use ztna_netstack::{Cause, Event, Limits, Scope, StreamId};
use ztna_packet::TcpFlags;

use crate::net::{CLIENT, FAIR, GATEWAY, Net, SCOPE, flow, flow_v6, is};

fn read_all(net: &mut Net, end: usize, stream: StreamId) -> Vec<u8> {
    let mut read = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        let length = net.ends[end].stack.recv(stream, &mut buffer);
        if length == 0 {
            return read;
        }
        read.extend_from_slice(&buffer[..length]);
    }
}

#[test]
fn either_direction_may_end_first() {
    for first in [CLIENT, GATEWAY] {
        let second = 1 - first;
        let mut net = Net::fair();
        let streams = net.connection(flow(Protocol::Tcp, 5000));
        net.ends[first].stack.send(streams[first], b"that is all");
        net.ends[first].stack.shutdown_write(streams[first]);
        assert_eq!(net.ends[first].stack.send(streams[first], b"more"), 0);
        net.run_until(|net| net.has_heard(second, streams[second], Event::Readable));
        assert!(!net.has_heard(second, streams[second], Event::PeerClosed), "said only after the last byte");
        assert_eq!(read_all(&mut net, second, streams[second]), b"that is all");
        net.run_until(|net| net.has_heard(second, streams[second], Event::PeerClosed));

        // The other direction goes on, for as long as it likes.
        for _ in 0..10 {
            net.run_for(minutes(10));
            assert_eq!(net.ends[second].stack.send(streams[second], b"but I"), 5);
            net.run_for(secs(1));
            assert_eq!(read_all(&mut net, first, streams[first]), b"but I");
        }
        net.ends[second].stack.shutdown_write(streams[second]);
        net.run_until(|net| {
            [CLIENT, GATEWAY].iter().all(|end| net.has_heard(*end, streams[*end], Event::Closed))
        });
        assert_eq!(net.heard(first, streams[first]).last(), Some(&Event::Closed));
        assert_eq!(net.heard(second, streams[second]).last(), Some(&Event::Closed));
    }
}

#[test]
fn an_abort_is_a_reset() {
    for first in [CLIENT, GATEWAY] {
        let mut net = Net::fair();
        let streams = net.connection(flow_v6(Protocol::Tcp, 5000));
        net.ends[first].stack.send(streams[first], &[1; 10_000]);
        net.ends[first].stack.abort(streams[first]);
        net.run_until(|net| net.has_heard(1 - first, streams[1 - first], Event::Reset(Cause::Peer)));
        assert_eq!(net.count(first, |packet| is(packet, TcpFlags::RST)), 1);
        assert_eq!(net.heard(first, streams[first]), [Event::Connected], "who aborts knows");
        for end in [CLIENT, GATEWAY] {
            let stack = &mut net.ends[end].stack;
            assert_eq!((stack.flows(), stack.buffered(), stack.next_wake()), (0, 0, None));
            assert_eq!(stack.send(streams[end], b"more"), 0);
            assert_eq!(stack.flow(streams[end]), None);
        }
    }
}

#[test]
fn e07_revoked_flows_are_reset_both_ways_and_no_other() {
    let mut net = Net::fair();
    let revoked: Vec<_> = (0..50).map(|i| net.connection(flow(Protocol::Tcp, 5000 + i))).collect();
    let kept = net.connection(flow(Protocol::Tcp, 6000));
    for [client, gateway] in &revoked {
        net.ends[GATEWAY].stack.send(*gateway, &[1; 100_000]);
        net.ends[CLIENT].stack.send(*client, &[1; 100_000]);
    }
    net.run_for(secs(1));
    let began = net.ends[GATEWAY].sent.len();
    net.ends[GATEWAY].stack.abort_where(|scope, flow| scope == SCOPE && flow.source.port < 6000);
    net.drain();
    for [_, gateway] in &revoked {
        assert_eq!(net.heard(GATEWAY, *gateway).last(), Some(&Event::Reset(Cause::Aborted)));
        assert_eq!(net.ends[GATEWAY].stack.recv(*gateway, &mut [0; 10]), 0, "nothing is read any more");
    }
    let after = &net.ends[GATEWAY].sent[began..];
    assert_eq!(after.len(), 50, "a reset for each, and not a byte more");
    assert!(after.iter().all(|packet| is(&ztna_packet::parse(packet).unwrap(), TcpFlags::RST)));
    net.run_for(secs(1));
    for [client, gateway] in &revoked {
        assert_eq!(net.heard(CLIENT, *client).last(), Some(&Event::Reset(Cause::Peer)));
        let resets =
            net.heard(GATEWAY, *gateway).into_iter().filter(|event| matches!(event, Event::Reset(_)));
        assert_eq!(resets.count(), 1, "said once");
    }
    assert_eq!((net.ends[GATEWAY].stack.flows(), net.ends[CLIENT].stack.flows()), (1, 1));
    net.ends[CLIENT].stack.send(kept[CLIENT], b"still here");
    net.run_until(|net| net.has_heard(GATEWAY, kept[GATEWAY], Event::Readable));
}

#[test]
fn revoking_reaches_those_who_wait_and_those_who_linger() {
    let mut net = Net::fair();
    let waiting = net.connect(flow(Protocol::Tcp, 5000));
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming.remove(0);
    net.ends[GATEWAY].stack.abort_where(|scope, _| scope == Scope(99));
    net.drain();
    assert_eq!(net.ends[GATEWAY].events, []);
    net.ends[GATEWAY].stack.abort_where(|_, _| true);
    net.run_until(|net| net.has_heard(CLIENT, waiting, Event::Reset(Cause::Peer)));
    assert_eq!(net.heard(GATEWAY, gateway), [Event::Reset(Cause::Aborted)]);
}

#[test]
fn the_last_acknowledgement_is_repeated() {
    let mut net = Net::fair();
    let [client, gateway] = net.connection(flow(Protocol::Tcp, 5000));
    net.ends[CLIENT].stack.shutdown_write(client);
    net.run_until(|net| net.has_heard(GATEWAY, gateway, Event::PeerClosed));
    net.ends[GATEWAY].stack.shutdown_write(gateway);
    // From the gateway's FIN on, the client's first two answers are lost.
    let left = Rc::new(Cell::new(2));
    net.obstacle = Box::new(move |from, _| {
        let lost = from == CLIENT && left.get() > 0;
        left.set(left.get() - u32::from(lost));
        lost
    });
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Closed));
    assert_eq!(net.ends[CLIENT].stack.flows(), 0, "nobody waits for that");
    net.run_until(|net| net.has_heard(GATEWAY, gateway, Event::Closed));
    assert_eq!(net.ends[CLIENT].stack.next_wake(), None, "and it wakes nobody");
}

#[test]
fn a_connection_can_follow_another_at_once() {
    let mut net = Net::fair();
    for round in 0..20 {
        let streams = net.connection(flow(Protocol::Tcp, 5000));
        for end in [round % 2, 1 - round % 2] {
            net.ends[end].stack.shutdown_write(streams[end]);
            net.run_for(secs(1));
        }
        for end in [CLIENT, GATEWAY] {
            assert_eq!(net.heard(end, streams[end]).last(), Some(&Event::Closed), "round {round}");
        }
        net.ends.iter_mut().for_each(|end| end.events.clear());
    }
}

#[test]
fn closed_flows_do_not_pile_up() {
    let limits = [Limits { flows: 100, ..Limits::DESKTOP }, Limits { flows: 100, ..Limits::GATEWAY }];
    let mut net = Net::new(FAIR, limits, 1);
    for round in 0..1000 {
        let streams = net.connection(flow(Protocol::Tcp, 5000 + round));
        net.ends[GATEWAY].stack.shutdown_write(streams[GATEWAY]);
        net.run_until(|net| net.has_heard(CLIENT, streams[CLIENT], Event::PeerClosed));
        net.ends[CLIENT].stack.shutdown_write(streams[CLIENT]);
        net.run_until(|net| net.has_heard(CLIENT, streams[CLIENT], Event::Closed));
        net.run_until(|net| net.has_heard(GATEWAY, streams[GATEWAY], Event::Closed));
        net.ends.iter_mut().for_each(|end| {
            end.events.clear();
            end.sent.clear();
        });
        assert!(streams.iter().all(|stream| stream.index() <= 202), "{streams:?}");
        assert_eq!(net.ends[GATEWAY].stack.buffered() + net.ends[CLIENT].stack.buffered(), 0);
    }
}

#[test]
fn what_was_not_read_when_both_are_through_can_still_be_read() {
    // One lets the other close first, one closes first itself.
    for first in [CLIENT, GATEWAY] {
        let mut net = Net::fair();
        let streams = net.connection(flow(Protocol::Tcp, 5000));
        net.ends[CLIENT].stack.send(streams[CLIENT], &[7; 30_000]);
        for end in [first, 1 - first] {
            net.ends[end].stack.shutdown_write(streams[end]);
            net.run_for(minutes(1));
        }
        net.run_for(minutes(30));
        assert!(!net.has_heard(GATEWAY, streams[GATEWAY], Event::Closed));
        assert_eq!(read_all(&mut net, GATEWAY, streams[GATEWAY]), [7; 30_000]);
        net.drain();
        let heard = net.heard(GATEWAY, streams[GATEWAY]);
        assert_eq!(heard[heard.len() - 2..], [Event::PeerClosed, Event::Closed]);
    }
}

#[test]
fn a_peer_that_is_gone_is_given_up_in_the_end() {
    let mut net = Net::fair();
    let [_, gateway] = net.connection(flow(Protocol::Tcp, 5000));
    net.ends[GATEWAY].stack.send(gateway, b"hello?");
    net.obstacle = Box::new(|_, _| true);
    net.run_for(minutes(110));
    assert_eq!(net.heard(GATEWAY, gateway), [Event::Connected], "a device may sleep that long");
    net.run_for(minutes(20));
    assert_eq!(net.heard(GATEWAY, gateway).last(), Some(&Event::Reset(Cause::Silence)));
    assert!(
        net.count(GATEWAY, |packet| packet.payload() == b"hello?") < 200,
        "and is not called all the time"
    );
}

#[test]
fn a_stray_segment_is_answered_by_a_reset() {
    let mut net = Net::fair();
    let streams = net.connection(flow(Protocol::Tcp, 5000));
    let mut dice = crate::net::Dice(5);
    net.ends[GATEWAY].stack = ztna_netstack::Netstack::new(Limits::GATEWAY, &mut dice);
    net.ends[CLIENT].stack.send(streams[CLIENT], b"are you there");
    net.run_until(|net| net.has_heard(CLIENT, streams[CLIENT], Event::Reset(Cause::Peer)));
}
