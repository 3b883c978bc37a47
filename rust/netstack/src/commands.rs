use thiserror::Error;
use ztna_model::{Flow, Protocol, Time};

use crate::arrivals::is_between_hosts;
use crate::flows::Body;
use crate::netstack::Netstack;
use crate::output::{Cause, Event, News};
use crate::stream::{Scope, StreamId};
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Why a flow was not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConnectError {
    /// It speaks neither TCP nor UDP.
    #[error("only tcp and udp flows can be begun")]
    OtherProtocol,
    /// Its ends are not two hosts of one address family with ports.
    #[error("the ends are not two hosts of one address family")]
    BadEnds,
    /// There is such a flow already.
    #[error("there is such a flow already")]
    Taken,
    /// There are too many flows, or no source port is left.
    #[error("there are too many flows")]
    TooManyFlows,
    /// The buffers of all flows have come to what they may.
    #[error("no room is left for buffers")]
    NoBuffers,
}

/// Why a flow was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AcceptError {
    /// Nobody waits under this name, or nobody any more.
    #[error("nobody waits for an answer")]
    NotWaiting,
    /// The buffers of all flows have come to what they may. The flow has been refused.
    #[error("no room is left for buffers")]
    NoBuffers,
}

/// Why a datagram was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DatagramError {
    /// There is no such flow of datagrams.
    #[error("there is no such flow of datagrams")]
    NoFlow,
    /// It does not fit into one packet.
    #[error("the datagram does not fit into one packet")]
    TooLong,
    /// Too much waits to be sent.
    #[error("too much waits to be sent")]
    NoRoom,
}

impl Netstack {
    /// Begins a flow. With the source port 0 a free one is chosen: see [`flow`](Self::flow).
    ///
    /// A TCP flow can be used from [`Event::Connected`] on, a flow of datagrams at once.
    pub fn connect(&mut self, scope: Scope, flow: Flow, now: Time) -> Result<StreamId, ConnectError> {
        if flow.protocol == Protocol::IcmpEcho {
            return Err(ConnectError::OtherProtocol);
        }
        let same_family = flow.source.address.is_ipv4() == flow.destination.address.is_ipv4();
        if !same_family || !is_between_hosts(&flow) || flow.destination.port == 0 {
            return Err(ConnectError::BadEnds);
        }
        if !self.flows.has_room(scope) {
            return Err(ConnectError::TooManyFlows);
        }
        let arriving = self.free_arriving(scope, flow)?;
        let buffer = self.flows.take_buffers().ok_or(ConnectError::NoBuffers)?;
        let body = match flow.protocol {
            Protocol::Tcp => {
                let seed = self.flows.seed(scope, &arriving);
                Body::Tcp(Tcp::connect(&mut self.engine, seed, &arriving, buffer))
            }
            Protocol::Udp | Protocol::IcmpEcho => Body::Udp(Udp::new(buffer, now)),
        };
        let number = self.flows.open(scope, arriving, true, body).map_err(|_| ConnectError::TooManyFlows)?;
        self.mark_ready(number);
        Ok(self.flows.name(number))
    }

    /// Lets a waiting flow in: TCP goes on with its handshake until [`Event::Connected`], datagrams can be read.
    pub fn accept(&mut self, stream: StreamId, now: Time) -> Result<(), AcceptError> {
        let slot = self.flows.named(stream).filter(|slot| slot.waiting).ok_or(AcceptError::NotWaiting)?;
        let (scope, arriving) = (slot.scope, slot.arriving);
        if let Body::Wanted(syn) = &slot.body {
            let syn = *syn;
            let seed = self.flows.seed(scope, &arriving);
            let Some(buffer) = self.flows.take_buffers() else {
                self.refuse(stream);
                return Err(AcceptError::NoBuffers);
            };
            let tcp = Tcp::accept(&mut self.engine, seed, &arriving, &syn, buffer, now);
            self.flows.set_body(stream.index, Body::Tcp(tcp));
        }
        self.flows.answered(stream.index);
        self.mark_ready(stream.index);
        self.mark_telling(stream.index);
        Ok(())
    }

