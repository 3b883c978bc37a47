use std::collections::BTreeMap;
use std::time::Duration;

use ztna_model::{Flow, Host, LeaseId, Match, Random, Time, secs};
use ztna_net::poll::Readiness;
use ztna_packet::{Content, EchoDirection, echo, parse, prohibit};
use ztna_policy::Slot;
use ztna_tunnel::PeerId;

use super::thread::DataThread;
use crate::dial::DialRefusal;
use crate::echo::EchoSocket;
use crate::order::Dial;

/// Flows of ICMP echoes, and the socket of each.
#[derive(Debug)]
pub(super) struct Echoes {
    slots: Vec<Option<EchoFlow>>,
    /// INVARIANT: peer and flow of each slot.
    known: BTreeMap<(PeerId, Flow), usize>,
    of_peer: BTreeMap<PeerId, usize>,
    /// The identifiers of sockets for which the kernel chooses none: this and the slot's number.
    identifiers: u16,
    count: u64,
}

#[derive(Debug)]
struct EchoFlow {
    /// Its name: no other ever has it.
    number: u64,
    peer: PeerId,
    flow: Flow,
    lease: LeaseId,
    socket: Option<EchoSocket>,
    /// Questions that wait for the socket.
    waiting: Vec<(u16, Vec<u8>)>,
    last: Time,
}

impl Echoes {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        let mut identifiers = [0; 2];
        random.fill(&mut identifiers);
        let identifiers = u16::from_be_bytes(identifiers);
        Self { slots: Vec::new(), known: BTreeMap::new(), of_peer: BTreeMap::new(), identifiers, count: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The slot that a poller's key is for, if it is for one.
    pub(super) const fn slot_of(key: usize) -> Option<usize> {
        key.checked_sub(FIRST_KEY)
    }

    /// When the first of them has been silent for too long.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.slots.iter().flatten().map(|flow| flow.last + PATIENCE).min()
    }

    /// Ends those that have been silent for too long.
    pub(super) fn end_idle(&mut self, now: Time) -> Vec<(PeerId, Flow)> {
        self.remove_where(|flow| flow.last + PATIENCE <= now)
    }

    /// Ends those of leases that are over.
    pub(super) fn end_where(&mut self, is_over: impl Fn(LeaseId) -> bool) {
        self.remove_where(|flow| is_over(flow.lease));
    }

    fn remove_where(&mut self, is_meant: impl Fn(&EchoFlow) -> bool) -> Vec<(PeerId, Flow)> {
        let meant = self.slots.iter_mut().filter_map(|slot| slot.take_if(|flow| is_meant(flow)));
        let gone: Vec<(PeerId, Flow)> = meant.map(|flow| (flow.peer, flow.flow)).collect();
        for key in &gone {
            self.known.remove(key);
            if let Some(count) = self.of_peer.get_mut(&key.0) {
                *count -= 1;
                if *count == 0 {
                    self.of_peer.remove(&key.0);
                }
            }
        }
        gone
    }

    /// A new one, if there is room.
    fn add(&mut self, peer: PeerId, flow: Flow, lease: LeaseId, now: Time) -> Option<u64> {
        let of_peer = self.of_peer.get(&peer).copied().unwrap_or_default();
        if self.known.len() >= MOST || of_peer >= MOST_OF_ONE {
            return None;
        }
        self.count += 1;
        let number = self.count;
        let entry = EchoFlow { number, peer, flow, lease, socket: None, waiting: Vec::new(), last: now };
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        self.known.insert((peer, flow), slot);
        self.of_peer.insert(peer, of_peer + 1);
        Some(number)
    }

    fn find(&mut self, peer: PeerId, flow: &Flow) -> Option<(u16, &mut EchoFlow)> {
        let slot = *self.known.get(&(peer, *flow))?;
        self.at(slot)
    }

    fn named(&mut self, number: u64) -> Option<(usize, &mut EchoFlow)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, flow)| Some((slot, flow.as_mut()?))).find(|(_, flow)| flow.number == number)
    }

    fn at(&mut self, slot: usize) -> Option<(u16, &mut EchoFlow)> {
        let identifier = self.identifiers.wrapping_add(slot as u16);
        Some((identifier, self.slots.get_mut(slot)?.as_mut()?))
    }
}

