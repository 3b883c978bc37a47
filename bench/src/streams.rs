//! Two netstacks, and what carries packets between them.

use std::hint::black_box;
use std::net::SocketAddr;

use ztna_model::{Flow, Inner, Protocol, Random, Synthetic, Time};
use ztna_net::clock::Clock;
use ztna_netstack::{Event, Limits, Netstack, Output, Scope, StreamId};

use crate::buffer::SendBuffer;
use crate::measure::Outcome;
use crate::seed::Seed;

/// From the client to the gateway, or from the gateway to the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What carries packets.
pub(crate) trait Wire {
    /// Begins a batch.
    fn begin(&mut self, now: Time) -> Outcome;
    /// Takes a packet.
    fn send(&mut self, way: Way, packet: &[u8]) -> Outcome;
    /// Hands over what it has taken.
    fn deliver(&mut self, way: Way, to: &mut Netstack, now: Time) -> Outcome;
}

/// Memory, and nothing else.
pub(crate) struct Memory(SendBuffer);

/// Connections between two netstacks, and the bytes that are sent on them.
pub(crate) struct Streams<W> {
    client: End,
    gateway: End,
    wire: W,
    /// Whose turn it is to send.
    turn: usize,
}

/// One netstack, and what it has said.
struct End {
    stack: Netstack,
    streams: Vec<StreamId>,
    readable: Vec<StreamId>,
    segments: u64,
    packets: u64,
}

/// What has passed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// Segments with data.
    pub(crate) segments: u64,
    /// Packets both ways, with data or without.
    pub(crate) packets: u64,
}

impl<W: Wire> Streams<W> {
    /// `number` connections that stand.
    pub(crate) fn connect(wire: W, number: u16) -> Outcome<Self> {
        let mut seed = Seed::new(u64::from(number));
        let (client, gateway) = (End::new(&mut seed), End::new(&mut seed));
        let mut streams = Self { client, gateway, wire, turn: 0 };
        for port in 0..number {
            streams.client.stack.connect(SCOPE, flow(1_024 + port), Clock.now())?;
            if port % 64 == 63 || port + 1 == number {
                (0..4).try_for_each(|_| streams.exchange())?;
            }
        }
        let stand = (streams.client.streams.len(), streams.gateway.streams.len());
        if stand == (number.into(), number.into()) {
            Ok(streams)
        } else {
            Err(format!("{stand:?} of {number} connections stand").into())
        }
    }

    /// Sends `train` bytes on each of the next `flows` connections in turn, over and over, until about so many bytes
    /// have been read at the other end.
    pub(crate) fn pass(&mut self, way: Way, flows: usize, train: &[u8], bytes: u64) -> Outcome<Passed> {
        let mut passed = Passed::default();
        let before = (self.segments(), self.packets());
        while passed.bytes < bytes {
            let sender = if way == Way::Up { &mut self.client } else { &mut self.gateway };
            for at in self.turn..self.turn + flows {
                let stream = sender.streams.get(at % sender.streams.len()).ok_or("no streams")?;
                sender.stack.send(*stream, train);
            }
            self.turn += flows;
            self.exchange()?;
            passed.bytes += if way == Way::Up { self.gateway.read() } else { self.client.read() };
        }
        (passed.segments, passed.packets) = (self.segments() - before.0, self.packets() - before.1);
        Ok(passed)
    }

    fn exchange(&mut self) -> Outcome {
        let now = Clock.now();
        let Self { client, gateway, wire, .. } = self;
        wire.begin(now)?;
        client.drain(Way::Up, wire, now)?;
        wire.deliver(Way::Up, &mut gateway.stack, now)?;
        gateway.drain(Way::Down, wire, now)?;
        wire.deliver(Way::Down, &mut client.stack, now)
    }

    const fn segments(&self) -> u64 {
        self.client.segments + self.gateway.segments
    }

    const fn packets(&self) -> u64 {
        self.client.packets + self.gateway.packets
    }
}

impl End {
    fn new(seed: &mut dyn Random) -> Self {
        let stack = Netstack::new(LIMITS, seed);
        Self { stack, streams: Vec::new(), readable: Vec::new(), segments: 0, packets: 0 }
    }

    /// Sends what is to be sent, a batch at most, and hears what there is to hear.
    fn drain(&mut self, way: Way, wire: &mut impl Wire, now: Time) -> Outcome {
        let mut wanted = Vec::new();
        for _ in 0..AT_ONCE {
            match self.stack.poll(now) {
                Some(Output::Packet { packet, .. }) => {
                    self.packets += 1;
                    self.segments += u64::from(packet.len() > NO_DATA);
                    wire.send(way, packet)?;
                }
                Some(Output::Incoming { stream, .. }) => wanted.push(stream),
                Some(Output::Event { stream, event: Event::Connected }) => self.streams.push(stream),
                Some(Output::Event { stream, event: Event::Readable }) => self.readable.push(stream),
                Some(Output::Event { event: Event::Writable, .. }) => {}
                Some(Output::Event {
                    event: Event::PeerClosed | Event::Closed | Event::Reset(_), ..
                }) => {
                    return Err("a connection ended".into());
                }
                None => break,
            }
        }
        wanted.into_iter().try_for_each(|stream| Ok(self.stack.accept(stream, now)?))
    }

    /// Reads all there is to read, where it lies.
    fn read(&mut self) -> u64 {
        let mut bytes = 0;
        for stream in self.readable.drain(..) {
            loop {
                let taken = self.stack.recv_with(stream, |bytes| black_box(bytes).len());
                bytes += taken as u64;
                if taken == 0 {
                    break;
                }
            }
        }
        bytes
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self(SendBuffer::new())
    }
}

impl Wire for Memory {
    fn begin(&mut self, _now: Time) -> Outcome {
        Ok(())
    }

    fn send(&mut self, _way: Way, packet: &[u8]) -> Outcome {
        self.0.push(packet);
        Ok(())
    }

    fn deliver(&mut self, _way: Way, to: &mut Netstack, now: Time) -> Outcome {
        for packet in self.0.iter() {
            to.handle_packet(SCOPE, packet, now)?;
        }
        self.0.clear();
        Ok(())
    }
}

/// The stand-in of the resource that all connections go to.
pub(crate) const RESOURCE: Synthetic = Synthetic::from_index(7);
/// The port that they go to.
pub(crate) const PORT: u16 = 443;

fn flow(port: u16) -> Flow {
    let end = |address: std::net::Ipv4Addr, port| SocketAddr::from((address, port)).into();
    Flow { protocol: Protocol::Tcp, source: end(Inner::DEVICE.v4, port), destination: end(RESOURCE.v4, PORT) }
}

const SCOPE: Scope = Scope(1);
const LIMITS: Limits =
    Limits { flows_per_scope: Limits::GATEWAY.flows, waiting_per_scope: 8_192, ..Limits::GATEWAY };
/// Packets in a batch.
const AT_ONCE: usize = 64;
/// The longest packet without data: headers with every option that is in use.
const NO_DATA: usize = 100;
