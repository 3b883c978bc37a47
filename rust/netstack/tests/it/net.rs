use std::time::Duration;

use ztna_model::{Endpoint, Flow, Protocol, Random, Time, millis};
use ztna_netstack::{Event, Limits, Netstack, NotTaken, Output, Scope, StreamId};
use ztna_packet::{Content, Packet, TcpFlags};

/// The end that begins flows.
pub(crate) const CLIENT: usize = 0;
/// The end that is asked.
pub(crate) const GATEWAY: usize = 1;
/// Whose packets they are, at both ends.
pub(crate) const SCOPE: Scope = Scope(7);

/// A small repeatable random source.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }

    /// Whether it happens, in so many of a hundred times.
    pub(crate) fn happens(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.roll(256) as u8);
    }
}

/// What the wire does to packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// How long every packet takes.
    pub(crate) delay: Duration,
    /// How many of a hundred are lost.
    pub(crate) lost: u64,
    /// How many of a hundred take up to four times as long.
    pub(crate) late: u64,
    /// How many of a hundred come twice.
    pub(crate) twice: u64,
}

/// Nothing but a short delay.
pub(crate) const FAIR: Weather = Weather { delay: millis(5), lost: 0, late: 0, twice: 0 };

/// One end of the wire.
pub(crate) struct End {
    pub(crate) stack: Netstack,
    /// What it was told about its flows.
    pub(crate) events: Vec<(StreamId, Event)>,
    /// Who wants to come in.
    pub(crate) incoming: Vec<(StreamId, Flow)>,
    /// The packets that it has sent.
    pub(crate) sent: Vec<Vec<u8>>,
}

