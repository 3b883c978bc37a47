use std::net::IpAddr;

use thiserror::Error;
use ztna_model::{Flow, Time};
use ztna_packet::{Content, Packet, PacketError, Tcp, TcpFlags};

use crate::answer::write_ack;
use crate::netstack::Netstack;
use crate::output::{Cause, Event};
use crate::slot::Body;
use crate::stream::Scope;
use crate::syn::Syn;
use crate::tcp::Ear;
use crate::told::Told;
use crate::udp::Udp;

/// Why a packet was not taken. It is for counting: there is nothing to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotTaken {
    /// It cannot be read.
    #[error("the packet could not be read: {0}")]
    Unreadable(#[from] PacketError),
    /// It is neither TCP nor UDP.
    #[error("the packet is neither tcp nor udp")]
    OtherProtocol,
    /// One of its checksums is wrong.
    #[error("a checksum is wrong")]
    Checksum,
    /// It belongs to no flow and cannot begin one.
    #[error("the packet belongs to no flow")]
    Stray,
    /// There are too many flows, or too many that wait for an answer.
    #[error("there are too many flows")]
    TooManyFlows,
    /// Too many datagrams of this flow wait to be read.
    #[error("too many datagrams wait to be read")]
    Unread,
}

impl Netstack {
    /// Takes a packet from a peer. What follows from it comes out of [`poll`](Self::poll).
    pub fn handle_packet(&mut self, scope: Scope, packet: &[u8], now: Time) -> Result<(), NotTaken> {
        let packet = ztna_packet::parse(packet)?;
        let flow = packet.flow().ok_or(NotTaken::OtherProtocol)?;
        if !packet.checksums_hold() {
            return Err(NotTaken::Checksum);
        }
        let known = self.flows.find(scope, &flow);
        match (packet.content(), known) {
            (Content::Tcp(header), Some(number)) => self.handle_segment(number, &packet, header, now),
            (Content::Tcp(header), None) => self.handle_first_segment(scope, flow, &packet, header, now),
            (Content::Udp(_), Some(number)) => self.handle_datagram(number, packet.payload(), now),
            (Content::Udp(_), None) => self.handle_first_datagram(scope, flow, packet.payload(), now),
            (Content::Echo(_) | Content::IcmpError(_), _) => Err(NotTaken::OtherProtocol),
        }
    }

    fn handle_segment(
        &mut self,
        number: u32,
        packet: &Packet<'_>,
        header: Tcp,
        now: Time,
    ) -> Result<(), NotTaken> {
        let slot = self.flows.slot(number).ok_or(NotTaken::Stray)?;
        match &mut slot.body {
            Body::Tcp(tcp) => match tcp.told_once_connected().filter(|_| begins_anew(header)) {
                Some(told) => self.answer_again(number, told),
                None => self.ingest(number, packet, header, now),
            },
            Body::Wanted(syn) => {
                match Syn::read(packet, syn.since()) {
                    Some(again) => *syn = again,
                    None if gives_up(syn, header) => self.end(number, Event::Reset(Cause::Peer)),
                    None => return Err(NotTaken::Stray),
                }
                Ok(())
            }
            Body::Lingering(_) if begins_anew(header) => {
                let (scope, flow) = (slot.scope, slot.arriving);
                self.flows.forget(number);
                self.flows.release(number);
                self.handle_first_segment(scope, flow, packet, header, now)
            }
            Body::Lingering(told) => {
                let told = *told;
                if packet.payload().is_empty() && !header.flags.has(TcpFlags::FIN) {
                    return Err(NotTaken::Stray);
                }
                self.answer_again(number, told)
            }
            Body::Unwanted(_) | Body::Prohibited | Body::Udp(_) | Body::Gone => Err(NotTaken::Stray),
        }
    }

    fn ingest(&mut self, number: u32, packet: &Packet<'_>, header: Tcp, now: Time) -> Result<(), NotTaken> {
        let slot = self.flows.slot(number).ok_or(NotTaken::Stray)?;
        let Body::Tcp(tcp) = &mut slot.body else { return Err(NotTaken::Stray) };
        if !follows_at_once(packet) {
            return Err(NotTaken::Stray);
        }
        let (engine, answers) = (&mut self.engine, &mut self.outbox);
        let mut ear = Ear { engine, answers, scope: slot.scope, arriving: slot.arriving, now };
        tcp.ingest(&mut ear, packet, header);
        self.mark_ready(number);
        self.mark_telling(number);
        Ok(())
    }

