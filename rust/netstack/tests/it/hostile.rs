use proptest::prelude::*;
use ztna_model::{Protocol, millis, secs};
use ztna_netstack::{Cause, Event, Limits, NotTaken, StreamId};
use ztna_packet::TcpFlags;

use crate::craft::Segment;
use crate::net::{CLIENT, Dice, FAIR, GATEWAY, Net, flow, flow_v6, is, tcp};

const ACK: TcpFlags = TcpFlags::ACK;
/// Segments of 1240 bytes, windows a hundred times as large as they say, selective acknowledgements.
const OPTIONS: [u8; 9] = [2, 4, 4, 0xd8, 3, 3, 7, 4, 2];

/// A connection whose other end is made by hand.
struct Foe {
    net: Net,
    /// Whom it means.
    end: usize,
    stream: StreamId,
    flow: ztna_model::Flow,
    /// What it says next.
    sequence: u32,
    /// What it expects next.
    expects: u32,
}

impl Foe {
    /// Shakes hands with a gateway, and asks for large windows.
    fn new(limits: Limits, sequence: u32, v6: bool) -> Self {
        let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], u64::from(sequence));
        net.obstacle = Box::new(|_, _| true);
        let flow = if v6 { flow_v6(Protocol::Tcp, 5000) } else { flow(Protocol::Tcp, 5000) };
        let mut syn = Segment::new(sequence, 0, TcpFlags::SYN);
        syn.options = OPTIONS.to_vec();
        net.inject(GATEWAY, &syn.packet(flow)).unwrap();
        net.drain();
        let (stream, _) = net.ends[GATEWAY].incoming.remove(0);
        net.ends[GATEWAY].stack.accept(stream, net.now).unwrap();
        net.drain();
        let answer = net.ends[GATEWAY].sent.remove(0);
        let expects = tcp(&ztna_packet::parse(&answer).unwrap()).sequence.wrapping_add(1);
        Self { net, end: GATEWAY, stream, flow, sequence: sequence.wrapping_add(1), expects }
    }

    /// Answers a client's SYN, the handshake being left to it.
    fn asked(limits: Limits, sequence: u32, v6: bool) -> Self {
        let mut net = Net::new(FAIR, [limits, Limits::GATEWAY], u64::from(sequence));
        net.obstacle = Box::new(|_, _| true);
        let wish = if v6 { flow_v6(Protocol::Tcp, 5000) } else { flow(Protocol::Tcp, 5000) };
        let stream = net.connect(wish);
        net.drain();
        let syn = net.ends[CLIENT].sent.remove(0);
        let expects = tcp(&ztna_packet::parse(&syn).unwrap()).sequence.wrapping_add(1);
        let mut answer = Segment::new(sequence, expects, TcpFlags::SYN.with(ACK));
        answer.options = OPTIONS.to_vec();
        net.inject(CLIENT, &answer.packet(wish.reversed())).unwrap();
        Self { net, end: CLIENT, stream, flow: wish.reversed(), sequence: sequence.wrapping_add(1), expects }
    }

    fn says(&mut self, segment: &Segment) {
        let _ = self.net.inject(self.end, &segment.packet(self.flow));
    }

    fn ack(&self) -> Segment {
        Segment::new(self.sequence, self.expects, ACK)
    }

    /// Lets it answer; nothing may have broken.
    fn listen(&mut self) {
        self.net.drain();
        let broken = Event::Reset(Cause::Broken);
        assert!(!self.net.has_heard(self.end, self.stream, broken), "a peer has broken smoltcp");
    }
}

#[test]
fn more_than_the_first_window_is_not_taken() {
    for ahead in [65_536, 100_000, 262_143, 262_144, 300_000, 500_000] {
        let mut foe = Foe::new(Limits::GATEWAY, 1000, false);
        foe.says(&foe.ack());
        let mut far = foe.ack();
        far.sequence = far.sequence.wrapping_add(ahead);
        far.payload = vec![1; 1000];
        foe.says(&far);
        foe.listen();
        // All that lies between arrives after all.
        for at in (0..ahead + 1000).step_by(1000) {
            let mut piece = foe.ack();
            piece.sequence = piece.sequence.wrapping_add(at);
            piece.payload = vec![2; 1000];
            foe.says(&piece);
            foe.listen();
            foe.net.ends[GATEWAY].stack.recv(foe.stream, &mut [0; 4000]);
        }
        foe.listen();
    }
}