    /// Turns a waiting flow away: TCP by a reset, datagrams by ICMP *administratively prohibited*.
    pub fn refuse(&mut self, stream: StreamId) {
        if self.flows.named(stream).is_some_and(|slot| slot.waiting) {
            self.abort(stream);
        }
    }

    /// Gives `bytes` to a connection. Returns how many it took; if not all, [`Event::Writable`] follows.
    pub fn send(&mut self, stream: StreamId, mut bytes: &[u8]) -> usize {
        let whole = bytes.len();
        // The free part of a ring lies in two pieces at most.
        for _ in 0..2 {
            let sent = self.send_with(stream, |room| {
                let length = room.len().min(bytes.len());
                if let (Some(room), Some(bytes)) = (room.get_mut(..length), bytes.get(..length)) {
                    room.copy_from_slice(bytes);
                }
                length
            });
            bytes = bytes.get(sent..).unwrap_or_default();
            if bytes.is_empty() || sent == 0 {
                break;
            }
        }
        whole - bytes.len()
    }

    /// Lets `fill` write what a connection is to send, and say how much that is; returns the same.
    ///
    /// It gets the free part of the buffer, or what lies in one piece of it, and is not called if there is none; then
    /// [`Event::Writable`] follows.
    pub fn send_with(&mut self, stream: StreamId, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let sent = self.tcp(stream).map_or(0, |tcp| tcp.send_with(fill));
        if sent > 0 {
            self.mark_ready(stream.index);
        }
        sent
    }

    /// Reads from a connection. Returns how many bytes there were; if 0, [`Event::Readable`] or
    /// [`Event::PeerClosed`] follows.
    pub fn recv(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        let mut length = 0;
        for _ in 0..2 {
            let room = buffer.get_mut(length..).unwrap_or_default();
            let taken = self.recv_with(stream, |bytes| {
                let length = room.len().min(bytes.len());
                if let (Some(room), Some(bytes)) = (room.get_mut(..length), bytes.get(..length)) {
                    room.copy_from_slice(bytes);
                }
                length
            });
            length += taken;
            if taken == 0 {
                break;
            }
        }
        length
    }

    /// Lets `read` see what has arrived on a connection, and say how much of it is done with; returns the same.
    ///
    /// It gets the oldest bytes, as many as lie in one piece, and is not called if there are none; then
    /// [`Event::Readable`] or [`Event::PeerClosed`] follows.
    pub fn recv_with(&mut self, stream: StreamId, read: impl FnOnce(&[u8]) -> usize) -> usize {
        let taken = self.tcp(stream).map_or(0, |tcp| tcp.recv_with(read));
        if taken > 0 {
            self.mark_ready(stream.index);
            self.mark_telling(stream.index);
        }
        taken
    }

    /// How many bytes [`send`](Self::send) would take.
    pub fn room(&mut self, stream: StreamId) -> usize {
        self.tcp(stream).map_or(0, Tcp::room)
    }

    /// How many bytes [`recv`](Self::recv) would give.
    pub fn unread(&mut self, stream: StreamId) -> usize {
        self.tcp(stream).map_or(0, Tcp::unread)
    }

    /// Ends this direction of a connection: after what was given so far comes a FIN. The other direction goes on.
    pub fn shutdown_write(&mut self, stream: StreamId) {
        if let Some(tcp) = self.tcp(stream) {
            tcp.shutdown_write();
            self.mark_ready(stream.index);
        }
    }

    /// Ends a flow at once. The peer is told, by a reset or by ICMP; the caller knows, so no event follows.
    pub fn abort(&mut self, stream: StreamId) {
        if let Some(slot) = self.flows.named(stream) {
            slot.named = false;
            slot.news = News::default();
            self.part(stream.index);
        }
    }

    /// Ends every flow for which `is_meant` holds: its peer is told as by [`abort`](Self::abort), and each ends in
    /// [`Event::Reset`]. The flow that it is asked about is seen from the packets of whoever began it.
    pub fn abort_where(&mut self, mut is_meant: impl FnMut(Scope, &Flow) -> bool) {
        for number in self.flows.numbers() {
            let Some(slot) = self.flows.slot(number) else { continue };
            if matches!(slot.body, Body::Gone) || !is_meant(slot.scope, &slot.flow()) {
                continue;
            }
            if slot.named {
                slot.news.add(Event::Reset(Cause::Aborted));
                slot.named = false;
            }
            self.part(number);
        }
    }

