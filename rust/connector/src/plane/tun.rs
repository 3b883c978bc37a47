use std::io;

use ztna_datapath::Sealed;
use ztna_datapath::packet::{self, Burst, ComposeError, Packet, parse};
use ztna_model::{DenyReason, Flow, Inner, Protocol, Time};
use ztna_net::random::SystemRandom;
use ztna_net::tun::{TunBuffer, TunPort};
use ztna_session::QueryId;

use crate::plane::event::PlaneEvent;
use crate::plane::port::Outlet;
use crate::plane::resolver::{Resolver, Told};
use crate::plane::status::TunStatus;
use crate::plane::thread::{DataThread, tell};
use crate::plane::wishes::{Held, Wish, Wishes};

/// The TUN device, and what stands between it and the tunnels.
///
/// ```text
///   applications ⇄ kernel ⇄ TunPort ─┬─ to the resolver's address ─▶ Resolver ─▶ the session
///                                    ├─ allowed ─▶ peer
///                                    ├─ not yet ─▶ Wishes ─▶ the session
///                                    └─ denied  ─▶ answered at once
/// ```
pub(super) struct Tun {
    pub(super) port: TunPort,
    buffer: TunBuffer,
    pub(super) desk: Desk,
}

/// What applications wait for.
pub(super) struct Desk {
    pub(super) wishes: Wishes,
    pub(super) resolver: Resolver,
}

impl Tun {
    pub(super) fn new(port: TunPort, random: &mut SystemRandom) -> Self {
        let desk = Desk { wishes: Wishes::default(), resolver: Resolver::new(random) };
        Self { port, buffer: TunBuffer::new(), desk }
    }

    pub(super) fn status(&self) -> TunStatus {
        TunStatus {
            name: self.port.name().map(str::to_owned),
            path: self.port.path().to_string(),
            mtu: self.port.mtu(),
            lost: self.port.lost(),
            unreadable: self.port.unreadable(),
            waiting: self.desk.wishes.count() as u64,
        }
    }

    /// Nobody decides on what waits any more.
    pub(super) fn forget_wishes(&mut self) {
        let packets = self.desk.wishes.clear();
        self.refuse_all(&packets);
    }

    /// Tells an application that its flow is over. Nobody here knows the numbers that TCP would believe a reset with: a
    /// segment out of place makes the application's end say them, and what it says is answered by that reset.
    pub(super) fn end(&mut self, flow: &Flow, reason: DenyReason, now: Time) {
        self.desk.wishes.refuse(Wish::of(flow), reason, now);
        let mut room = [0; LONGEST_ANSWER];
        match flow.protocol {
            Protocol::Tcp => {
                let written = packet::probe_flow(flow.reversed(), &mut room);
                if let Some(segment) = written.ok().and_then(|length| room.get(..length)) {
                    self.port.send(segment);
                }
            }
            Protocol::Udp => {
                let written = packet::datagram(*flow, &[], &mut room);
                let sent = written.ok().and_then(|length| room.get(..length)).unwrap_or_default();
                answer(&mut self.port, sent, packet::prohibit);
            }
            // The next echo is answered.
            Protocol::IcmpEcho => {}
        }
    }

    fn refuse_all(&mut self, packets: &[Box<[u8]>]) {
        for packet in packets {
            answer(&mut self.port, packet, packet::refuse);
        }
    }
}

impl Desk {
    /// Keeps the packets that `burst` stands for while the session decides, or answers them. Whether the session is to be
    /// asked.
    fn hold(&mut self, wish: Wish, burst: &mut Burst<'_>, port: &mut TunPort, now: Time) -> bool {
        let mut asks = false;
        let Ok(mut pieces) = burst.pieces() else { return false };
        // Pieces are whole packets: what the kernel left to be worked out is worked out in them.
        while let Some(piece) = pieces.write_next() {
            match self.wishes.hold(wish, piece.bytes(), now) {
                Held::Asks => asks = true,
                Held::Waits | Held::Lost => {}
                Held::Refused(_) => answer(port, piece.bytes(), packet::refuse),
            }
        }
        asks
    }
}

