//! What comes as packets and datagrams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use ztna_model::{Carrier, Secret, Time, secs};
use ztna_netstack::{Event, Limits, Netstack, Output, Scope, StreamId};
use ztna_packet::{Burst, Segments, clamp_mss, parse, prohibit, refuse, rewrite, too_big};
use ztna_tunnel::{Decapsulated, Encapsulated, Role, Tunnel, wg_public};

use crate::Chance;
use crate::segment::mended;

/// IP packets: what is read can be answered, cut and rewritten, and nothing grows beyond its buffer.
pub(crate) fn packet(bytes: &[u8]) {
    let Ok(packet) = parse(bytes) else { return };
    let mut buffer = [0; 2_048];
    let answers =
        [refuse(&packet, &mut buffer), prohibit(&packet, &mut buffer), too_big(&packet, 1_280, &mut buffer)];
    assert!(answers.into_iter().flatten().all(|length| length <= 1_280), "an answer is too long");
    if let Ok(length) = refuse(&packet, &mut buffer) {
        let answer = parse(&buffer[..length]).expect("an answer is a packet");
        assert_eq!(answer.destination(), packet.source(), "an answer goes back");
        assert!(answer.checksums_hold(), "an answer's checksums hold");
    }
    if let Some(flow) = packet.flow() {
        let held = packet.checksums_hold();
        let mut copy = packet.bytes().to_vec();
        if rewrite(&mut copy, flow.reversed()).is_ok() {
            let rewritten = parse(&copy).expect("a rewritten packet is a packet");
            assert_eq!(rewritten.checksums_hold(), held, "rewriting neither mends nor breaks checksums");
        }
    }
    let mut copy = packet.bytes().to_vec();
    let _clamped = clamp_mss(&mut copy, 1_220);
    if let Some(mut segments) = NonZeroU16::new(536).and_then(|size| Segments::of(&packet, size)) {
        let mut room = vec![0; segments.longest()];
        while let Ok(Some(length)) = segments.write_next(&mut room) {
            assert!(parse(&room[..length]).is_ok(), "a segment is a packet");
        }
    }
}

/// What a TUN device reads, its own header first: it is refused, or cut into sound packets which are those that cutting it
/// elsewhere makes, and together no longer than their headers allow.
pub(crate) fn bursts(bytes: &[u8]) {
    let mut room = bytes.to_vec();
    let length = room.len();
    let Ok(mut burst) = Burst::behind_virtio_header(&mut room, length) else { return };
    let (whole, size) = (burst.bytes().to_vec(), burst.size());
    let Ok(mut pieces) = burst.pieces() else { return };
    let mut written = 0;
    let packet = parse(&whole).expect("what is cut was a packet");
    let mut segments = size.and_then(|size| Segments::of(&packet, size));
    let mut elsewhere = vec![0; whole.len()];
    while let Some(piece) = pieces.write_next() {
        let read = parse(piece.bytes()).expect("a piece is a packet");
        assert!(size.is_none() || read.checksums_hold(), "a piece's checksums hold");
        assert!(
            read.bytes().len() == piece.length && piece.length <= whole.len(),
            "a piece says how long it is"
        );
        if let Some(segments) = &mut segments {
            let length =
                segments.write_next(&mut elsewhere).expect("room").expect("as many segments as pieces");
            assert_eq!(piece.bytes(), &elsewhere[..length], "a piece is a segment");
        }
        written += 1;
    }
    assert_eq!(written, pieces.count(), "all pieces come");
}

/// Packets to a gateway's netstack, one behind the other, with the checksums and acknowledgements that they should have:
/// whatever is sent in answer is a sound packet that goes back, and memory keeps its bounds.
pub(crate) fn netstack(bytes: &[u8]) {
    let now = Time::ZERO + secs(1_000);
    let limits = Limits { flows: 8, flows_per_scope: 8, buffer_total: 1 << 20, ..Limits::GATEWAY };
    let mut netstack = Netstack::new(limits, &mut Chance(1));
    let (mut rest, mut acknowledge) = (bytes, 0);
    for step in 0..32 {
        let Ok(packet) = parse(rest) else { break };
        rest = &rest[packet.bytes().len()..];
        let now = now + secs(step);
        let _taken = netstack.handle_packet(Scope(1), &mended(packet.bytes(), acknowledge), now);
        acknowledge = answers(&mut netstack, now).unwrap_or(acknowledge);
        assert!(netstack.flows() <= 8, "too many flows");
        assert!(netstack.buffered() <= 1 << 20, "too much is kept");
    }
}

