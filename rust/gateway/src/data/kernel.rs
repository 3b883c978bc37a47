use std::io;

use ztna_datapath::{Area, Datapath, Sealed};
use ztna_model::{Carrier, Flow, LeaseId, Match, Port, Protocol, Time};
use ztna_net::tun::{TunBuffer, TunPort};
use ztna_net::udp::Batch;
use ztna_netstack::Netstack;
use ztna_packet::{
    Content, Packet, TcpFlags, clamp_mss, parse, refuse, reset, reset_flow, rewrite, rewrite_error,
};
use ztna_policy::Slot;
use ztna_tunnel::PeerId;

use super::forward::{Heard, flow_of};
use super::outgoing::Outgoing;
use super::pending::Pending;
use super::thread::DataThread;
use crate::dial::DialRefusal;
use crate::order::{Dial, Pinned};
use crate::translation::{Translation, Translations, Way};

/// The way through the kernel: the device, and what is known of the flows that go there.
#[derive(Debug)]
pub(crate) struct Kernel {
    tun: TunPort,
    buffer: TunBuffer,
    /// Where datagrams are opened, so that their packets leave together.
    area: Area,
    pub(super) translations: Translations,
    pub(super) pending: Pending,
}

/// Where a device's packet goes on.
enum Onward {
    /// To the kernel: it has been moved to the flow that the site sees.
    Kernel,
    /// To a socket of ours.
    Userspace,
    /// That is not known yet.
    Unknown,
    /// Nowhere.
    Lost,
}

impl Kernel {
    pub(crate) fn new(mut tun: TunPort, translations: Translations) -> Self {
        if !tun.path().is_offload() {
            // Nobody would cut it again on its way.
            tun.turn_off_joining();
        }
        Self { tun, buffer: TunBuffer::new(), area: Area::new(), translations, pending: Pending::default() }
    }

    pub(crate) const fn tun(&self) -> &TunPort {
        &self.tun
    }

    pub(super) const fn tun_mut(&mut self) -> &mut TunPort {
        &mut self.tun
    }

    /// When to look for flows that have been silent for too long, or for somebody who waits in vain.
    pub(super) fn next_look(&self) -> Option<Time> {
        self.translations.next_look()
    }

    /// Opens a batch of datagrams, and hands on what is inside.
    pub(super) fn receive(
        &mut self,
        batch: &mut Batch,
        datapath: &mut Datapath,
        netstack: &mut Netstack,
        outgoing: &mut Outgoing,
        heard: &mut Heard,
        now: Time,
    ) {
        let Self { tun, area, translations, .. } = self;
        let mut datagrams = batch.datagrams().peekable();
        while datagrams.peek().is_some() {
            let (mut rooms, mut writer) = (area.rooms(), tun.writer());
            while let Some(datagram) = datagrams.next_if(|next| rooms.fits(next.contents.len()))
                && let Some(room) = rooms.room(datagram.contents.len())
            {
                let from = Carrier::Udp(datagram.source);
                let opened = datapath.open(datagram.contents, from, room, outgoing);
                let Some((peer, slot, packet)) = heard.take(opened) else { continue };
                match to_site(translations, peer, packet, now) {
                    Onward::Kernel => writer.write(packet),
                    Onward::Userspace => heard.hand_over(netstack, peer, slot, packet, now),
                    Onward::Unknown => heard.fresh.push((peer, slot, packet.to_vec())),
                    Onward::Lost => {}
                }
            }
            writer.finish();
        }
    }

