use std::io;

use ztna_datapath::{Opened, Sealed};
use ztna_model::{Carrier, Endpoint, Flow, Time};
use ztna_net::poll::Readiness;
use ztna_netstack::{Event, Netstack, NotTaken, Output, Scope, StreamId};
use ztna_packet::{Content, TcpFlags, parse};
use ztna_policy::Slot;
use ztna_tunnel::PeerId;

use super::echoes::Echoes;
use super::flows::Forwarded;
use super::splice::Moved;
use super::thread::DataThread;
use crate::dial::DialRefusal;
use crate::order::Dial;

/// What has come that is not done with at once.
#[derive(Default)]
pub(super) struct Heard {
    /// Packets that begin nothing.
    pub(super) strays: Vec<(PeerId, Flow)>,
    /// Questions of names.
    pub(super) queries: Vec<(PeerId, Endpoint, Vec<u8>)>,
    /// Echoes, for sockets of ours.
    pub(super) echoes: Vec<(PeerId, Slot, Vec<u8>)>,
    /// Packets of flows of which it is not known yet where they go.
    pub(super) fresh: Vec<(PeerId, Slot, Vec<u8>)>,
}

impl Heard {
    /// The packet that was opened, if it may pass.
    pub(super) fn take<'a>(&mut self, opened: Opened<'a>) -> Option<(PeerId, Slot, &'a mut [u8])> {
        match opened {
            Opened::Packet { peer, slot, packet } => return Some((peer, slot, packet)),
            Opened::Query { peer, from, payload } => self.queries.push((peer, from, payload.to_vec())),
            Opened::Notice { .. } | Opened::Answer { .. } | Opened::Denied { .. } | Opened::Nothing => {}
        }
        None
    }

    /// Hands a packet to the netstack.
    pub(super) fn hand_over(
        &mut self,
        netstack: &mut Netstack,
        peer: PeerId,
        slot: Slot,
        packet: &[u8],
        now: Time,
    ) {
        let Err(cause) = netstack.handle_packet(Scope(peer.number()), packet, now) else { return };
        match cause {
            NotTaken::OtherProtocol => self.echoes.push((peer, slot, packet.to_vec())),
            NotTaken::Stray | NotTaken::TooManyFlows | NotTaken::Checksum => {
                self.strays.extend(flow_of(packet).map(|flow| (peer, flow)));
            }
            NotTaken::Unreadable(_) | NotTaken::Unread => {}
        }
    }
}

/// How much is handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A turn's worth, and nothing while the port has no room.
    Turn,
    /// Whatever there is, even if some of it is lost: somebody has to hear of an end.
    All,
}

impl DataThread {
    /// Judges the datagrams that have come, and hands what may pass to the netstack, or to the kernel.
    pub(super) fn receive(&mut self, now: Time) -> io::Result<()> {
        let mut heard = Heard::default();
        for _ in 0..BATCHES_A_TURN {
            if !self.outgoing.0.recv(&mut self.batch)? {
                break;
            }
            match &mut self.kernel {
                Some(kernel) => {
                    let (datapath, netstack) = (&mut self.gate.datapath, &mut self.netstack);
                    kernel.receive(&mut self.batch, datapath, netstack, &mut self.outgoing, &mut heard, now);
                }
                None => {
                    for datagram in self.batch.datagrams() {
                        let from = Carrier::Udp(datagram.source);
                        let datapath = &mut self.gate.datapath;
                        let opened =
                            datapath.open(datagram.contents, from, &mut self.opened, &mut self.outgoing);
                        if let Some((peer, slot, packet)) = heard.take(opened) {
                            heard.hand_over(&mut self.netstack, peer, slot, packet, now);
                        }
                    }
                }
            }
        }
        let Heard { mut strays, queries, echoes, fresh } = heard;
        // A packet that begins nothing must not leave a flow in the table for hours.
        strays.retain(|(peer, flow)| !self.flows.has(*peer, flow));
        self.over.append(&mut strays);
        fresh.into_iter().for_each(|(peer, slot, packet)| self.first_of_flow(peer, slot, packet));
        echoes.into_iter().for_each(|(peer, slot, packet)| self.echo_from_device(peer, slot, &packet, now));
        queries.into_iter().for_each(|(peer, from, question)| self.asked(peer, from, &question, now));
        Ok(())
    }

    /// Moves bytes between sockets that are ready and their flows, a turn's worth at most.
    pub(super) fn move_bytes(&mut self, now: Time) {
        let mut echoes = Vec::new();
        for (index, readiness) in self.poller.ready() {
            if let Some(echo) = Echoes::slot_of(index) {
                echoes.push(echo);
            } else if let Some(stream) = self.flows.at(index).and_then(|found| note(found, readiness)) {
                self.flows.mark_busy(stream);
            }
        }
        echoes.into_iter().for_each(|echo| self.echoes_from_site(echo, now));
        let mut left = self.flows.busy();
        while left > 0
            && self.budget > 0
            && let Some(stream) = self.flows.next_busy()
        {
            self.splice(stream, now);
            left -= 1;
        }
    }