/// Does what a gateway does with what comes out. Gives back the number after the last segment that was sent.
fn answers(netstack: &mut Netstack, now: Time) -> Option<u32> {
    let (mut next, mut open): (Option<u32>, Vec<(StreamId, Option<Event>)>) = (None, Vec::new());
    for _ in 0..1_000 {
        match netstack.poll(now) {
            Some(Output::Packet { scope, packet }) => {
                assert_eq!(scope, Scope(1), "an answer goes back to whom it is for");
                let packet = parse(packet).expect("an answer is a packet");
                assert!(packet.checksums_hold(), "an answer's checksums hold");
                next = crate::segment::next(packet.bytes()).or(next);
            }
            Some(Output::Incoming { stream, .. }) => open.push((stream, None)),
            Some(Output::Event { stream, event }) => open.push((stream, Some(event))),
            None if open.is_empty() => return next,
            None => open.drain(..).for_each(|(stream, event)| use_stream(netstack, stream, event, now)),
        }
    }
    panic!("the netstack never comes to rest")
}

fn use_stream(netstack: &mut Netstack, stream: StreamId, event: Option<Event>, now: Time) {
    let mut buffer = [0; 512];
    match event {
        None => {
            let _accepted = netstack.accept(stream, now);
        }
        Some(Event::Connected | Event::Writable) => {
            netstack.send(stream, b"hello");
        }
        Some(Event::Readable) => {
            while netstack.recv(stream, &mut buffer) > 0 {}
            while netstack.recv_datagram(stream).is_some() {}
        }
        Some(Event::PeerClosed) => netstack.shutdown_write(stream),
        Some(Event::Closed | Event::Reset(_)) => assert!(netstack.flow(stream).is_none(), "its name is void"),
    }
}

/// Datagrams to a gateway: whoever has no key gets nothing through and no more back than was sent.
pub(crate) fn datagrams(bytes: &[u8]) {
    let now = Time::ZERO + secs(1_000);
    let mut tunnel = Tunnel::new(&Secret::new([2; 32]), Tunnel::DEFAULT_MTU, now);
    let key = wg_public(&Secret::new([9; 32]));
    tunnel.add_peer(key, None, Role::Responder, &mut Chance(1), now).expect("a first peer");
    let mut out = vec![0; bytes.len().max(2_048)];
    assert!(tunnel.decapsulate(bytes, stranger(), &mut out, now).is_err(), "something passes without a key");
    let mut answered = 0;
    while let Some(sent) = tunnel.poll(&mut out, now) {
        answered += sent.length;
    }
    assert!(answered <= bytes.len(), "{answered} bytes in answer to {}", bytes.len());
}

/// What an authentic device puts into a datagram: it comes out cut to its own length, or not at all.
pub(crate) fn inside(bytes: &[u8]) {
    let now = Time::ZERO + secs(1_000);
    let (device, gateway) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let mut client = Tunnel::new(&device, Tunnel::DEFAULT_MTU, now);
    let mut server = Tunnel::new(&gateway, Tunnel::DEFAULT_MTU, now);
    let peer =
        client.add_peer(wg_public(&gateway), None, Role::Initiator, &mut Chance(1), now).expect("a peer");
    server.add_peer(wg_public(&device), None, Role::Responder, &mut Chance(2), now).expect("a peer");
    client.set_carriers(peer, &[stranger()]);
    client.announce(peer, now).expect("a handshake begins");
    pass(&mut client, &mut server, now);
    pass(&mut server, &mut client, now);
    let bytes = &bytes[..bytes.len().min(client.mtu())];
    let (mut sealed, mut out) = ([0; 2_048], [0; 2_048]);
    let Ok(Encapsulated::Sealed { length, .. }) = client.encapsulate(peer, bytes, &mut sealed, now) else {
        return assert!(bytes.is_empty(), "a packet that fits is sealed");
    };
    if let Ok(Decapsulated::Packet { packet, .. }) =
        server.decapsulate(&sealed[..length], stranger(), &mut out, now)
    {
        assert!(bytes.starts_with(packet) || packet.len() > bytes.len(), "what came out did not go in");
        assert!(packet.len() <= bytes.len().next_multiple_of(16), "more came out than went in");
    }
}

/// Takes everything that one end has to send to the other.
fn pass(from: &mut Tunnel, to: &mut Tunnel, now: Time) {
    let (mut datagram, mut out) = ([0; 2_048], [0; 2_048]);
    while let Some(sent) = from.poll(&mut datagram, now) {
        let _handled = to.decapsulate(&datagram[..sent.length], stranger(), &mut out, now);
    }
}

const fn stranger() -> Carrier {
    Carrier::Udp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 6_666))
}
