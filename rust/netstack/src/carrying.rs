use thiserror::Error;
use ztna_model::Time;

use crate::netstack::Netstack;
use crate::slot::Body;
use crate::stream::StreamId;
use crate::tcp::Tcp;

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
    /// Gives `bytes` to a connection. Returns how many it took; if not all, [`Event::Writable`](crate::Event::Writable)
    /// follows.
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
    /// [`Event::Writable`](crate::Event::Writable) follows. What lies there may be left from any flow: it must not say
    /// more than it has written.
    pub fn send_with(&mut self, stream: StreamId, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let sent = self.tcp(stream).map_or(0, |tcp| tcp.send_with(fill));
        if sent > 0 {
            self.mark_ready(stream.index);
        }
        sent
    }

    /// Reads from a connection. Returns how many bytes there were; if 0, [`Event::Readable`](crate::Event::Readable) or
    /// [`Event::PeerClosed`](crate::Event::PeerClosed) follows.
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
    /// [`Event::Readable`](crate::Event::Readable) or [`Event::PeerClosed`](crate::Event::PeerClosed) follows.
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

    /// Takes the oldest unread datagram; if there is none, [`Event::Readable`](crate::Event::Readable) follows.
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

    pub(crate) fn tcp(&mut self, stream: StreamId) -> Option<&mut Tcp> {
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
