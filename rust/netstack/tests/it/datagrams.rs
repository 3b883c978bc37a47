use ztna_model::{Protocol, minutes, secs};
use ztna_netstack::{Cause, DatagramError, Event, Limits, NotTaken, StreamId};
use ztna_packet::{Content, IcmpErrorKind};

use crate::net::{CLIENT, FAIR, GATEWAY, Net, flow, flow_v6};

fn datagrams(net: &mut Net, end: usize, stream: StreamId) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| net.ends[end].stack.recv_datagram(stream).map(<[u8]>::to_vec)).collect()
}

fn send(net: &mut Net, end: usize, stream: StreamId, payload: &[u8]) -> Result<(), DatagramError> {
    net.ends[end].stack.send_datagram(stream, payload, net.now)
}

#[test]
fn datagrams_go_both_ways_and_keep_their_bounds() {
    for wish in [flow(Protocol::Udp, 5000), flow_v6(Protocol::Udp, 5000)] {
        let mut net = Net::fair();
        let client = net.connect(wish);
        for payload in [&b"one"[..], b"", b"three"] {
            send(&mut net, CLIENT, client, payload).unwrap();
        }
        net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
        let (gateway, seen) = net.ends[GATEWAY].incoming[0];
        assert_eq!(seen, wish);
        assert_eq!(net.ends[GATEWAY].events, [], "before it is accepted there is nothing to read");
        net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
        net.drain();
        assert_eq!(net.heard(GATEWAY, gateway), [Event::Readable]);
        assert_eq!(datagrams(&mut net, GATEWAY, gateway), [&b"one"[..], b"", b"three"]);

        send(&mut net, GATEWAY, gateway, b"answer").unwrap();
        net.run_until(|net| net.has_heard(CLIENT, client, Event::Readable));
        assert_eq!(datagrams(&mut net, CLIENT, client), [b"answer"]);
        assert_eq!(net.heard(CLIENT, client), [Event::Readable]);
    }
}

#[test]
fn the_largest_datagram_fills_the_mtu() {
    for (wish, most) in [(flow(Protocol::Udp, 5000), 1252), (flow_v6(Protocol::Udp, 5000), 1232)] {
        let mut net = Net::fair();
        let client = net.connect(wish);
        assert_eq!(send(&mut net, CLIENT, client, &vec![1; most + 1]), Err(DatagramError::TooLong));
        send(&mut net, CLIENT, client, &vec![1; most]).unwrap();
        net.drain();
        assert_eq!(net.ends[CLIENT].sent[0].len(), 1280);
    }
}

#[test]
fn a_silent_flow_is_over_after_two_minutes() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Udp, 5000));
    for _ in 0..5 {
        send(&mut net, CLIENT, client, b"still here").unwrap();
        net.run_for(secs(110));
        for (id, _) in std::mem::take(&mut net.ends[GATEWAY].incoming) {
            net.ends[GATEWAY].stack.accept(id, net.now).unwrap();
        }
    }
    assert_eq!((net.ends[CLIENT].stack.flows(), net.ends[GATEWAY].stack.flows()), (1, 1));
    net.run_for(secs(11));
    assert_eq!(net.heard(CLIENT, client), [Event::Closed]);
    assert_eq!(net.ends[GATEWAY].events.last().map(|(_, event)| *event), Some(Event::Closed));
    assert_eq!((net.ends[CLIENT].stack.flows(), net.ends[GATEWAY].stack.flows()), (0, 0));
    assert_eq!(send(&mut net, CLIENT, client, b"too late"), Err(DatagramError::NoFlow));
}

#[test]
fn one_that_nobody_answers_for_is_over_as_well() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Udp, 5000));
    send(&mut net, CLIENT, client, b"anybody?").unwrap();
    net.run_for(minutes(3));
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    assert_eq!(net.heard(GATEWAY, gateway), [Event::Closed]);
    assert_eq!(net.ends[GATEWAY].stack.buffered(), 0);
}