#[test]
fn a_number_half_way_round_after_a_fin_in_a_full_window() {
    for near in 0..8_u32 {
        let mut foe = Foe::new(Limits { buffer_per_flow: 8 << 10, ..Limits::GATEWAY }, 1000, false);
        foe.says(&foe.ack());
        foe.listen();
        for at in 0..8 {
            let mut piece = foe.ack();
            piece.sequence = piece.sequence.wrapping_add(at * 1024);
            piece.payload = vec![2; 1024];
            if at == 7 {
                piece.flags = ACK.with(TcpFlags::FIN);
            }
            foe.says(&piece);
        }
        let mut far = foe.ack();
        far.sequence = far.sequence.wrapping_add(8192 + (1 << 31) - 4 + near);
        far.payload = vec![3; 100];
        foe.says(&far);
        foe.listen();
    }
}

#[test]
fn who_takes_the_last_byte_and_a_fin_through_a_closed_window_is_not_asked_without_end() {
    for length in 1..=2 {
        let mut foe = Foe::new(Limits::GATEWAY, 1000, false);
        let closed = |foe: &Foe, taken| {
            let expects = foe.expects.wrapping_add(taken);
            Segment { window: 0, ..Segment::new(foe.sequence, expects, ACK) }
        };
        foe.says(&closed(&foe, 0));
        foe.net.ends[GATEWAY].stack.send(foe.stream, &vec![1; length]);
        foe.net.ends[GATEWAY].stack.shutdown_write(foe.stream);
        for taken in 1..=length {
            foe.net.run_for(secs(10));
            foe.says(&closed(&foe, taken as u32));
        }
        foe.says(&closed(&foe, length as u32 + 1));
        let mut more = 0;
        for _ in 0..600 {
            foe.net.now += millis(100);
            for _ in 0..20 {
                more += usize::from(foe.net.ends[GATEWAY].stack.poll(foe.net.now).is_some());
            }
        }
        assert!(more <= 2, "{more}");
        foe.listen();
    }
}

#[test]
fn what_hides_or_lies_is_not_taken() {
    let mut net = Net::fair();
    net.connect(flow(Protocol::Tcp, 5000));
    net.drain();
    let syn = net.ends[CLIENT].sent[0].clone();
    let check = |net: &mut Net, change: &dyn Fn(&mut Vec<u8>), expected: fn(NotTaken) -> bool| {
        let mut packet = syn.clone();
        change(&mut packet);
        let outcome = net.inject(GATEWAY, &packet);
        assert!(outcome.is_err_and(expected), "{outcome:?}");
    };
    let unreadable = |cause| matches!(cause, NotTaken::Unreadable(_));
    let checksum = |cause| cause == NotTaken::Checksum;
    check(&mut net, &|packet| packet.truncate(39), unreadable);
    check(&mut net, &|packet| packet[6] = 0x20, unreadable); // more fragments
    check(&mut net, &|packet| packet[7] = 1, unreadable); // not the first fragment
    check(&mut net, &|packet| packet[0] = 0x44, unreadable);
    check(&mut net, &|packet| packet[0] = 0x75, unreadable);
    check(&mut net, &|packet| packet[9] = 47, unreadable);
    check(&mut net, &|packet| packet[8] = 3, checksum); // the header's
    check(&mut net, &|packet| packet[25] ^= 1, checksum);
    check(&mut net, &|packet| packet[36] ^= 1, checksum);
    check(&mut net, &Vec::clear, unreadable);
    assert_eq!(net.ends[GATEWAY].stack.flows(), 0);

    let mut twisted = Segment::new(1, 0, TcpFlags::SYN.with(TcpFlags::FIN)).packet(flow(Protocol::Tcp, 5000));
    assert_eq!(net.inject(GATEWAY, &twisted), Err(NotTaken::Stray));
    twisted = Segment::new(1, 0, TcpFlags::SYN).packet(flow(Protocol::Tcp, 0));
    assert_eq!(net.inject(GATEWAY, &twisted), Err(NotTaken::Stray));
    assert_eq!((net.ends[GATEWAY].stack.flows(), net.ends[GATEWAY].sent.len()), (0, 0));
}