    fn handle_first_segment(
        &mut self,
        scope: Scope,
        flow: Flow,
        packet: &Packet<'_>,
        header: Tcp,
        now: Time,
    ) -> Result<(), NotTaken> {
        if begins_anew(header) && is_between_hosts(&flow) {
            let syn = Syn::read(packet, now).ok_or(NotTaken::Stray)?;
            let deadline = syn.deadline();
            return self.open_incoming(scope, flow, Body::Wanted(syn), deadline);
        }
        if self.engine.write(|buffer| ztna_packet::reset(packet, buffer).ok()) {
            self.outbox.push(scope, self.engine.packet());
        }
        Err(NotTaken::Stray)
    }

    fn handle_datagram(&mut self, number: u32, payload: &[u8], now: Time) -> Result<(), NotTaken> {
        let slot = self.flows.slot(number).ok_or(NotTaken::Stray)?;
        let Body::Udp(udp) = &mut slot.body else { return Err(NotTaken::Stray) };
        let taken = udp.ingest(payload, now);
        self.deadlines.set(number, Some(udp.deadline()));
        self.mark_telling(number);
        taken.then_some(()).ok_or(NotTaken::Unread)
    }

    fn handle_first_datagram(
        &mut self,
        scope: Scope,
        flow: Flow,
        payload: &[u8],
        now: Time,
    ) -> Result<(), NotTaken> {
        if !is_between_hosts(&flow) {
            return Err(NotTaken::Stray);
        }
        if !self.flows.has_room_to_wait(scope) {
            return Err(NotTaken::TooManyFlows);
        }
        let buffer = self.flows.next_buffers(scope).ok_or(NotTaken::TooManyFlows)?;
        let mut udp = Udp::new(buffer, now);
        udp.ingest(payload, now);
        let deadline = udp.deadline();
        self.open_incoming(scope, flow, Body::Udp(udp), deadline)
    }

    fn open_incoming(
        &mut self,
        scope: Scope,
        flow: Flow,
        body: Body,
        deadline: Time,
    ) -> Result<(), NotTaken> {
        if !self.flows.has_room_to_wait(scope) {
            return Err(NotTaken::TooManyFlows);
        }
        let number = self.flows.open(scope, flow, false, body).map_err(|_| NotTaken::TooManyFlows)?;
        self.deadlines.set(number, Some(deadline));
        if let Some(slot) = self.flows.slot(number) {
            slot.news.incoming();
        }
        self.mark_telling(number);
        Ok(())
    }

    /// Repeats the last acknowledgement: to a peer that has not heard it, or to one that begins anew and finds out so
    /// that the old connection is still there (RFC 5961, section 4.2).
    fn answer_again(&mut self, number: u32, told: Told) -> Result<(), NotTaken> {
        let slot = self.flows.slot(number).ok_or(NotTaken::Stray)?;
        let (scope, leaving) = (slot.scope, slot.arriving.reversed());
        if self.engine.write(|buffer| write_ack(leaving, told, buffer)) {
            self.outbox.push(scope, self.engine.packet());
        }
        Ok(())
    }
}

const fn begins_anew(header: Tcp) -> bool {
    header.flags.has(TcpFlags::SYN) && !header.flags.has_any(TcpFlags::ACK.with(TcpFlags::RST))
}

/// Whether a reset is meant for the SYN that waits.
const fn gives_up(syn: &Syn, header: Tcp) -> bool {
    header.flags.has(TcpFlags::RST) && header.sequence.wrapping_sub(syn.sequence()) <= 1
}

/// Whether a segment follows the IP header without anything between: smoltcp answers other packets by ICMP.
fn follows_at_once(packet: &Packet<'_>) -> bool {
    packet.source().is_ipv4() || packet.bytes().get(6) == Some(&6)
}

/// Whether both ends are single hosts: nobody connects to groups.
pub(crate) const fn is_between_hosts(flow: &Flow) -> bool {
    is_one_host(flow.source.address) && is_one_host(flow.destination.address)
}

const fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}
