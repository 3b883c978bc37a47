use ztna_model::{Protocol, Time, minutes, secs};
use ztna_netstack::Event;

use crate::net::{CLIENT, GATEWAY, Net, flow};
use crate::transfer::{Talk, talk};

// That a drained netstack never wants the clock at once is asserted after every step of every test: see `Net::drain`.

#[test]
fn without_flows_nobody_is_woken() {
    let mut net = Net::fair();
    assert_eq!(net.ends[CLIENT].stack.next_wake(), None);
    let streams = net.connection(flow(Protocol::Tcp, 5000));
    talk(&mut net, streams, [Talk::new(10_000, 1), Talk::new(10_000, 2)]);
    for end in &mut net.ends {
        assert_eq!(end.stack.next_wake(), None);
    }
}

#[test]
fn idle_flows_wake_nobody_for_hours() {
    let mut net = Net::fair();
    for port in 0..20 {
        let [client, gateway] = net.connection(flow(Protocol::Tcp, 5000 + port));
        net.ends[GATEWAY].stack.send(gateway, &[1; 100_000]);
        net.run_until(|net| net.has_heard(CLIENT, client, Event::Readable));
        while net.ends[CLIENT].stack.recv(client, &mut [0; 100_000]) > 0 {
            net.run_for(secs(1));
        }
    }
    net.run_for(secs(10));
    let sent = net.ends.each_ref().map(|end| end.sent.len());
    for end in &mut net.ends {
        assert!(end.stack.next_wake().is_some_and(|wake| wake > net.now + minutes(110)));
    }
    net.run_for(minutes(110));
    assert_eq!(net.ends.each_ref().map(|end| end.sent.len()), sent, "and send nothing");
}

#[test]
fn what_is_to_be_done_at_once_is_said_to_be_at_once() {
    let mut net = Net::fair();
    net.connect(flow(Protocol::Tcp, 5000));
    assert_eq!(net.ends[CLIENT].stack.next_wake(), Some(Time::ZERO));
    net.drain();
    assert!(net.ends[CLIENT].stack.next_wake().is_some_and(|wake| wake > net.now));
}

#[test]
fn acknowledgements_wait_for_nothing() {
    let mut net = Net::fair();
    let [client, _] = net.connection(flow(Protocol::Tcp, 5000));
    let begin = net.now;
    for _ in 0..20 {
        net.ends[CLIENT].stack.send(client, b"one small thing at a time");
        net.drain();
    }
    assert_eq!(net.count(CLIENT, |packet| packet.payload().len() == 25), 20, "no piece waits for another");
    let sent = net.ends[GATEWAY].sent.len();
    net.run_until(|net| net.ends[GATEWAY].sent.len() > sent);
    assert_eq!(net.now.since(begin), net.weather.delay, "nor does the answer");
    assert_eq!(net.ends[GATEWAY].sent.len(), sent + 1, "which is one for the batch");
}

#[test]
fn the_window_of_congestion_opens_with_what_is_acknowledged() {
    let mut net = Net::fair();
    net.weather.delay = ztna_model::millis(20);
    let streams = net.connection(flow(Protocol::Tcp, 5000));
    let took = talk(&mut net, streams, [Talk::new(0, 1), Talk::new(2_000_000, 2)]);
    // 256 KiB in each 40 ms after six to open the window, though there is one acknowledgement in each.
    assert!(took < ztna_model::millis(800), "{took:?}");
}
