use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ztna_model::{DenyReason, Endpoint, Flow, Protocol, Time, secs};

/// What an application wants to reach, as its packets show it: the destination of a flow that nothing allows yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wish {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it wants to go.
    pub destination: Endpoint,
}

/// Packets that wait while the session asks for the right to send them.
///
/// ```text
///   packet ──▶ hold ─ first of its wish ─▶ the session is asked ─▶ granted ─▶ the packets go
///                   └ one more ─▶ waits as well                 └▶ denied  ─▶ each is answered
/// ```
#[derive(Default)]
pub(super) struct Wishes {
    open: BTreeMap<Wish, Queue>,
    /// Packets of all wishes.
    count: usize,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<(Time, Box<[u8]>)>,
    /// Why this was refused a moment ago: what asks again at once is refused for the same reason.
    refused: Option<(Time, DenyReason)>,
}

/// What becomes of a packet that nothing allows yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// The session is to be asked.
    Asks,
    /// It has been asked already.
    Waits,
    /// It has just said no.
    Refused(DenyReason),
    /// Too many wait: the packet is lost, as on any path.
    Lost,
}

impl Wish {
    /// What a flow asks for.
    pub(super) const fn of(flow: &Flow) -> Self {
        Self { protocol: flow.protocol, destination: flow.destination }
    }
}

impl Wishes {
    /// Takes a packet that nothing allows yet.
    pub(super) fn hold(&mut self, wish: Wish, packet: &[u8], now: Time) -> Held {
        self.expire(now);
        let asked = self.open.contains_key(&wish);
        if !asked && self.open.len() >= MOST_WISHES {
            return Held::Lost;
        }
        let queue = self.open.entry(wish).or_default();
        if let Some((_, reason)) = queue.refused {
            return Held::Refused(reason);
        }
        if self.count < MOST_PACKETS && queue.packets.len() < MOST_PACKETS_OF_ONE && packet.len() <= LONGEST {
            self.count += 1;
            queue.packets.push_back((now + PATIENCE, packet.into()));
        }
        if asked { Held::Waits } else { Held::Asks }
    }

    /// The session has answered that this may pass: the packets that still wait for it.
    pub(super) fn grant(&mut self, wish: &Wish, now: Time) -> Vec<Box<[u8]>> {
        self.expire(now);
        self.open.remove(wish).map_or_else(Vec::new, |queue| self.take(queue))
    }

    /// The session has answered that it may not: the packets that wait for an answer. For a moment the same wish is
    /// refused without asking.
    pub(super) fn refuse(&mut self, wish: Wish, reason: DenyReason, now: Time) -> Vec<Box<[u8]>> {
        self.expire(now);
        let packets = self.open.remove(&wish).map_or_else(Vec::new, |queue| self.take(queue));
        if self.open.len() < MOST_WISHES {
            let refused = Some((now + MEMORY, reason));
            self.open.insert(wish, Queue { packets: VecDeque::new(), refused });
        }
        packets
    }

    /// Rights have changed: what was refused may be asked for again.
    pub(super) fn reconsider(&mut self) {
        self.open.retain(|_, queue| queue.refused.is_none());
    }

    /// Forgets everything, and hands out what waited for an answer.
    pub(super) fn clear(&mut self) -> Vec<Box<[u8]>> {
        let open = std::mem::take(&mut self.open);
        open.into_values().flat_map(|queue| self.take(queue)).collect()
    }

    /// How many wait for the session.
    pub(super) fn count(&self) -> usize {
        self.open.values().filter(|queue| queue.refused.is_none()).count()
    }

    fn take(&mut self, queue: Queue) -> Vec<Box<[u8]>> {
        self.count -= queue.packets.len();
        queue.packets.into_iter().map(|(_, packet)| packet).collect()
    }

    /// Drops packets that have waited too long: nobody expects them any more. Nothing needs the clock for this.
    fn expire(&mut self, now: Time) {
        for queue in self.open.values_mut() {
            while queue.packets.pop_front_if(|(until, _)| *until <= now).is_some() {
                self.count -= 1;
            }
        }
        self.open.retain(|_, queue| queue.refused.is_none_or(|(until, _)| until > now));
    }
}

/// What may wait: of one wish, of all (a third of a mebibyte), and how many wishes.
const MOST_PACKETS_OF_ONE: usize = 64;
const MOST_PACKETS: usize = 256;
const MOST_WISHES: usize = 256;
/// The tunnel's MTU: what is longer is cut first.
const LONGEST: usize = 1_280;
const PATIENCE: Duration = secs(2);
/// Shorter than a person takes to try again, longer than a program that tries at once.
const MEMORY: Duration = secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(port: u16) -> Wish {
        let destination = Endpoint::new([198, 18, 0, 1].into(), port);
        Wish { protocol: Protocol::Udp, destination }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + ztna_model::millis(millis)
    }

    fn packets(found: &[Box<[u8]>]) -> Vec<u8> {
        found.iter().map(|packet| packet[0]).collect()
    }

    #[test]
    fn p6_6_packets_wait_for_their_grant_in_order_and_two_seconds_long() {
        let mut wishes = Wishes::default();
        assert_eq!(wishes.hold(wish(1), &[1], at(0)), Held::Asks);
        assert_eq!(wishes.hold(wish(1), &[2], at(1_500)), Held::Waits);
        assert_eq!(wishes.hold(wish(2), &[3], at(1_600)), Held::Asks);
        assert_eq!(packets(&wishes.grant(&wish(1), at(2_000))), [2], "the first has waited too long");
        assert!(wishes.grant(&wish(1), at(2_000)).is_empty());
        assert_eq!(wishes.hold(wish(1), &[4], at(2_001)), Held::Asks, "what has been granted is asked anew");
        assert_eq!(packets(&wishes.grant(&wish(2), at(3_599))), [3]);
    }

    #[test]
    fn p6_6_no_more_than_64_wait_for_one_grant() {
        let mut wishes = Wishes::default();
        for number in 0..100 {
            wishes.hold(wish(1), &[number], at(0));
        }
        assert_eq!(packets(&wishes.grant(&wish(1), at(1))), (0..64).collect::<Vec<_>>());
        for port in 1..=1_000 {
            for _ in 0..64 {
                wishes.hold(wish(port), &[0; 1_280], at(2));
            }
        }
        assert_eq!((wishes.count, wishes.count()), (MOST_PACKETS, MOST_WISHES));
        assert_eq!(wishes.hold(wish(2_000), &[0], at(3)), Held::Lost);
        assert_eq!(wishes.clear().len(), MOST_PACKETS);
        assert_eq!((wishes.count, wishes.count()), (0, 0));
    }

    #[test]
    fn what_was_refused_is_refused_again_for_a_moment() {
        let mut wishes = Wishes::default();
        wishes.hold(wish(1), &[1], at(0));
        let refused = wishes.refuse(wish(1), DenyReason::NoRule, at(10));
        assert_eq!(packets(&refused), [1]);
        assert_eq!(wishes.hold(wish(1), &[2], at(500)), Held::Refused(DenyReason::NoRule));
        assert_eq!(wishes.hold(wish(1), &[2], at(1_010)), Held::Asks);
        wishes.refuse(wish(1), DenyReason::NoRule, at(1_020));
        wishes.reconsider();
        assert_eq!(wishes.hold(wish(1), &[2], at(1_030)), Held::Asks);
    }
}