/// Which packets do not get through: told the sending end, and the packet.
type Obstacle = Box<dyn FnMut(usize, &Packet<'_>) -> bool>;

/// Two ends, and the packets between them.
pub(crate) struct Net {
    pub(crate) ends: [End; 2],
    pub(crate) now: Time,
    pub(crate) weather: Weather,
    pub(crate) dice: Dice,
    pub(crate) obstacle: Obstacle,
    wire: Vec<(Time, usize, Vec<u8>)>,
}

impl Net {
    pub(crate) fn new(weather: Weather, limits: [Limits; 2], seed: u64) -> Self {
        let mut dice = Dice(seed);
        let ends = limits.map(|limits| End {
            stack: Netstack::new(limits, &mut dice),
            events: Vec::new(),
            incoming: Vec::new(),
            sent: Vec::new(),
        });
        let now = Time::ZERO + millis(1);
        Self { ends, now, weather, dice, obstacle: Box::new(|_, _| false), wire: Vec::new() }
    }

    /// A client and a gateway in fair weather.
    pub(crate) fn fair() -> Self {
        Self::new(FAIR, [Limits::DESKTOP, Limits::GATEWAY], 1)
    }

    /// Begins a flow at the client's end.
    pub(crate) fn connect(&mut self, flow: Flow) -> StreamId {
        self.ends[CLIENT].stack.connect(SCOPE, flow, self.now).unwrap()
    }

    /// A connection that stands at both ends.
    pub(crate) fn connection(&mut self, flow: Flow) -> [StreamId; 2] {
        let client = self.connect(flow);
        self.run_until(|net| !net.ends[GATEWAY].incoming.is_empty());
        let (gateway, seen) = self.ends[GATEWAY].incoming.remove(0);
        assert_eq!(seen.destination, flow.destination);
        self.ends[GATEWAY].stack.accept(gateway, self.now).unwrap();
        self.run_until(|net| {
            net.has_heard(CLIENT, client, Event::Connected)
                && net.has_heard(GATEWAY, gateway, Event::Connected)
        });
        [client, gateway]
    }

    /// Whether an end was told of an event.
    pub(crate) fn has_heard(&self, end: usize, stream: StreamId, event: Event) -> bool {
        self.ends[end].events.contains(&(stream, event))
    }

    /// What an end was told about one flow.
    pub(crate) fn heard(&self, end: usize, stream: StreamId) -> Vec<Event> {
        self.ends[end].events.iter().filter(|(id, _)| *id == stream).map(|(_, event)| *event).collect()
    }

    /// Lets everything happen that happens now.
    pub(crate) fn drain(&mut self) {
        for end in [CLIENT, GATEWAY] {
            while let Some(output) = self.ends[end].stack.poll(self.now) {
                match output {
                    Output::Packet { scope, packet } => {
                        assert_eq!(scope, SCOPE);
                        let packet = packet.to_vec();
                        self.send(end, packet);
                    }
                    Output::Incoming { stream, scope, flow } => {
                        assert_eq!(scope, SCOPE);
                        self.ends[end].incoming.push((stream, flow));
                    }
                    Output::Event { stream, event } => self.ends[end].events.push((stream, event)),
                }
            }
            let wake = self.ends[end].stack.next_wake();
            assert!(wake.is_none_or(|wake| wake > self.now), "a drained netstack wants the clock at once");
        }
    }

    /// Goes on to the next thing that happens. Whether there is one.
    pub(crate) fn step(&mut self) -> bool {
        self.drain();
        let arrival = self.wire.iter().map(|(at, ..)| *at).min();
        let wakes = [CLIENT, GATEWAY].map(|end| self.ends[end].stack.next_wake());
        let Some(next) = wakes.into_iter().chain([arrival]).flatten().min() else { return false };
        self.now = next;
        self.deliver();
        true
    }

    /// Goes on until something is so. It must become so.
    pub(crate) fn run_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..1_000_000 {
            self.drain();
            if is_so(self) {
                return;
            }
            assert!(self.step(), "nothing happens any more");
        }
        panic!("it does not come to an end");
    }

    /// Goes on for a while.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..1_000_000 {
            self.drain();
            let arrival = self.wire.iter().map(|(at, ..)| *at).min();
            let wakes = [CLIENT, GATEWAY].map(|end| self.ends[end].stack.next_wake());
            let next = wakes.into_iter().chain([arrival]).flatten().min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = next,
                None => {
                    self.now = end;
                    return self.drain();
                }
            }
            self.deliver();
        }
        panic!("it does not come to rest");
    }

    /// Hands a packet to an end as if the other had sent it.
    pub(crate) fn inject(&mut self, to: usize, packet: &[u8]) -> Result<(), NotTaken> {
        self.ends[to].stack.handle_packet(SCOPE, packet, self.now)
    }

    /// How many of the packets that an end has sent are so.
    pub(crate) fn count(&self, end: usize, is_so: impl Fn(&Packet<'_>) -> bool) -> usize {
        self.ends[end].sent.iter().filter(|packet| is_so(&ztna_packet::parse(packet).unwrap())).count()
    }

    fn send(&mut self, from: usize, packet: Vec<u8>) {
        let read = ztna_packet::parse(&packet).unwrap();
        assert!(read.checksums_hold() && packet.len() <= 1280);
        self.ends[from].sent.push(packet.clone());
        if (self.obstacle)(from, &read) || self.dice.happens(self.weather.lost) {
            return;
        }
        let copies = 1 + u64::from(self.dice.happens(self.weather.twice));
        for _ in 0..copies {
            let late = self.dice.happens(self.weather.late);
            let more = if late { self.dice.roll(3 * self.weather.delay.as_micros() as u64) } else { 0 };
            let at = self.now + self.weather.delay + Duration::from_micros(more);
            self.wire.push((at, 1 - from, packet.clone()));
        }
    }

    fn deliver(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= self.now);
        self.wire = later;
        for (_, to, packet) in due {
            // What is not taken is lost: that is what the other end must live with.
            let _ = self.inject(to, &packet);
        }
    }
}

/// A flow from the client's port `port` to a stand-in address.
pub(crate) fn flow(protocol: Protocol, port: u16) -> Flow {
    Flow { protocol, source: end("198.19.0.1", port), destination: end("198.18.0.7", 443) }
}

/// The same with IPv6 addresses.
pub(crate) fn flow_v6(protocol: Protocol, port: u16) -> Flow {
    Flow { protocol, source: end("2001:2::1", port), destination: end("2001:2:0:1::7", 443) }
}

/// An end of a flow.
pub(crate) fn end(address: &str, port: u16) -> Endpoint {
    Endpoint::new(address.parse().unwrap(), port)
}

/// Whether a packet is a TCP segment with these flags and no other, but for ACK and PSH.
pub(crate) fn is(packet: &Packet<'_>, flags: TcpFlags) -> bool {
    tcp(packet).flags.without(TcpFlags::ACK.with(TcpFlags::PSH)) == flags
}

/// The header of a TCP segment.
pub(crate) fn tcp(packet: &Packet<'_>) -> ztna_packet::Tcp {
    let Content::Tcp(tcp) = packet.content() else { panic!("not TCP: {packet:?}") };
    tcp
}
