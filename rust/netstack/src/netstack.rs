use std::collections::VecDeque;

use ztna_model::{Random, Time};

use crate::deadlines::Deadlines;
use crate::engine::Engine;
use crate::flows::Flows;
use crate::limits::Limits;
use crate::output::{Item, Output};
use crate::packets::Packets;
use crate::stream::{Scope, StreamId};

/// Turns packets into streams and back, for any number of peers at once.
///
/// Three groups of methods. *What arrives*: [`handle_packet`](Self::handle_packet). *Commands*: [`connect`](Self::connect),
/// [`accept`](Self::accept), [`refuse`](Self::refuse), [`send`](Self::send), [`recv`](Self::recv),
/// [`shutdown_write`](Self::shutdown_write), [`abort`](Self::abort) and their kin. *What is to be done*:
/// [`poll`](Self::poll), [`next_wake`](Self::next_wake).
///
/// One law: after each call, or each batch of calls, drain `poll`. The larger the batch of packets, the fewer
/// acknowledgements.
pub struct Netstack {
    pub(crate) limits: Limits,
    pub(crate) flows: Flows,
    pub(crate) engine: Engine,
    pub(crate) deadlines: Deadlines,
    /// Answers that no connection sends, and datagrams.
    pub(crate) outbox: Packets<Scope>,
    /// Flows with something to do; the first has sent `turn` packets in its turn.
    pub(crate) ready: VecDeque<u32>,
    pub(crate) turn: u32,
    // Flows with something to say.
    telling: VecDeque<u32>,
    /// Connections that linger, the oldest first, and until when.
    pub(crate) lingering: VecDeque<(Time, StreamId)>,
}

impl Netstack {
    /// A netstack without flows. Its secrets are drawn from `random`, once.
    pub fn new(limits: Limits, random: &mut dyn Random) -> Self {
        let limits = Limits { mtu: limits.mtu.max(SMALLEST_MTU), ..limits };
        Self {
            limits,
            flows: Flows::new(limits, random),
            engine: Engine::new(limits.mtu),
            deadlines: Deadlines::default(),
            outbox: Packets::new(OUTBOX),
            ready: VecDeque::new(),
            turn: 0,
            telling: VecDeque::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Hands out what is to be done next, until there is nothing left to do.
    ///
    /// Packets are made one by one as they are asked for, so a caller that cannot send any more leaves off, and calls
    /// again when it can.
    pub fn poll(&mut self, now: Time) -> Option<Output<'_>> {
        while let Some(number) = self.deadlines.due(now) {
            self.mark_ready(number);
        }
        loop {
            if let Some(output) = self.next_news() {
                return Some(output);
            }
            if !self.outbox.is_empty() {
                return self.outbox.pop().map(|(scope, packet)| Output::Packet { scope, packet });
            }
            let number = *self.ready.front()?;
            if let Some(scope) = self.run(number, now) {
                return Some(Output::Packet { scope, packet: self.engine.packet() });
            }
        }
    }

    /// When to call [`poll`](Self::poll) again if nothing else happens: at once ([`Time::ZERO`]), later, or never.
    pub fn next_wake(&mut self) -> Option<Time> {
        if !self.ready.is_empty() || !self.telling.is_empty() || !self.outbox.is_empty() {
            return Some(Time::ZERO);
        }
        self.deadlines.first().map(|(time, _)| time)
    }

    /// How many flows there are.
    pub const fn flows(&self) -> usize {
        self.flows.live().flows as usize
    }

    /// What the buffers of all flows come to, in bytes.
    pub const fn buffered(&self) -> usize {
        self.flows.live().buffers
    }

    /// What is kept of the buffers of flows that are over, for flows to come, in bytes: memory that was promised to them,
    /// of which they used little.
    pub const fn kept(&self) -> usize {
        self.flows.kept()
    }

    /// Puts a flow among those with something to do.
    pub(crate) fn mark_ready(&mut self, number: u32) {
        if let Some(slot) = self.flows.slot(number).filter(|slot| !slot.ready) {
            slot.ready = true;
            self.ready.push_back(number);
        }
    }

    /// Puts a flow among those that may have something to say.
    pub(crate) fn mark_telling(&mut self, number: u32) {
        if let Some(slot) = self.flows.slot(number).filter(|slot| !slot.telling) {
            slot.telling = true;
            self.telling.push_back(number);
        }
    }

    fn next_news(&mut self) -> Option<Output<'static>> {
        while let Some(&number) = self.telling.front() {
            let stream = self.flows.name(number);
            let slot = self.flows.slot(number)?;
            let (scope, flow) = (slot.scope, slot.arriving);
            match slot.tell() {
                Some(Item::Incoming) => return Some(Output::Incoming { stream, scope, flow }),
                Some(Item::Event(event)) => return Some(Output::Event { stream, event }),
                None => {
                    slot.telling = false;
                    self.telling.pop_front();
                    self.flows.release(number);
                }
            }
        }
        None
    }
}

/// The smallest MTU of IPv4 hosts (RFC 791); IPv6 asks for more.
const SMALLEST_MTU: u16 = 576;
/// What datagrams and answers may wait to be sent, in bytes.
const OUTBOX: usize = 256 << 10;