#[test]
fn groups_begin_nothing() {
    for to in ["224.0.0.251", "255.255.255.255", "0.0.0.0"] {
        let mut net = Net::fair();
        let mut flow = flow(Protocol::Tcp, 5000);
        flow.destination.address = to.parse().unwrap();
        let syn = Segment::new(1, 0, TcpFlags::SYN).packet(flow);
        assert_eq!(net.inject(GATEWAY, &syn), Err(NotTaken::Stray), "{to}");
        net.drain();
        assert_eq!((net.ends[GATEWAY].stack.flows(), net.ends[GATEWAY].sent.len()), (0, 0));
    }
}

#[test]
fn a_reset_is_never_answered() {
    let mut net = Net::fair();
    for flags in [TcpFlags::RST, TcpFlags::RST.with(ACK), TcpFlags::RST.with(TcpFlags::SYN)] {
        let _ = net.inject(GATEWAY, &Segment::new(1, 1, flags).packet(flow(Protocol::Tcp, 5000)));
    }
    net.drain();
    assert_eq!(net.ends[GATEWAY].sent.len(), 0);
}

#[test]
fn data_in_a_syn_comes_again() {
    let mut net = Net::fair();
    let flow = flow(Protocol::Tcp, 5000);
    let mut syn = Segment::new(99, 0, TcpFlags::SYN);
    syn.payload = b"GET / HTTP/1.0".to_vec();
    net.inject(GATEWAY, &syn.packet(flow)).unwrap();
    net.drain();
    let (stream, _) = net.ends[GATEWAY].incoming[0];
    net.ends[GATEWAY].stack.accept(stream, net.now).unwrap();
    net.drain();
    let answer = ztna_packet::parse(&net.ends[GATEWAY].sent[0]).unwrap();
    assert!(is(&answer, TcpFlags::SYN));
    assert_eq!(tcp(&answer).acknowledgement, 100, "only the SYN is acknowledged");
    let mut again = Segment::new(100, tcp(&answer).sequence.wrapping_add(1), ACK);
    again.payload = syn.payload.clone();
    net.inject(GATEWAY, &again.packet(flow)).unwrap();
    net.drain();
    let mut buffer = [0; 100];
    let length = net.ends[GATEWAY].stack.recv(stream, &mut buffer);
    assert_eq!(buffer[..length], syn.payload);
}

/// Numbers near the edges that comparisons have.
fn offset(dice: &mut Dice) -> u32 {
    let base =
        [0, 0, 0, 1240, 8192, 65_535, 65_536, 262_144, 524_280, 1 << 30, 1 << 31, u32::MAX - (1 << 30)];
    let base: u32 = base[dice.roll(base.len() as u64) as usize];
    base.wrapping_add(dice.roll(5) as u32).wrapping_sub(2)
}

fn strike(foe: &mut Foe, dice: &mut Dice) {
    let mut segment = foe.ack();
    segment.flags = match dice.roll(8) {
        0 => TcpFlags::from_bits(dice.roll(256) as u8),
        1 => ACK.with(TcpFlags::FIN),
        2 if dice.happens(10) => ACK.with(TcpFlags::RST),
        3 => TcpFlags::SYN.with(if dice.happens(50) { ACK } else { TcpFlags::SYN }),
        _ => ACK,
    };
    if dice.happens(60) {
        segment.sequence = segment.sequence.wrapping_add(offset(dice));
    }
    if dice.happens(40) {
        segment.acknowledgement = segment.acknowledgement.wrapping_add(offset(dice));
    }
    segment.window = [0, 1, 100, 65_535, dice.roll(65_536) as u16][dice.roll(5) as usize];
    segment.payload = vec![5; [0, 0, 1, 1240, dice.roll(1240) as usize][dice.roll(5) as usize]];
    if dice.happens(20) {
        segment.options = (0..dice.roll(40)).map(|_| dice.roll(256) as u8).collect();
    }
    foe.says(&segment);
}

