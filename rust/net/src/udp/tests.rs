//! Real datagrams over loopback.

use std::net::{IpAddr, Ipv4Addr};

use ztna_model::secs;

use super::*;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::poll::Poller;

/// One port and what waits for it.
struct End {
    port: UdpPort,
    poller: Poller,
    inbox: Inbox<()>,
    batch: Batch,
}

impl End {
    fn new(bind: Bind) -> Self {
        let mut port = UdpPort::bind(bind).unwrap();
        let (mut poller, _, inbox) = Poller::new(Clock, 1).unwrap();
        poller.add(&mut port).unwrap();
        Self { port, poller, inbox, batch: Batch::new() }
    }

    fn address(&self) -> SocketAddr {
        self.port.local_address()
    }

    /// The next `count` datagrams, with where they came from.
    fn receive(&mut self, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let give_up = Clock.now() + secs(10);
        let mut received = Vec::new();
        while received.len() < count {
            let now = self.poller.wait(&mut self.port, &self.inbox, Some(give_up)).unwrap();
            assert!(now < give_up, "{} of {count} datagrams came", received.len());
            while self.port.recv(&mut self.batch).unwrap() {
                received.extend(self.batch.datagrams().map(|d| (d.source, d.contents.to_vec())));
            }
        }
        received
    }
}

/// Sends datagrams of these sizes from one port to the other, and compares what arrives.
fn check(sender: &mut End, receiver: &mut End, sizes: &[usize]) {
    let destination = receiver.address();
    let mut expected = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let datagram = vec![u8::try_from(number % 256).unwrap(); *size];
        sender.port.room(destination, *size)[..*size].copy_from_slice(&datagram);
        sender.port.commit(*size);
        expected.push((sender.address(), datagram));
    }
    assert!(sender.port.flush().unwrap());
    assert_eq!(sender.port.lost(), 0);
    assert_eq!(receiver.receive(sizes.len()), expected);
}

const SIZES: [&[usize]; 6] = [
    &[1],
    &[1312, 1312, 80],
    &[1312; 130],
    &[80, 1312, 80, 1312, 1312, 1, 2, 3],
    &[1; 200],
    &[60_000, 60_000, 65_000, 17],
];

#[test]
fn what_is_sent_arrives_datagram_by_datagram() {
    for bind in [Bind::LoopbackV4, Bind::LoopbackV6] {
        // A machine may have no IPv6.
        let Ok(_) = UdpPort::bind(bind) else { continue };
        for sizes in SIZES {
            check(&mut End::new(bind), &mut End::new(bind), sizes);
        }
    }
}

#[test]
fn without_segmentation_offload_the_same_arrives() {
    for sizes in SIZES {
        let mut sender = End::new(Bind::LoopbackV4);
        sender.port.turn_off_segmentation();
        check(&mut sender, &mut End::new(Bind::LoopbackV4), sizes);
        assert_eq!(sender.port.offloads().segmentation, Segmentation::TurnedOff);
    }
}

#[test]
fn a_kernel_that_refuses_segmentation_is_asked_once() {
    let (mut sender, mut receiver) = (End::new(Bind::LoopbackV4), End::new(Bind::LoopbackV4));
    if sender.port.offloads().segmentation != Segmentation::On {
        return;
    }
    sender.port.wire.max_segments = 1000; // more than any kernel takes
    let contents: Vec<u8> = (0..150).collect();
    let transmit = Transmit { destination: receiver.address(), contents: &contents, segment_size: 1 };
    assert_eq!(sender.port.send(&transmit).unwrap(), Sent::All);
    let received: Vec<u8> = receiver.receive(150).into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(received, contents);
    assert_eq!(sender.port.offloads().segmentation, Segmentation::Refused);
    check(&mut sender, &mut receiver, &[1312; 3]);
}

#[test]
fn a_bad_destination_does_not_cost_the_offload() {
    let mut port = UdpPort::bind(Bind::LoopbackV4).unwrap();
    let before = port.offloads();
    let mapped = "[::ffff:127.0.0.1]:9";
    for text in ["127.0.0.1:0", "192.0.2.1:9", "0.0.0.0:9", "224.0.0.1:9", "[::1]:9", mapped] {
        let destination = text.parse().unwrap();
        let sent = port.send(&Transmit { destination, contents: &[0; 300], segment_size: 100 });
        assert!(matches!(sent, Err(SendError::OutOfReach { .. })), "{text}: {sent:?}");
    }
    // A port of the whole machine has to ask the kernel.
    let mut port = UdpPort::bind(Bind::V4).unwrap();
    let destination = "255.255.255.255:9".parse().unwrap();
    let sent = port.send(&Transmit { destination, contents: &[0; 300], segment_size: 100 });
    assert!(matches!(sent, Err(SendError::Forbidden { .. } | SendError::NoRoute { .. })), "{sent:?}");
    let sent = port.send(&Transmit {
        destination: "127.0.0.1:9".parse().unwrap(),
        contents: &[0; 65_508], // one more than UDP over IPv4 carries
        segment_size: 0,
    });
    assert!(matches!(sent, Err(SendError::TooLarge { .. })), "{sent:?}");
    assert_eq!(port.offloads().segmentation, before.segmentation);
}

