use thiserror::Error;

use ztna_model::{Carrier, Time};

use crate::message::OVERHEAD;
use crate::padding::{MULTIPLE, Padded};
use crate::peer_id::PeerId;
use crate::tunnel::Tunnel;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulated {
    /// It is a datagram of `length` bytes at the front of the buffer.
    Sealed {
        /// Bytes of the datagram: [`Tunnel::sealed_length`] of the packet's.
        length: usize,
        /// Where it goes.
        to: Carrier,
    },
    /// It waits for a session, and comes out of [`Tunnel::poll`] when there is one.
    Queued,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EncapsulateError {
    /// The peer is gone, or never was.
    #[error("there is no such peer")]
    UnknownPeer,
    /// It is empty, or longer than the tunnel's MTU.
    #[error("a packet of {length} bytes, where 1 to {mtu} fit")]
    Length {
        /// The packet's bytes.
        length: usize,
        /// The tunnel's MTU.
        mtu: usize,
    },
    /// The buffer is shorter than the datagram would be.
    #[error("a buffer of {room} bytes, where the datagram takes {needed}")]
    NoRoom {
        /// The buffer's bytes.
        room: usize,
        /// The datagram's bytes.
        needed: usize,
    },
    /// There is no session, and this end does not start one.
    #[error("there is no session, and only the other end starts one")]
    NoSession,
    /// There is no session, and no address to start one with.
    #[error("no address of the peer is known")]
    NoCarrier,
}

/// Packets out.
impl Tunnel {
    /// Bytes of the datagram that carries a packet of `length` bytes: what a buffer of equal segments is laid out
    /// by. Nothing for what is empty or above the MTU.
    pub const fn sealed_length(&self, length: usize) -> Option<usize> {
        self.padding.sealed(length)
    }

    /// Seals `packet` for `peer` at the front of `out`, which is as long as its datagram or longer: the rest of a
    /// buffer that is filled datagram by datagram will do.
    ///
    /// A packet whose length is a multiple of 16 or the MTU is copied once; another twice, by way of a buffer in
    /// which it is padded: [`Self::encapsulate_front`] avoids that. Before the end of the batch, drain
    /// [`Self::poll`]: a handshake may have become due.
    pub fn encapsulate(
        &mut self,
        peer: PeerId,
        packet: &[u8],
        out: &mut [u8],
        now: Time,
    ) -> Result<Encapsulated, EncapsulateError> {
        let padded = self.check(packet.len(), out)?;
        if padded == packet.len() {
            return self.seal(peer, Padded { bytes: packet, length: padded }, out, now);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(packet);
        scratch.resize(padded, 0);
        let outcome = self.seal(peer, Padded { bytes: &scratch, length: packet.len() }, out, now);
        self.scratch = scratch;
        outcome
    }

    /// Like [`Self::encapsulate`] for the first `length` bytes of `buffer`, and always with a single copy: up to 15
    /// bytes behind the packet serve as its padding meanwhile, and are put back. Where there are none, it is padded
    /// like any other.
    pub fn encapsulate_front(
        &mut self,
        peer: PeerId,
        buffer: &mut [u8],
        length: usize,
        out: &mut [u8],
        now: Time,
    ) -> Result<Encapsulated, EncapsulateError> {
        let padded = self.check(length, out)?;
        let Some(bytes) = buffer.get_mut(..padded) else {
            let packet = buffer.get(..length).ok_or_else(|| self.wrong_length(length))?;
            return self.encapsulate(peer, packet, out, now);
        };
        let mut behind = [0; MULTIPLE];
        swap_tail(bytes, length, &mut behind);
        let outcome = self.seal(peer, Padded { bytes, length }, out, now);
        swap_tail(bytes, length, &mut behind);
        outcome
    }

    fn check(&self, length: usize, out: &[u8]) -> Result<usize, EncapsulateError> {
        let padded = self.padding.padded(length).ok_or_else(|| self.wrong_length(length))?;
        let needed = padded + OVERHEAD;
        if out.len() < needed {
            return Err(EncapsulateError::NoRoom { room: out.len(), needed });
        }
        Ok(padded)
    }

    const fn wrong_length(&self, length: usize) -> EncapsulateError {
        EncapsulateError::Length { length, mtu: self.padding.mtu() }
    }

    fn seal(
        &mut self,
        id: PeerId,
        packet: Padded<'_>,
        out: &mut [u8],
        now: Time,
    ) -> Result<Encapsulated, EncapsulateError> {
        let peer = self.peers.get_mut(id).ok_or(EncapsulateError::UnknownPeer)?;
        let outcome = peer.encapsulate(packet, out, now, &mut self.outbox);
        self.alarms.follow(peer);
        outcome
    }
}

fn swap_tail(bytes: &mut [u8], from: usize, other: &mut [u8; MULTIPLE]) {
    bytes.iter_mut().skip(from).zip(other).for_each(|(one, other)| std::mem::swap(one, other));
}
