use std::time::Duration;

use ztna_model::{Time, millis, secs};

use crate::answer::write_prohibited;
use crate::netstack::Netstack;
use crate::output::{Cause, Event, News};
use crate::slot::Body;
use crate::stream::Scope;
use crate::tcp::{Ear, End};
use crate::told::Told;

impl Netstack {
    /// Gives the first of the ready flows its turn. Whether it has written a packet, and for whom.
    pub(crate) fn run(&mut self, number: u32, now: Time) -> Option<Scope> {
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
        match &mut slot.body {
            Body::Tcp(_) => return self.settle_connection(number, sent, now),
            Body::Wanted(syn) if syn.deadline() <= now => self.end(number, Event::Reset(Cause::Silence)),
            Body::Udp(udp) if udp.deadline() <= now => self.end(number, Event::Closed),
            Body::Wanted(syn) => self.deadlines.set(number, Some(syn.deadline())),
            Body::Udp(udp) => self.deadlines.set(number, Some(udp.deadline())),
            Body::Unwanted(_) | Body::Prohibited | Body::Lingering(_) | Body::Gone => {}
        }
        true
    }

    fn settle_connection(&mut self, number: u32, sent: bool, now: Time) -> bool {
        let Some(slot) = self.flows.slot(number) else { return true };
        let Body::Tcp(tcp) = &mut slot.body else { return true };
        // Who has ended a flow does not hear of its end.
        let mut unheard = News::default();
        match tcp.end(if slot.named { &mut slot.news } else { &mut unheard }) {
            Some(End::Lingering(told)) => self.linger(number, told, now),
            Some(End::Over) => self.close(number),
            None => {
                let (engine, answers) = (&mut self.engine, &mut self.outbox);
                let mut ear = Ear { engine, answers, scope: slot.scope, arriving: slot.arriving, now };
                let Some(deadline) = tcp.rest(&mut ear, sent) else { return false };
                // Whatever it says, at once is too soon for one that has found nothing to send.
                self.deadlines.set(number, deadline.map(|at| at.max(now + millis(1))));
            }
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

/// How many packets a flow sends before it is the next one's turn: about what one large send to a socket holds.
const TURN: u32 = 50;
/// How long a connection that was closed answers its peer's last segment: four repetitions.
const LINGER: Duration = secs(20);