#[test]
fn a_refusal_is_an_icmp_error_about_the_flow() {
    for wish in [flow(Protocol::Udp, 5000), flow_v6(Protocol::Udp, 5000)] {
        for revoked in [false, true] {
            let mut net = Net::fair();
            let client = net.connect(wish);
            send(&mut net, CLIENT, client, b"please").unwrap();
            net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
            let (gateway, _) = net.ends[GATEWAY].incoming[0];
            if revoked {
                net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
                net.ends[GATEWAY].stack.abort_where(|_, _| true);
            } else {
                net.ends[GATEWAY].stack.refuse(gateway);
            }
            net.drain();
            let [packet] = &net.ends[GATEWAY].sent[..] else { panic!("one answer") };
            let Content::IcmpError(error) = ztna_packet::parse(packet).unwrap().content() else {
                panic!("an ICMP error")
            };
            assert_eq!(error.about, wish);
            assert!(matches!(error.kind, IcmpErrorKind::Unreachable { .. }));
            let aborted = (gateway, Event::Reset(Cause::Aborted));
            assert_eq!(net.ends[GATEWAY].events.contains(&aborted), revoked);
            assert_eq!((net.ends[GATEWAY].stack.flows(), net.ends[GATEWAY].stack.buffered()), (0, 0));
        }
    }
}

#[test]
fn a_stalled_reader_of_datagrams_keeps_a_bounded_number() {
    let limits = [Limits::DESKTOP, Limits { buffer_per_flow: 16 << 10, ..Limits::GATEWAY }];
    let mut net = Net::new(FAIR, limits, 1);
    let client = net.connect(flow(Protocol::Udp, 5000));
    send(&mut net, CLIENT, client, &[0; 1000]).unwrap();
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
    let before = net.ends[GATEWAY].stack.buffered();
    for _ in 0..100 {
        send(&mut net, CLIENT, client, &[1; 1000]).unwrap();
        net.run_for(secs(1));
    }
    let packet = net.ends[CLIENT].sent.last().unwrap().clone();
    assert_eq!(net.inject(GATEWAY, &packet), Err(NotTaken::Unread));
    assert_eq!(net.ends[GATEWAY].stack.buffered(), before);
    assert_eq!(datagrams(&mut net, GATEWAY, gateway).len(), 16);
    assert_eq!(net.inject(GATEWAY, &packet), Ok(()));
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let mut net = Net::fair();
    let client = net.connect(flow(Protocol::Udp, 5000));
    let sent = (0..1000).take_while(|_| send(&mut net, CLIENT, client, &[1; 1200]).is_ok()).count();
    assert!((100..300).contains(&sent), "{sent}");
    assert_eq!(send(&mut net, CLIENT, client, &[1; 1200]), Err(DatagramError::NoRoom));
    net.drain();
    assert_eq!(net.ends[CLIENT].sent.len(), sent);
    assert_eq!(send(&mut net, CLIENT, client, &[1; 1200]), Ok(()));
}

#[test]
fn a_connection_takes_no_datagrams_and_the_other_way_round() {
    let mut net = Net::fair();
    let [client, _] = net.connection(flow(Protocol::Tcp, 5000));
    assert_eq!(send(&mut net, CLIENT, client, b"datagram"), Err(DatagramError::NoFlow));
    assert_eq!(net.ends[CLIENT].stack.recv_datagram(client), None);
    let datagrams = net.connect(flow(Protocol::Udp, 5000));
    let stack = &mut net.ends[CLIENT].stack;
    assert_eq!(stack.send(datagrams, b"bytes"), 0);
    assert_eq!(stack.recv(datagrams, &mut [0; 10]), 0);
    assert_eq!((stack.room(datagrams), stack.unread(datagrams)), (0, 0));
    stack.shutdown_write(datagrams);
}