impl DataThread {
    /// A device asks a host for an echo, and the table has let it pass.
    pub(super) fn echo_from_device(&mut self, peer: PeerId, slot: Slot, bytes: &[u8], now: Time) {
        let Ok(packet) = parse(bytes) else { return };
        let (Content::Echo(asked), Some(flow)) = (packet.content(), packet.flow()) else { return };
        if asked.direction != EchoDirection::Request || !packet.checksums_hold() {
            return;
        }
        if self.echoes.find(peer, &flow).is_none() && !self.begin_echo(peer, slot, flow, now) {
            return self.refuse_echo(peer, bytes, DialRefusal::NoRoom);
        }
        let Some((identifier, entry)) = self.echoes.find(peer, &flow) else { return };
        entry.last = now;
        match &entry.socket {
            // One that finds no room is lost, as on any other path.
            Some(socket) => _ = socket.ask(identifier, asked.sequence, packet.payload()),
            None if entry.waiting.len() < MOST_WAITING => {
                entry.waiting.push((asked.sequence, packet.payload().to_vec()));
            }
            None => {}
        }
    }

    /// Asks for a socket to the host that the lease is for.
    fn begin_echo(&mut self, peer: PeerId, slot: Slot, flow: Flow, now: Time) -> bool {
        let Some(held) = self.gate.held(slot) else { return false };
        let host = match &held.lease.rule.covers {
            Match::Name { .. } => held.lease.target.host.clone(),
            Match::Prefix(_) => Host::Address(flow.destination.address),
        };
        let Some(number) = self.echoes.add(peer, flow, held.lease.id, now) else { return false };
        let is_asked_for = self.dials.try_send(Dial::Echo { number, host }).is_ok();
        if !is_asked_for {
            self.echoes.remove_where(|flow| flow.number == number);
        }
        is_asked_for
    }

    /// A socket is open, or there is none.
    pub(super) fn echo_opened(&mut self, number: u64, outcome: Result<EchoSocket, DialRefusal>, now: Time) {
        let Some((slot, entry)) = self.echoes.named(number) else { return };
        let (peer, flow) = (entry.peer, entry.flow);
        let watched = outcome.and_then(|mut socket| {
            let watched = socket.watch(&self.poller, FIRST_KEY + slot);
            watched.map(|()| socket).map_err(|_| DialRefusal::NoRoom)
        });
        let waiting = std::mem::take(&mut entry.waiting);
        match watched {
            Ok(socket) => {
                let identifier = self.echoes.identifiers.wrapping_add(slot as u16);
                for (sequence, payload) in waiting {
                    let _ = socket.ask(identifier, sequence, &payload);
                }
                if let Some((_, entry)) = self.echoes.named(number) {
                    entry.socket = Some(socket);
                }
                self.echoes_from_site(slot, now);
            }
            Err(refusal) => {
                self.over.extend(self.echoes.remove_where(|flow| flow.number == number));
                let mut asked = [0; LONGEST];
                let first = waiting.first().map(|(sequence, payload)| (*sequence, &payload[..]));
                let (sequence, payload) = first.unwrap_or_default();
                let length = echo(flow, sequence, payload, &mut asked).unwrap_or_default();
                self.refuse_echo(peer, asked.get(..length).unwrap_or_default(), refusal);
            }
        }
    }

    /// Hands on the answers that have come for a slot's flow.
    pub(super) fn echoes_from_site(&mut self, slot: usize, now: Time) {
        let Some((identifier, EchoFlow { peer, flow, socket: Some(socket), last, .. })) =
            self.echoes.at(slot)
        else {
            return;
        };
        socket.is_ready(Readiness { readable: true, writable: false, ended: false });
        let (mut room, mut packet) = ([0; LONGEST], [0; LONGEST]);
        for _ in 0..MOST_IN_A_TURN {
            // An error is about one question, which stays without an answer.
            let Ok(Some(reply)) = socket.hear(identifier, &mut room) else { return };
            *last = now;
            let answer = flow.reversed();
            let Ok(length) = echo(answer, reply.sequence, reply.payload, &mut packet) else { continue };
            let packet = packet.get(..length).unwrap_or_default();
            // What was denied or lost is counted where that was decided.
            let _ = self.gate.datapath.seal_for(*peer, packet, &mut self.outgoing);
        }
    }

    fn refuse_echo(&mut self, peer: PeerId, asked: &[u8], refusal: DialRefusal) {
        *self.refused_dials.entry(refusal).or_default() += 1;
        let mut answer = [0; LONGEST];
        let written = parse(asked).ok().and_then(|packet| prohibit(&packet, &mut answer).ok());
        if let Some(answer) = written.and_then(|length| answer.get(..length)) {
            self.gate.datapath.seal_own(peer, answer, &mut self.outgoing);
        }
    }
}

/// Above all numbers of the netstack's flows.
const FIRST_KEY: usize = 1 << 24;
const MOST: usize = 1_024;
const MOST_OF_ONE: usize = 64;
const MOST_WAITING: usize = 4;
const MOST_IN_A_TURN: usize = 32;
/// For how long a flow may be silent (RFC 5508, REQ-2).
const PATIENCE: Duration = secs(60);
const LONGEST: usize = 2_048;
