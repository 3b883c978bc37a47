use ztna_model::{Protocol, minutes, secs};
use ztna_netstack::{AcceptError, ConnectError, Event, Limits, NotTaken, Scope};
use ztna_packet::TcpFlags;

use crate::net::{CLIENT, Dice, FAIR, GATEWAY, Net, SCOPE, flow, is, tcp};

#[test]
fn flows_are_counted_by_scope_and_in_all() {
    let limits = Limits { flows: 10, flows_per_scope: 6, ..Limits::DESKTOP };
    let mut net = Net::new(FAIR, [limits, Limits::GATEWAY], 1);
    let stack = &mut net.ends[CLIENT].stack;
    let mut begin = |scope: u32, port| stack.connect(Scope(scope), flow(Protocol::Tcp, port), net.now);
    let first: Vec<_> = (0..6).map(|port| begin(1, 5000 + port).unwrap()).collect();
    assert_eq!(begin(1, 6000), Err(ConnectError::TooManyFlows));
    let _second: Vec<_> = (0..4).map(|port| begin(2, 5000 + port).unwrap()).collect();
    assert_eq!(begin(3, 5000), Err(ConnectError::TooManyFlows));
    net.ends[CLIENT].stack.abort(first[0]);
    net.ends[CLIENT].stack.abort_where(|scope, _| scope == Scope(2));
    while net.ends[CLIENT].stack.poll(net.now).is_some() {}
    assert_eq!(net.ends[CLIENT].stack.flows(), 5);
    assert!(net.ends[CLIENT].stack.connect(Scope(3), flow(Protocol::Tcp, 5000), net.now).is_ok());
}

#[test]
fn a_flood_of_wishes_stays_within_its_scope_and_costs_no_buffers() {
    let limits = Limits { waiting_per_scope: 32, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], 1);
    for port in 0..2000 {
        net.connect(flow(Protocol::Tcp, 5000 + port));
    }
    net.run_for(secs(1));
    assert_eq!(net.ends[GATEWAY].incoming.len(), 32);
    assert_eq!((net.ends[GATEWAY].stack.flows(), net.ends[GATEWAY].stack.buffered()), (32, 0));
    assert_eq!(net.ends[GATEWAY].sent.len(), 0, "and nothing is said about it");

    // Answers make room for others.
    for (stream, _) in std::mem::take(&mut net.ends[GATEWAY].incoming) {
        net.ends[GATEWAY].stack.refuse(stream);
    }
    net.run_until(|net| net.ends[GATEWAY].incoming.len() == 32);

    // Another device is not kept out by it.
    let mut other = Net::fair();
    other.connect(flow(Protocol::Tcp, 5000));
    other.drain();
    let syn = other.ends[CLIENT].sent[0].clone();
    assert_eq!(
        net.ends[GATEWAY].stack.handle_packet(SCOPE, &syn, net.now),
        Ok(()),
        "a known one is only repeated"
    );
    assert_eq!(net.ends[GATEWAY].stack.handle_packet(Scope(8), &syn, net.now), Ok(()));
}

#[test]
fn no_wish_is_taken_beyond_the_limit_of_flows() {
    let limits = Limits { flows_per_scope: 3, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], 1);
    for port in 0..3 {
        net.connection(flow(Protocol::Tcp, 5000 + port));
    }
    net.connect(flow(Protocol::Tcp, 6000));
    net.drain();
    let syn = net.ends[CLIENT].sent.last().unwrap().clone();
    assert_eq!(net.inject(GATEWAY, &syn), Err(NotTaken::TooManyFlows));
}

#[test]
fn buffers_shrink_as_flows_come_and_never_pass_the_total() {
    let limits = Limits { buffer_total: 6 << 20, flows: 100, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], 1);
    let mut rooms = Vec::new();
    for port in 0..100 {
        let [_, gateway] = net.connection(flow(Protocol::Tcp, 5000 + port));
        rooms.push(net.ends[GATEWAY].stack.room(gateway));
        assert!(net.ends[GATEWAY].stack.buffered() <= 6 << 20);
    }
    assert!(rooms.is_sorted_by(|a, b| a >= b) && rooms[0] > rooms[99] && rooms[99] > 0, "{rooms:?}");
}

