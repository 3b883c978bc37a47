use std::collections::VecDeque;
use std::time::Duration;

use ztna_model::{Random, Time, millis, secs};

use crate::answer::write_prohibited;
use crate::deadlines::Deadlines;
use crate::engine::Engine;
use crate::flows::{Body, Flows};
use crate::limits::Limits;
use crate::output::{Cause, Event, Item, News, Output};
use crate::packets::Packets;
use crate::stream::{Scope, StreamId};
use crate::tcp::{End, Told};

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
    // Flows with something to do; the first has sent `turn` packets in its turn.
    ready: VecDeque<u32>,
    turn: u32,
    // Flows with something to say.
    telling: VecDeque<u32>,
    // Connections that linger, the oldest first, and until when.
    lingering: VecDeque<(Time, StreamId)>,
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
        self.flows.live()
    }

    /// What the buffers of all flows come to, in bytes.
    pub const fn buffered(&self) -> usize {
        self.flows.buffered()
    }

    /// Gives the first of the ready flows its turn. Whether it has written a packet, and for whom.
    fn run(&mut self, number: u32, now: Time) -> Option<Scope> {
        let sent = self.step(number, now);
        self.turn += 1;
        // Most flows that send a packet send no other: asking them costs less than trying in vain.
        let asked = sent.is_none() || self.turn == 1;
        if asked && self.settle(number, sent.is_some(), now) {
            self.turn = 0;
            self.ready.pop_front();
            if let Some(slot) = self.flows.slot(number) {
                slot.ready = false;
            }
            self.flows.release(number);
        } else if self.turn >= TURN {
            self.turn = 0;
            self.ready.rotate_left(1);
        }
        sent
    }

    /// Lets a flow write one packet.
    fn step(&mut self, number: u32, now: Time) -> Option<Scope> {
        let slot = self.flows.slot(number)?;
        let (scope, leaving) = (slot.scope, slot.arriving.reversed());
        let sent = match &mut slot.body {
            Body::Tcp(tcp) => tcp.egress(&mut self.engine, now),
            Body::Unwanted(syn) => {
                let expects = syn.sequence().wrapping_add(1);
                self.flows.forget(number);
                self.engine.write(|buffer| ztna_packet::reset_flow(leaving, 0, Some(expects), buffer).ok())
            }
            Body::Prohibited => {
                self.flows.forget(number);
                self.engine.write(|buffer| write_prohibited(leaving, buffer))
            }
            Body::Wanted(_) | Body::Udp(_) | Body::Lingering(_) | Body::Gone => false,
        };
        sent.then_some(scope)
    }

    /// Looks after a flow whose turn may be over. Whether it is: one that has just sent a packet may have another.
    fn settle(&mut self, number: u32, sent: bool, now: Time) -> bool {
        let Some(slot) = self.flows.slot(number) else { return true };
        // Who has ended a flow does not hear of its end.
        let mut unheard = News::default();
        let news = if slot.named { &mut slot.news } else { &mut unheard };
        match &mut slot.body {
            Body::Tcp(tcp) => match tcp.end(news) {
                Some(End::Lingering(told)) => self.linger(number, told, now),
                Some(End::Over) => self.close(number),
                None => {
                    let deadline = tcp.deadline(&mut self.engine, slot.arriving, now);
                    if sent && deadline.is_some_and(|at| at <= now) {
                        return false;
                    }
                    // Whatever it says, at once is too soon for one that has found nothing to send.
                    self.deadlines.set(number, deadline.map(|at| at.max(now + millis(1))));
                }
            },
            Body::Wanted(syn) if syn.deadline() <= now => self.end(number, Event::Reset(Cause::Silence)),
            Body::Udp(udp) if udp.deadline() <= now => self.end(number, Event::Closed),
            Body::Wanted(syn) => self.deadlines.set(number, Some(syn.deadline())),
            Body::Udp(udp) => self.deadlines.set(number, Some(udp.deadline())),
            Body::Unwanted(_) | Body::Prohibited | Body::Lingering(_) | Body::Gone => {}
        }
        true
    }

    /// Ends a flow, and says so.
    pub(crate) fn end(&mut self, number: u32, event: Event) {
        if let Some(slot) = self.flows.slot(number) {
            slot.news.add(event);
        }
        self.close(number);
    }

    /// Ends a flow. What is to be said about it is still said.
    pub(crate) fn close(&mut self, number: u32) {
        self.deadlines.set(number, None);
        self.flows.close(number);
        self.mark_telling(number);
        self.flows.release(number);
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

    /// Keeps the little that is left of a connection for a while. Nobody is woken when the while is over.
    fn linger(&mut self, number: u32, told: Told, now: Time) {
        self.deadlines.set(number, None);
        self.flows.linger(number, told);
        self.mark_telling(number);
        self.lingering.push_back((now + LINGER, self.flows.name(number)));
        let most = self.limits.flows as usize;
        while let Some(&(until, stream)) = self.lingering.front()
            && (until <= now || self.lingering.len() > most)
        {
            self.lingering.pop_front();
            self.flows.forget_lingering(stream);
        }
    }
}

/// The smallest MTU of IPv4 hosts (RFC 791); IPv6 asks for more.
const SMALLEST_MTU: u16 = 576;
/// How many packets a flow sends before it is the next one's turn: about what one large send to a socket holds.
const TURN: u32 = 50;
/// What datagrams and answers may wait to be sent, in bytes.
const OUTBOX: usize = 256 << 10;
/// How long a connection that was closed answers its peer's last segment: four repetitions.
const LINGER: Duration = secs(20);