    /// Reads what the site sends, a turn's worth at most, and seals it for whose it is.
    fn read(&mut self, datapath: &mut Datapath, outgoing: &mut Outgoing, now: Time) -> io::Result<()> {
        for _ in 0..BURSTS_A_TURN {
            if outgoing.0.is_blocked() {
                break;
            }
            let Self { tun, buffer, translations, .. } = self;
            let Some(mut burst) = tun.recv(buffer)? else { break };
            match from_site(translations, burst.bytes_mut(), now) {
                // What was denied or lost is counted where that was decided.
                Some(peer) => match datapath.seal_burst_for(peer, &mut burst, outgoing) {
                    Sealed::Sent | Sealed::Ask(_) | Sealed::Denied(_) | Sealed::Lost => {}
                },
                None => {
                    let mut answer = [0; LONGEST_RESET];
                    if let Some(answer) = stray_answer(burst.bytes(), &mut answer) {
                        self.tun.send(answer);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a flow at the site, which would else wait.
    fn reset_at_site(&mut self, gone: &Translation) {
        let (Way::Kernel(outer), Some(sequence)) = (gone.way, gone.course.numbers().to_site) else { return };
        let mut packet = [0; LONGEST_RESET];
        if let Ok(length) = reset_flow(outer, sequence, None, &mut packet)
            && let Some(packet) = packet.get(..length)
        {
            self.tun.send(packet);
        }
    }
}

impl DataThread {
    /// Hands what the site sends to whose it is.
    pub(super) fn read_kernel(&mut self, now: Time) -> io::Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        kernel.read(&mut self.gate.datapath, &mut self.outgoing, now)?;
        let idle = kernel.translations.end_idle(now);
        self.over.extend(idle.into_iter().map(|gone| (gone.peer, gone.inner)));
        Ok(())
    }

    /// The first packet of a flow, which the table has let pass, or another that came before it is known where it goes.
    pub(super) fn first_of_flow(&mut self, peer: PeerId, slot: Slot, packet: Vec<u8>) {
        let Some(kernel) = &mut self.kernel else { return };
        let Some(flow) = flow_of(&packet) else { return };
        // It may have become known while this turn went on.
        let Some(packet) = kernel.pending.join(peer, &flow, packet) else { return };
        let begins = parse(&packet).is_ok_and(|packet| begins_flow(&packet));
        let held = self.gate.held(slot).filter(|_| begins);
        let Some(held) = held else { return self.over.push((peer, flow)) };
        let (host, port) = match &held.lease.rule.covers {
            Match::Name { .. } => (held.lease.target.host.clone(), held.lease.target.port),
            Match::Prefix(_) => (ztna_model::Host::Address(flow.destination.address), None),
        };
        let port = match flow.protocol {
            Protocol::IcmpEcho => None,
            Protocol::Tcp | Protocol::Udp => port.or_else(|| Port::new(flow.destination.port)),
        };
        let is_sound = port.is_some() || flow.protocol == Protocol::IcmpEcho;
        let number = if is_sound { kernel.pending.begin(peer, flow, held.lease.id, packet) } else { None };
        let asked = number.is_some_and(|number| {
            let asked = self.dials.try_send(Dial::Pin { number, flow, host, port }).is_ok();
            if !asked {
                kernel.pending.take(number);
            }
            asked
        });
        if !asked {
            *self.refused_dials.entry(DialRefusal::NoRoom).or_default() += 1;
            self.over.push((peer, flow));
        }
    }

    /// It is known where a flow goes, or that it goes nowhere: what has waited goes there.
    pub(super) fn pinned(&mut self, number: u64, outcome: Result<Pinned, DialRefusal>, now: Time) {
        let Some(kernel) = &mut self.kernel else { return };
        // It may have been cut meanwhile.
        let Some(waited) = kernel.pending.take(number) else { return };
        let (peer, flow, lease) = (waited.peer, waited.flow, waited.lease);
        let opened = outcome.and_then(|pinned| {
            let number = match pinned {
                Pinned::Kernel(target) => kernel.translations.open(peer, flow, target, lease, now),
                Pinned::Userspace => kernel.translations.set_aside(peer, flow, lease, now),
            };
            number.ok_or(DialRefusal::NoRoom)
        });
        if let Err(refusal) = opened {
            return self.refuse_waiting(peer, flow, refusal, &waited.packets);
        }
        let scope = ztna_policy::Scope(peer.number());
        let Some(slot) = self.gate.datapath.table.under(scope, &flow) else { return };
        let mut heard = Heard::default();
        for mut packet in waited.packets {
            match to_site(&mut kernel.translations, peer, &mut packet, now) {
                Onward::Kernel => _ = kernel.tun.send(&packet),
                Onward::Userspace => heard.hand_over(&mut self.netstack, peer, slot, &packet, now),
                Onward::Unknown | Onward::Lost => {}
            }
        }
        for (peer, slot, packet) in heard.echoes {
            self.echo_from_device(peer, slot, &packet, now);
        }
    }

    /// Ends the flows of leases that are over, both ways, and whatever waits under them.
    pub(super) fn cut_kernel(&mut self, ended: &std::collections::BTreeSet<LeaseId>) {
        let Some(kernel) = &mut self.kernel else { return };
        kernel.pending.end_where(|lease| ended.contains(&lease));
        let mut gone = Vec::new();
        for lease in ended {
            gone.extend(kernel.translations.end_lease(*lease));
        }
        for gone in &gone {
            kernel.reset_at_site(gone);
            let mut packet = [0; LONGEST_RESET];
            if let Some(packet) = farewell(gone, &mut packet) {
                self.gate.datapath.seal_own(gone.peer, packet, &mut self.outgoing);
            }
        }
        for peer in gone.iter().map(|gone| gone.peer) {
            if self.gate.held_by(peer).next().is_none() {
                kernel.translations.release(peer);
            }
        }
    }

    fn refuse_waiting(&mut self, peer: PeerId, flow: Flow, refusal: DialRefusal, packets: &[Vec<u8>]) {
        *self.refused_dials.entry(refusal).or_default() += 1;
        let mut answer = [0; LONGEST_ANSWER];
        for packet in packets {
            let written = parse(packet).ok().and_then(|packet| refuse(&packet, &mut answer).ok());
            if let Some(answer) = written.and_then(|length| answer.get(..length)) {
                self.gate.datapath.seal_own(peer, answer, &mut self.outgoing);
            }
        }
        self.over.push((peer, flow));
    }
}

/// Moves a device's packet to the flow that the site sees, where the kernel forwards it.
fn to_site(translations: &mut Translations, peer: PeerId, bytes: &mut [u8], now: Time) -> Onward {
    let Ok(packet) = parse(bytes) else { return Onward::Lost };
    let Some(flow) = packet.flow() else { return Onward::Lost };
    let Some(found) = translations.of_device(peer, &flow, now) else { return Onward::Unknown };
    if found.course.is_over() && begins_flow(&packet) {
        // The same ports again: another connection, which is looked at anew.
        translations.end(peer, &flow);
        return Onward::Unknown;
    }
    let Way::Kernel(outer) = found.way else { return Onward::Userspace };
    let mut begins = false;
    if let Content::Tcp(tcp) = packet.content() {
        found.course.device_sent(tcp, packet.payload().len());
        begins = tcp.flags.has(TcpFlags::SYN);
    }
    move_to(bytes, outer, begins)
}

fn move_to(bytes: &mut [u8], flow: Flow, begins: bool) -> Onward {
    let moved = rewrite(bytes, flow).is_ok() && (!begins || clamp(bytes));
    if moved { Onward::Kernel } else { Onward::Lost }
}

/// Moves what the site sends to the flow that the device knows. Says whose it is.
fn from_site(translations: &mut Translations, bytes: &mut [u8], now: Time) -> Option<PeerId> {
    let packet = parse(bytes).ok()?;
    if let Content::IcmpError(error) = packet.content() {
        let found = translations.about(&error.about)?;
        let (peer, inner) = (found.peer, found.inner);
        // Who at the site has sent it is nobody's business.
        rewrite_error(bytes, inner.destination.address, inner).ok()?;
        return Some(peer);
    }
    let found = translations.of_site(&packet.flow()?, now)?;
    let (peer, inner) = (found.peer, found.inner.reversed());
    let mut begins = false;
    if let Content::Tcp(tcp) = packet.content() {
        found.course.site_sent(tcp, packet.payload().len());
        begins = tcp.flags.has(TcpFlags::SYN);
    }
    rewrite(bytes, inner).ok()?;
    (!begins || clamp(bytes)).then_some(peer)
}

/// No segment is longer than what the tunnel takes.
fn clamp(bytes: &mut [u8]) -> bool {
    let most = if bytes.first().is_some_and(|first| first >> 4 == 4) { MSS_V4 } else { MSS_V6 };
    clamp_mss(bytes, most).is_ok()
}

/// What a segment is answered with that belongs to no flow, as a closed port would.
fn stray_answer<'a>(bytes: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = reset(&parse(bytes).ok()?, room).ok()?;
    room.get(..length)
}

/// What tells a device that its connection is over.
fn farewell<'a>(gone: &Translation, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let numbers = gone.course.numbers();
    let length = match (numbers.to_device, numbers.to_site) {
        (Some(sequence), _) => reset_flow(gone.inner.reversed(), sequence, None, room),
        // It still waits for an answer to its SYN.
        (None, acknowledgement @ Some(_)) => reset_flow(gone.inner.reversed(), 0, acknowledgement, room),
        (None, None) => return None,
    };
    room.get(..length.ok()?)
}

/// Whether a flow may begin with such a packet.
fn begins_flow(packet: &Packet<'_>) -> bool {
    match packet.content() {
        Content::Tcp(tcp) => tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK),
        Content::Udp(_) => true,
        Content::Echo(echo) => echo.direction == ztna_packet::EchoDirection::Request,
        Content::IcmpError(_) => false,
    }
}

/// A burst is up to 64 KiB: as much as a revocation may have to wait for.
const BURSTS_A_TURN: usize = 16;
const LONGEST_RESET: usize = 80;
const LONGEST_ANSWER: usize = 1_280;
/// What a tunnel's packet holds behind its headers.
const MSS_V4: u16 = 1_240;
const MSS_V6: u16 = 1_220;