#[test]
fn without_room_for_buffers_flows_are_refused() {
    let limits = Limits { buffer_total: 40 << 10, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], 1);
    net.connection(flow(Protocol::Tcp, 5000));
    net.connection(flow(Protocol::Tcp, 5001));
    let client = net.connect(flow(Protocol::Tcp, 5002));
    net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
    let (gateway, _) = net.ends[GATEWAY].incoming[0];
    assert_eq!(net.ends[GATEWAY].stack.accept(gateway, net.now), Err(AcceptError::NoBuffers));
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Reset(ztna_netstack::Cause::Peer)));
    let wish = flow(Protocol::Tcp, 7000);
    let begun = net.ends[GATEWAY].stack.connect(SCOPE, wish, net.now);
    assert_eq!(begun, Err(ConnectError::NoBuffers));
}

#[test]
fn a_stalled_reader_closes_the_window_and_memory_stays_flat() {
    let limits = [Limits { buffer_per_flow: 64 << 10, ..Limits::DESKTOP }, Limits::GATEWAY];
    let mut net = Net::new(FAIR, limits, 1);
    let [client, gateway] = net.connection(flow(Protocol::Tcp, 5000));
    let before = (net.ends[CLIENT].stack.buffered(), net.ends[GATEWAY].stack.buffered());
    let mut given = 0;
    let mut send = |net: &mut Net| {
        let sent = net.ends[GATEWAY].stack.send(gateway, &[7; 100_000]);
        given += sent;
        sent
    };
    for _ in 0..60 {
        send(&mut net);
        net.run_for(secs(1));
    }
    assert_eq!(send(&mut net), 0);
    // The last bytes of a window are not offered.
    let unread = net.ends[CLIENT].stack.unread(client);
    assert!(unread <= 64 << 10 && unread + 8 > 64 << 10, "{unread}");
    assert_eq!((net.ends[CLIENT].stack.buffered(), net.ends[GATEWAY].stack.buffered()), before);
    assert_eq!(given, unread + (256 << 10));
    let last = net.ends[CLIENT].sent.last().unwrap();
    assert_eq!(tcp(&ztna_packet::parse(last).unwrap()).window, 0);

    // A quiet hour costs a probe a minute.
    let sent = net.ends[GATEWAY].sent.len();
    net.run_for(minutes(60));
    assert!(net.ends[GATEWAY].sent.len() - sent < 70, "{}", net.ends[GATEWAY].sent.len() - sent);

    // The reader comes back, and what it says about that is lost: the next probe finds out.
    net.obstacle = Box::new(|from, _| from == CLIENT);
    let read = net.ends[CLIENT].stack.recv(client, &mut vec![0; 1 << 20]);
    net.run_for(secs(1));
    net.obstacle = Box::new(|_, _| false);
    let mut total = read;
    net.ends[GATEWAY].stack.shutdown_write(gateway);
    net.run_until(|net| net.has_heard(CLIENT, client, Event::Readable));
    for _ in 0..10_000 {
        total += net.ends[CLIENT].stack.recv(client, &mut vec![0; 1 << 20]);
        if !net.step() || net.has_heard(CLIENT, client, Event::PeerClosed) {
            break;
        }
    }
    assert_eq!(total, given);
}

#[test]
fn buffers_are_used_again_and_carry_nothing_over() {
    let limits = Limits { buffer_total: 64 << 20, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [limits, limits], 1);
    let mut promised = Vec::new();
    for round in 0..4_u8 {
        let streams: Vec<_> = (0..40).map(|port| net.connection(flow(Protocol::Tcp, 5000 + port))).collect();
        let stacks = [CLIENT, GATEWAY].map(|end| &net.ends[end].stack);
        promised.push(stacks.map(ztna_netstack::Netstack::buffered));
        // No new ones were made while others lay idle.
        assert_eq!(stacks.map(ztna_netstack::Netstack::kept), [0, 0], "round {round}");
        for (number, [client, gateway]) in streams.into_iter().enumerate() {
            let letter = vec![round * 40 + number as u8; 3000 + number];
            assert_eq!(net.ends[CLIENT].stack.send(client, &letter), letter.len());
            net.run_for(secs(1));
            let mut read = vec![0; 8000];
            // Every third leaves behind what it has not read.
            if number % 3 > 0 {
                assert_eq!(net.ends[GATEWAY].stack.recv(gateway, &mut read), letter.len());
                assert_eq!(read[..letter.len()], letter);
            }
            net.ends[CLIENT].stack.abort(client);
            net.run_for(secs(1));
        }
        net.run_for(secs(1));
        for (end, buffered) in [CLIENT, GATEWAY].into_iter().zip(&promised[0]) {
            let stack = &net.ends[end].stack;
            assert_eq!((stack.buffered(), stack.kept()), (0, *buffered), "round {round}");
        }
    }
    assert!(promised.windows(2).all(|pair| pair[0] == pair[1]), "{promised:?}");
}