/// Applications' own packets, out and in.
impl DataThread {
    /// Judges and seals what applications have sent, as long as there is room for it: what waits behind that stays in
    /// the device.
    pub(super) fn take_packets(&mut self) -> io::Result<()> {
        let mut taken = 0;
        while taken < MUCH {
            let Some(tun) = self.tun.as_mut().filter(|tun| tun.port.is_readable()) else { break };
            if self.port.is_blocked() {
                break;
            }
            let Tun { port, buffer, desk } = tun;
            let Some(mut burst) = port.recv(buffer)? else { continue };
            taken += burst.bytes().len().max(LEAST);
            let Ok(packet) = parse(burst.bytes()) else { continue };
            let Some(flow) = packet.flow() else { continue };
            if Inner::RESOLVER.has(flow.destination.address) {
                desk.resolver.handle_packet(&packet, self.now);
                continue;
            }
            let sealed = match &mut self.datapath {
                None => Sealed::Denied(DenyReason::SignedOut),
                // Two cannot have one flow, and nobody else has this device's address.
                Some(_) if !Inner::DEVICE.has(flow.source.address) => {
                    Sealed::Denied(DenyReason::SpoofedSource)
                }
                Some(_) if self.streams.with_flow(&flow).is_some() => {
                    Sealed::Denied(DenyReason::TooManyFlows)
                }
                Some(datapath) => datapath.seal_burst(&mut burst, &mut Outlet(&mut self.port)),
            };
            match sealed {
                Sealed::Sent => {}
                Sealed::Ask(_) | Sealed::Denied(DenyReason::NoRule) => {
                    let wish = Wish::of(&flow);
                    if desk.hold(wish, &mut burst, port, self.now)
                        && self.events.try_send(PlaneEvent::Wanted(wish)).is_err()
                    {
                        // A session that is so far behind is asked again with the next packet.
                        desk.wishes.grant(&wish, self.now);
                    }
                }
                Sealed::Denied(_) => answer(port, burst.bytes(), packet::refuse),
                Sealed::Lost => {
                    let mtu = self.datapath.as_ref().map_or(0, |datapath| datapath.tunnel.mtu());
                    // One that stands for many is cut to what fits, whatever else became of it.
                    if let Ok(mtu) = u16::try_from(mtu)
                        && burst.size().is_none()
                        && burst.bytes().len() > usize::from(mtu)
                    {
                        answer(port, burst.bytes(), |packet, room| packet::too_big(packet, mtu, room));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends or answers what has waited for the session's word.
    pub(super) fn settle(&mut self, wish: &Wish, outcome: Result<(), DenyReason>) {
        let Some(tun) = &mut self.tun else { return };
        match outcome {
            Err(reason) => {
                let packets = tun.desk.wishes.refuse(*wish, reason, self.now);
                tun.refuse_all(&packets);
            }
            Ok(()) => {
                for packet in tun.desk.wishes.grant(wish, self.now) {
                    let outlet = &mut Outlet(&mut self.port);
                    match self.datapath.as_mut().map(|datapath| datapath.seal(&packet, outlet)) {
                        Some(Sealed::Sent | Sealed::Lost) => {}
                        Some(Sealed::Ask(_) | Sealed::Denied(_)) | None => {
                            answer(&mut tun.port, &packet, packet::refuse);
                        }
                    }
                }
            }
        }
    }

    /// Gives an application the answer to its question of names.
    pub(super) fn answer(&mut self, query: QueryId, message: &[u8]) {
        if let Some(tun) = &mut self.tun {
            tun.desk.resolver.answer(query, message, self.now);
        }
    }

    /// Hands on what the resolver's address has taken in, and what it gives back.
    pub(super) fn hear_resolver(&mut self) {
        let Some(tun) = &mut self.tun else { return };
        while let Some(told) = tun.desk.resolver.poll(self.now) {
            match told {
                Told::Packet(packet) => _ = tun.port.send(&packet),
                Told::Question { query, message, transport } => {
                    tell(&self.events, PlaneEvent::Question { query, message, transport });
                }
                Told::Withdrawn(query) => tell(&self.events, PlaneEvent::Withdrawn(query)),
            }
        }
    }
}

/// Answers an application's packet as if from where it was going.
fn answer(
    port: &mut TunPort,
    packet: &[u8],
    write: impl FnOnce(&Packet<'_>, &mut [u8]) -> Result<usize, ComposeError>,
) {
    let mut room = [0; LONGEST_ANSWER];
    let Ok(packet) = parse(packet) else { return };
    if let Some(answer) = write(&packet, &mut room).ok().and_then(|length| room.get(..length)) {
        port.send(answer);
    }
}

/// How many bytes are taken from the device in one turn: half a millisecond's work, as long as a revocation may have to
/// wait; and what the shortest packet counts for.
const MUCH: usize = 1 << 20;
const LEAST: usize = 256;
/// An ICMPv6 error may be as long as the smallest MTU (RFC 4443, 2.4 (c)).
const LONGEST_ANSWER: usize = 1_280;