/// Follows what the other end says, so that some of the next segments are in place.
fn follow(foe: &mut Foe) {
    for packet in std::mem::take(&mut foe.net.ends[foe.end].sent) {
        let packet = ztna_packet::parse(&packet).unwrap();
        let (header, length) = (tcp(&packet), packet.payload().len() as u32);
        if header.flags.has(ACK) {
            foe.sequence = header.acknowledgement;
        }
        foe.expects = header.sequence.wrapping_add(length + u32::from(header.flags.has(TcpFlags::FIN)));
    }
}

fn fight(seed: u64, rounds: usize) {
    let mut dice = Dice(seed);
    let limits = Limits { buffer_per_flow: 1 << (13 + dice.roll(7)), ..Limits::GATEWAY };
    let begin = if dice.happens(50) { Foe::new } else { Foe::asked };
    let mut foe = begin(limits, dice.roll(1 << 32) as u32, dice.happens(50));
    let buffered = foe.net.ends[foe.end].stack.buffered();
    for _ in 0..rounds {
        for _ in 0..dice.roll(4) {
            strike(&mut foe, &mut dice);
        }
        let stack = &mut foe.net.ends[foe.end].stack;
        match dice.roll(12) {
            0 => drop(stack.recv(foe.stream, &mut [0; 5000])),
            1 => drop(stack.send(foe.stream, &[1; 5000])),
            2 if dice.happens(10) => stack.shutdown_write(foe.stream),
            3 => foe.net.run_for(secs(dice.roll(100))),
            4 => foe.net.now += millis(dice.roll(1000)),
            _ => foe.listen(),
        }
        if dice.happens(70) {
            follow(&mut foe);
        }
        assert!(foe.net.ends[foe.end].stack.buffered() <= buffered);
    }
    foe.listen();
}

#[test]
fn no_peer_breaks_a_connection_in_many_fights() {
    (0..300).for_each(|seed| fight(seed, 60));
}

proptest! {
    #[test]
    fn no_peer_breaks_a_connection(seed: u64) {
        fight(seed, 100);
    }

    #[test]
    fn garbage_is_not_taken(bytes in prop::collection::vec(any::<u8>(), 0..1400)) {
        let mut net = Net::fair();
        prop_assert!(net.inject(GATEWAY, &bytes).is_err());
        net.drain();
        prop_assert_eq!(net.ends[GATEWAY].stack.flows(), 0);
    }

    #[test]
    fn changed_packets_do_no_harm(
        seed: u64,
        changes in prop::collection::vec((0_usize..3, 0_usize..1400, any::<u8>()), 1..20),
    ) {
        let mut net = Net::new(FAIR, [Limits::DESKTOP, Limits::GATEWAY], seed);
        let [client, gateway] = net.connection(flow(Protocol::Tcp, 5000));
        net.ends[CLIENT].stack.send(client, &[7; 3000]);
        net.drain();
        let packets = net.ends[CLIENT].sent.clone();
        for (which, at, value) in changes {
            let mut packet = packets[packets.len() - 1 - which].clone();
            let at = at % packet.len();
            packet[at] = value;
            let _ = net.inject(GATEWAY, &packet);
            net.drain();
        }
        net.run_for(secs(5));
        let mut buffer = [0; 4000];
        prop_assert_eq!(net.ends[GATEWAY].stack.recv(gateway, &mut buffer), 3000);
        prop_assert!(buffer[..3000].iter().all(|byte| *byte == 7));
    }
}