#[test]
fn a_port_open_to_both_families_shows_ipv4_as_ipv4() {
    let mut dual = End::new(Bind::Dual);
    let mut v4 = End::new(Bind::LoopbackV4);
    let port = dual.address().port();
    let transmit = |destination| Transmit { destination, contents: &b"ping ping pong"[..], segment_size: 5 };
    v4.port.send(&transmit((Ipv4Addr::LOCALHOST, port).into())).unwrap();
    let received = dual.receive(3);
    assert_eq!(received[0], (v4.address(), b"ping ".to_vec()));
    dual.port.send(&transmit(v4.address())).unwrap();
    let back = v4.receive(3);
    assert_eq!(dual.port.offloads().segmentation, v4.port.offloads().segmentation);
    assert_eq!(back[2], ((IpAddr::from(Ipv4Addr::LOCALHOST), port).into(), b"pong".to_vec()));
}

#[test]
fn an_empty_datagram_opens_a_path_and_is_not_seen() {
    let (mut sender, mut receiver) = (End::new(Bind::LoopbackV4), End::new(Bind::LoopbackV4));
    let destination = receiver.address();
    let empty = Transmit { destination, contents: &[], segment_size: 0 };
    assert_eq!(sender.port.send(&empty).unwrap(), Sent::All);
    sender.port.room(destination, 0);
    sender.port.commit(0);
    assert_eq!(sender.port.lost(), 0);
    let one = Transmit { destination, contents: b"x", segment_size: 0 };
    assert_eq!(sender.port.send(&one).unwrap(), Sent::All);
    assert_eq!(receiver.receive(1), [(sender.address(), b"x".to_vec())]);
}

#[test]
fn ports_are_ephemeral_and_stay_where_they_were_asked_to() {
    let port = UdpPort::bind(Bind::LoopbackV4).unwrap();
    assert!(port.local_address().ip().is_loopback() && port.local_address().port() != 0);
    assert!(port.offloads().receive_buffer > 0 && port.offloads().send_buffer > 0);
    let bound = UdpPort::bind(Bind::Dual).unwrap().bound();
    assert!(matches!(bound, Bind::Dual | Bind::V4));
}

#[test]
fn a_blocked_port_is_woken_when_there_is_room() {
    let mut end = End::new(Bind::LoopbackV4);
    assert!(!end.port.recv(&mut end.batch).unwrap());
    for _ in 0..3 {
        end.port.wire.blocked = true; // loopback never blocks by itself
        while end.port.is_blocked() {
            end.poller.wait(&mut end.port, &end.inbox, None).unwrap();
        }
    }
}

#[test]
fn what_the_kernel_did_not_take_leaves_with_the_next_flush() {
    let (mut sender, mut receiver) = (End::new(Bind::LoopbackV4), End::new(Bind::LoopbackV4));
    let destination = receiver.address();
    for number in 0..4 {
        sender.port.room(destination, 100)[..100].fill(number);
        sender.port.commit(100);
    }
    sender.port.outgoing.take(200);
    assert!(!sender.port.outgoing.fits(destination, 100), "a batch that has begun to leave is closed");
    assert!(sender.port.flush().unwrap());
    let received = receiver.receive(2);
    assert_eq!(received.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn datagrams_to_nowhere_are_counted_and_disturb_nobody() {
    let (mut sender, mut receiver) = (End::new(Bind::LoopbackV4), End::new(Bind::LoopbackV4));
    let (nowhere, destination) = ("192.0.2.1:9".parse().unwrap(), receiver.address());
    for to in [nowhere, nowhere, destination, nowhere] {
        sender.port.room(to, 10)[..10].fill(1);
        sender.port.commit(10);
    }
    assert!(matches!(sender.port.flush(), Err(SendError::OutOfReach { .. })));
    assert_eq!(sender.port.lost(), 3);
    assert!(sender.port.flush().unwrap());
    assert_eq!(receiver.receive(1).len(), 1);
    assert!(sender.port.room(destination, 65_001).is_empty(), "longer than any datagram");
}
