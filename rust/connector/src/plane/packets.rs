use std::io;

use ztna_datapath::{Opened, Sealed, flow_of};
use ztna_model::{Carrier, Time};
use ztna_netstack::{Netstack, Output, Scope};

use crate::plane::event::PlaneEvent;
use crate::plane::notice::Notice;
use crate::plane::port::Outlet;
use crate::plane::thread::{DataThread, tell};

/// Packets and bytes, in and out.
impl DataThread {
    /// Opens datagrams, and hands what may pass to the flows of the local proxy or to applications.
    pub(super) fn receive(&mut self) -> io::Result<()> {
        for _ in 0..BATCHES {
            if !self.fill()? {
                break;
            }
            let Some(datapath) = &mut self.datapath else { continue };
            let mut datagrams = self.batch.datagrams().peekable();
            while datagrams.peek().is_some() {
                let mut rooms = self.area.rooms();
                let mut writer = self.tun.as_mut().map(|tun| tun.port.writer());
                while let Some(datagram) = datagrams.next_if(|next| rooms.fits(next.contents.len()))
                    && let Some(room) = rooms.room(datagram.contents.len())
                {
                    let from = Carrier::Udp(datagram.source);
                    match datapath.open(datagram.contents, from, room, &mut Outlet(&mut self.port)) {
                        Opened::Packet { packet, .. } => match &mut writer {
                            Some(writer) if !is_streams(&mut self.netstack, packet) => writer.write(packet),
                            // A packet that no flow wants is dropped here, as anywhere.
                            Some(_) | None => _ = self.netstack.handle_packet(SCOPE, packet, self.now),
                        },
                        Opened::Notice { peer, payload } => {
                            let from = self.gateways.with_peer(peer).map(|(gateway, _)| gateway.clone());
                            if let (Some(gateway), Ok(Notice { lease, reason })) =
                                (from, Notice::read(payload))
                            {
                                tell(&self.events, PlaneEvent::Notice { gateway, lease, reason });
                            }
                        }
                        Opened::Answer { peer, payload } => {
                            let from = self.gateways.with_peer(peer).map(|(gateway, _)| gateway.clone());
                            if let Some(gateway) = from {
                                let message = payload.to_vec();
                                tell(&self.events, PlaneEvent::SiteAnswer { gateway, message });
                            }
                        }
                        // Nobody asks a device for names.
                        Opened::Query { .. } | Opened::Denied { .. } | Opened::Nothing => {}
                    }
                }
                if let Some(writer) = writer {
                    writer.finish();
                }
            }
        }
        Ok(())
    }

    /// Receives a batch. The kernel may be short of memory for a moment; one that never recovers ends the thread.
    fn fill(&mut self) -> io::Result<bool> {
        match self.port.recv(&mut self.batch) {
            Err(cause) if self.failures < MOST_FAILURES => {
                tracing::debug!(%cause, "nothing could be received");
                self.failures += 1;
                Ok(false)
            }
            outcome => {
                self.failures = 0;
                outcome
            }
        }
    }

    pub(super) fn note_ready(&mut self) {
        for (index, readiness) in self.poller.ready() {
            if let Some(id) = self.streams.ready(index, readiness) {
                self.streams.mark_busy(id);
            }
        }
    }

    /// Sends and moves bytes in turns, since each makes room for the other.
    pub(super) fn exchange(&mut self) {
        for _ in 0..ROUNDS {
            self.send();
            if !self.streams.has_busy() {
                return;
            }
            self.carry();
        }
        self.send();
    }

    /// Seals all that the flows have to send, if there is room for it: for resets that leave by tunnels that are about
    /// to go.
    pub(super) fn send_all(&mut self) {
        for _ in 0..MOST_PACKETS / PACKETS {
            if self.port.is_blocked() || self.netstack.next_wake() != Some(Time::ZERO) {
                return;
            }
            self.send();
        }
    }

    /// Seals some of what the flows have to send, as long as there is room for it, and follows their news.
    fn send(&mut self) {
        for _ in 0..PACKETS {
            if self.port.is_blocked() {
                return;
            }
            match self.netstack.poll(self.now) {
                Some(Output::Packet { packet, .. }) => {
                    let Some(datapath) = &mut self.datapath else { continue };
                    let outlet = &mut Outlet(&mut self.port);
                    let Sealed::Denied(reason) = datapath.seal(packet, outlet) else { continue };
                    let Some(flow) = flow_of(packet) else { continue };
                    if let Some(peer) = self.parting.remove(&flow) {
                        datapath.seal_own(peer, packet, outlet);
                    } else if let Some(id) = self.streams.with_flow(&flow) {
                        self.cut_stream(id, reason);
                    }
                }
                Some(Output::Event { stream, event }) => self.follow(stream, event),
                // Nobody begins a flow to a device.
                Some(Output::Incoming { stream, .. }) => self.netstack.refuse(stream),
                None => return self.parting.clear(),
            }
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(datapath) = &mut self.datapath {
            datapath.finish(&mut Outlet(&mut self.port));
            let streams = Some(&self.streams).filter(|_| self.tun.is_none());
            for gateway in self.gateways.fallen_silent(datapath, streams, self.now) {
                tracing::info!(%gateway, "a gateway does not answer");
                tell(&self.events, PlaneEvent::Silent { gateway });
            }
        }
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        if let Err(cause) = self.port.flush() {
            tracing::trace!(%cause, "datagrams were lost");
        }
    }
}

/// Whether a packet belongs to a flow of the local proxy, and not to an application's own.
fn is_streams(netstack: &mut Netstack, packet: &[u8]) -> bool {
    netstack.flows() > 0 && flow_of(packet).is_some_and(|flow| netstack.has_flow(SCOPE, &flow))
}

/// A client's flows are all its own.
pub(super) const SCOPE: Scope = Scope(0);

/// How much is done in one turn: system calls that receive, rounds of moving bytes, packets in each.
const BATCHES: usize = 2;
const ROUNDS: usize = 4;
const PACKETS: usize = 256;
/// More resets than there are flows.
const MOST_PACKETS: usize = 1 << 16;
/// How many times in a row nothing may be received.
const MOST_FAILURES: u32 = 1000;