#[test]
fn buffers_that_were_filled_are_not_all_kept() {
    let limits = Limits {
        flows: 10,
        flows_per_scope: 10,
        buffer_total: 4 << 20,
        buffer_per_flow: 64 << 10,
        ..Limits::GATEWAY
    };
    let mut net = Net::new(FAIR, [limits, limits], 1);
    let streams: Vec<_> = (0..10).map(|port| net.connection(flow(Protocol::Tcp, 5000 + port))).collect();
    for [client, _] in &streams {
        net.ends[CLIENT].stack.send(*client, &[7; 64 << 10]);
    }
    net.run_for(secs(1));
    streams.iter().for_each(|[client, _]| net.ends[CLIENT].stack.abort(*client));
    net.run_for(secs(1));
    // Four times 64 KiB, which is a sixteenth of all.
    assert_eq!(net.ends[CLIENT].stack.kept(), 4 * 2 * (64 << 10));
}

#[test]
fn who_comes_to_a_full_house_of_waiting_ones_tries_again() {
    let limits = Limits { waiting_per_scope: 1, ..Limits::GATEWAY };
    let mut net = Net::new(FAIR, [Limits::DESKTOP, limits], 1);
    let clients = [5000, 5001].map(|port| net.connect(flow(Protocol::Tcp, port)));
    for _ in clients {
        net.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
        let (gateway, _) = net.ends[GATEWAY].incoming.remove(0);
        net.ends[GATEWAY].stack.accept(gateway, net.now).unwrap();
    }
    net.run_until(|net| clients.iter().all(|client| net.has_heard(CLIENT, *client, Event::Connected)));
    assert!(net.count(CLIENT, |packet| is(packet, TcpFlags::SYN)) > 2);
}

#[test]
fn a_random_life_leaves_nothing_behind() {
    for seed in 0..30 {
        let limits = [
            Limits { flows: 40, buffer_total: 1 << 20, ..Limits::DESKTOP },
            Limits { flows: 40, waiting_per_scope: 10, buffer_total: 1 << 20, ..Limits::GATEWAY },
        ];
        let weather = crate::net::Weather { lost: 5, late: 20, twice: 10, ..FAIR };
        let mut net = Net::new(weather, limits, seed);
        let mut dice = Dice(seed ^ 0xfeed);
        let mut streams: [Vec<_>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..400 {
            let protocol = if dice.happens(70) { Protocol::Tcp } else { Protocol::Udp };
            let wish = flow(protocol, 5000 + dice.roll(60) as u16);
            if let Ok(id) = net.ends[CLIENT].stack.connect(SCOPE, wish, net.now) {
                streams[CLIENT].push(id);
                let _ = net.ends[CLIENT].stack.send_datagram(id, b"anybody there?", net.now);
            }
            for (id, _) in std::mem::take(&mut net.ends[GATEWAY].incoming) {
                match dice.roll(3) {
                    0 => net.ends[GATEWAY].stack.refuse(id),
                    _ => {
                        let _ = net.ends[GATEWAY].stack.accept(id, net.now);
                        streams[GATEWAY].push(id);
                    }
                }
            }
            for end in [CLIENT, GATEWAY] {
                let Some(id) = streams[end].get(dice.roll(streams[end].len() as u64) as usize).copied()
                else {
                    continue;
                };
                let stack = &mut net.ends[end].stack;
                match dice.roll(6) {
                    0 => stack.abort(id),
                    1 => stack.shutdown_write(id),
                    2 => drop(stack.recv_datagram(id)),
                    3 => drop(stack.send(id, &[1; 30_000])),
                    _ => drop(stack.recv(id, &mut [0; 20_000])),
                }
            }
            for _ in 0..dice.roll(8) {
                net.step();
            }
        }
        net.ends[CLIENT].stack.abort_where(|_, _| true);
        net.ends[GATEWAY].stack.abort_where(|_, _| true);
        // What was on its way may still ask, in vain.
        net.run_for(minutes(3));
        for end in &mut net.ends {
            assert_eq!((end.stack.flows(), end.stack.buffered(), end.stack.next_wake()), (0, 0, None));
            let resets =
                end.events.iter().filter(|(_, event)| *event == Event::Reset(ztna_netstack::Cause::Broken));
            assert_eq!(resets.count(), 0);
        }
    }
}