    /// Sends a datagram.
    pub fn send_datagram(
        &mut self,
        stream: StreamId,
        payload: &[u8],
        now: Time,
    ) -> Result<(), DatagramError> {
        let slot = self.flows.named(stream).ok_or(DatagramError::NoFlow)?;
        let Body::Udp(udp) = &mut slot.body else { return Err(DatagramError::NoFlow) };
        let (scope, leaving) = (slot.scope, slot.arriving.reversed());
        udp.touch(now);
        self.deadlines.set(stream.index, Some(udp.deadline()));
        if !self.engine.write(|buffer| ztna_packet::datagram(leaving, payload, buffer).ok()) {
            return Err(DatagramError::TooLong);
        }
        let sent = self.outbox.push(scope, self.engine.packet());
        sent.then_some(()).ok_or(DatagramError::NoRoom)
    }

    /// Takes the oldest unread datagram; if there is none, [`Event::Readable`] follows.
    pub fn recv_datagram(&mut self, stream: StreamId) -> Option<&[u8]> {
        match &mut self.flows.named(stream)?.body {
            Body::Udp(udp) => udp.recv(),
            Body::Wanted(_)
            | Body::Unwanted(_)
            | Body::Tcp(_)
            | Body::Prohibited
            | Body::Lingering(_)
            | Body::Gone => None,
        }
    }

    /// Whose flow this is, and which, seen from the packets of whoever began it.
    pub fn flow(&mut self, stream: StreamId) -> Option<(Scope, Flow)> {
        self.flows.named(stream).map(|slot| (slot.scope, slot.flow()))
    }

    /// Lets a flow that nobody here names any more take leave of its peer.
    fn part(&mut self, number: u32) {
        let Some(slot) = self.flows.slot(number) else { return };
        self.deadlines.set(number, None);
        match &mut slot.body {
            Body::Tcp(tcp) => {
                if !tcp.abort() {
                    self.flows.close(number);
                }
            }
            Body::Wanted(_) => self.flows.turn_away(number),
            Body::Udp(_) if !slot.ours => self.flows.turn_away(number),
            Body::Udp(_) | Body::Lingering(_) | Body::Gone => self.flows.close(number),
            Body::Unwanted(_) | Body::Prohibited => {}
        }
        self.mark_ready(number);
        self.mark_telling(number);
    }

    /// The flow as its packets will arrive, with a source port that makes it unlike any other.
    fn free_arriving(&mut self, scope: Scope, flow: Flow) -> Result<Flow, ConnectError> {
        if flow.source.port != 0 {
            return self
                .is_free(scope, &flow.reversed())
                .then_some(flow.reversed())
                .ok_or(ConnectError::Taken);
        }
        // From an unpredictable port on (RFC 6056).
        let first = self.flows.seed(scope, &flow) as u16;
        for step in 0..EPHEMERAL {
            let mut arriving = flow.reversed();
            arriving.destination.port = FIRST_EPHEMERAL + first.wrapping_add(step) % EPHEMERAL;
            if self.is_free(scope, &arriving) {
                return Ok(arriving);
            }
        }
        Err(ConnectError::TooManyFlows)
    }

    fn is_free(&mut self, scope: Scope, arriving: &Flow) -> bool {
        let Some(number) = self.flows.find(scope, arriving) else { return true };
        let lingers = self.flows.slot(number).is_some_and(|slot| matches!(slot.body, Body::Lingering(_)));
        if lingers {
            self.flows.forget(number);
            self.flows.release(number);
        }
        lingers
    }

    fn tcp(&mut self, stream: StreamId) -> Option<&mut Tcp> {
        match &mut self.flows.named(stream)?.body {
            Body::Tcp(tcp) => Some(tcp),
            Body::Wanted(_)
            | Body::Unwanted(_)
            | Body::Udp(_)
            | Body::Prohibited
            | Body::Lingering(_)
            | Body::Gone => None,
        }
    }
}

/// The ports for those who do not choose (RFC 6335, section 6).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u16 = 16_384;