    /// Hands out what the netstack has: news first, so that what they free is already in the packets that follow.
    pub(super) fn forward(&mut self, extent: Extent, now: Time) {
        for packets in 0.. {
            let pauses = packets >= PACKETS_A_TURN || self.outgoing.0.is_blocked();
            if pauses && extent == Extent::Turn {
                return;
            }
            match self.netstack.poll(now) {
                Some(Output::Packet { scope, packet }) => {
                    let peer = PeerId::from_number(scope.0);
                    // Saying that a flow is over needs no right: its rule may be gone.
                    if is_farewell(packet) {
                        self.gate.datapath.seal_own(peer, packet, &mut self.outgoing);
                        continue;
                    }
                    match self.gate.datapath.seal_for(peer, packet, &mut self.outgoing) {
                        // What was denied or lost is counted where that was decided.
                        Sealed::Sent | Sealed::Ask(_) | Sealed::Denied(_) | Sealed::Lost => {}
                    }
                }
                Some(Output::Incoming { stream, scope, flow }) => self.incoming(stream, scope, flow),
                Some(Output::Event { stream, event }) => self.happened(stream, event, now),
                None => return,
            }
        }
    }

    /// A flow's end: nothing is to be said about it any more.
    pub(super) fn end(&mut self, stream: StreamId) -> Option<Forwarded> {
        let gone = self.flows.remove(stream)?;
        self.over.push((gone.peer, gone.flow));
        Some(gone)
    }

    /// Frees the table's places of flows that are over.
    pub(super) fn forget_over(&mut self) {
        for (peer, flow) in self.over.drain(..) {
            self.gate.datapath.table.close(ztna_policy::Scope(peer.number()), &flow);
        }
    }

    /// Somebody wants a flow, and the table has let its first packet pass.
    fn incoming(&mut self, stream: StreamId, scope: Scope, flow: Flow) {
        let peer = PeerId::from_number(scope.0);
        let slot = self.gate.datapath.table.under(ztna_policy::Scope(scope.0), &flow);
        let held = slot.and_then(|slot| self.gate.held(slot));
        let dial = held.and_then(|held| {
            let destination = held.destination(flow.destination)?;
            Some((held.lease.id, Dial::Connect { stream, protocol: flow.protocol, destination }))
        });
        let Some((lease, dial)) = dial else { return self.netstack.refuse(stream) };
        if self.dials.try_send(dial).is_ok() {
            self.flows.add(Forwarded::new(stream, peer, flow, lease));
        } else {
            *self.refused_dials.entry(DialRefusal::NoRoom).or_default() += 1;
            self.netstack.refuse(stream);
        }
    }

    fn happened(&mut self, stream: StreamId, event: Event, now: Time) {
        match event {
            Event::Connected => {}
            Event::Readable | Event::Writable if self.budget > 0 => self.splice(stream, now),
            Event::Readable | Event::Writable => self.flows.mark_busy(stream),
            Event::PeerClosed => {
                if let Some(forwarded) = self.flows.find(stream) {
                    forwarded.device_ended();
                }
            }
            // Both sides have everything: the socket closes in good order.
            Event::Closed => drop(self.end(stream)),
            Event::Reset(_) => {
                if let Some(site) = self.end(stream).and_then(|gone| gone.site) {
                    site.reset();
                }
            }
        }
    }

    /// Moves a flow's bytes both ways, its share of what is left of this turn.
    fn splice(&mut self, stream: StreamId, now: Time) {
        let Some(forwarded) = self.flows.find(stream) else { return };
        let share = self.budget.min(BYTES_AT_ONCE);
        let mut left = share;
        let moved = forwarded.splice(&mut self.netstack, &mut left, now);
        self.budget -= share - left;
        match moved {
            Moved::All => {}
            Moved::Some => self.flows.mark_busy(stream),
            Moved::Broken => {
                self.netstack.abort(stream);
                if let Some(site) = self.end(stream).and_then(|gone| gone.site) {
                    site.reset();
                }
            }
        }
    }
}

fn note(forwarded: &mut Forwarded, readiness: Readiness) -> Option<StreamId> {
    forwarded.site.as_mut()?.is_ready(readiness);
    Some(forwarded.stream)
}

pub(super) fn flow_of(packet: &[u8]) -> Option<Flow> {
    parse(packet).ok()?.flow()
}

/// Whether a packet of the netstack's says that a flow is over, and nothing else.
fn is_farewell(packet: &[u8]) -> bool {
    let Ok(packet) = parse(packet) else { return false };
    match packet.content() {
        Content::Tcp(header) => header.flags.has(TcpFlags::RST) && packet.payload().is_empty(),
        Content::IcmpError(_) => true,
        Content::Udp(_) | Content::Echo(_) => false,
    }
}

/// About what one turn can bring in.
const PACKETS_A_TURN: usize = 4_096;
/// A batch is up to 512 KiB. Few, so that a frame that comes meanwhile does not wait long.
const BATCHES_A_TURN: usize = 2;
/// What one flow moves before it is the next one's turn.
const BYTES_AT_ONCE: usize = 256 << 10;
