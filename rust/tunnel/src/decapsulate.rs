use std::net::IpAddr;

use ztna_model::{Carrier, Time};

use crate::message::{COOKIE_REPLY, Message};
use crate::noise::Identity;
use crate::peer::Arrival;
use crate::peer_id::PeerId;
use crate::refusal::Refusal;
use crate::tunnel::Tunnel;

/// What an authentic datagram was.
#[derive(PartialEq, Eq, Debug)]
pub enum Decapsulated<'a> {
    /// It carried this packet. Whose it is has been proven; its inner addresses have not.
    Packet {
        /// From whom.
        peer: PeerId,
        /// The packet, cut to the length in its own IP header, at the front of the caller's buffer.
        packet: &'a mut [u8],
    },
    /// It was for the tunnel alone: a keepalive, a handshake, a cookie.
    Control {
        /// From whom.
        peer: PeerId,
    },
}

/// Datagrams in.
impl Tunnel {
    /// Reads a datagram that arrived by the carrier `from`, and puts what is inside into `out`, which is at least
    /// as long as the datagram less 16 bytes.
    ///
    /// Every refusal is counted, and none answered but by a cookie where one is due. Whatever there is to send,
    /// answers too, comes out of [`Self::poll`]: drain it before the end of the batch.
    pub fn decapsulate<'a>(
        &mut self,
        datagram: &[u8],
        from: Carrier,
        out: &'a mut [u8],
        now: Time,
    ) -> Result<Decapsulated<'a>, Refusal> {
        let outcome = self.read(Arrival { datagram, from, now }, out);
        if let Err(reason) = &outcome {
            self.refusals.count(*reason);
        }
        outcome
    }

    fn read<'a>(&mut self, arrival: Arrival<'_>, out: &'a mut [u8]) -> Result<Decapsulated<'a>, Refusal> {
        match Message::read(arrival.datagram).ok_or(Refusal::Unreadable)? {
            Message::Data { receiver, counter } => self.data((receiver, counter), arrival, out),
            Message::Initiation { sender } => self.initiation(sender, arrival),
            Message::Response { sender, receiver } => self.response((receiver, sender), arrival),
            Message::CookieReply { receiver } => self.cookie(receiver, arrival),
        }
    }

    fn data<'a>(
        &mut self,
        (receiver, counter): (u32, u64),
        arrival: Arrival<'_>,
        out: &'a mut [u8],
    ) -> Result<Decapsulated<'a>, Refusal> {
        let id = self.whose(receiver)?;
        let peer = self.peers.get_mut(id).ok_or(Refusal::UnknownIndex)?;
        let opened = peer.open((receiver, counter), arrival, out, &mut self.outbox);
        self.alarms.follow(peer);
        let packet = opened?;
        Ok(if packet.is_empty() {
            Decapsulated::Control { peer: id }
        } else {
            Decapsulated::Packet { peer: id, packet }
        })
    }

    /// From cheap to dear: the first code, the cookie, the bounds, the key inside, the rest.
    fn initiation<'a>(&mut self, remote: u32, arrival: Arrival<'_>) -> Result<Decapsulated<'a>, Refusal> {
        let from = address(arrival.from);
        self.screen(from, arrival)?;
        if !self.gate.admit(from, arrival.now) {
            return Err(Refusal::Busy);
        }
        let key = self.identity.sender(arrival.datagram)?;
        let id = self.keys.get(&key).copied().ok_or(Refusal::UnknownKey)?;
        let peer = self.peers.get_mut(id).ok_or(Refusal::UnknownKey)?;
        let answered = peer.answer(remote, arrival, &mut self.outbox);
        self.alarms.follow(peer);
        answered.map(|()| Decapsulated::Control { peer: id })
    }

    fn screen(&mut self, from: IpAddr, arrival: Arrival<'_>) -> Result<(), Refusal> {
        let mut cookie = [0; COOKIE_REPLY];
        let screened = self.identity.screen(arrival.datagram, from, &mut cookie);
        if screened == Err(Refusal::CookieDue) {
            self.outbox.push(None, arrival.from, &cookie);
        }
        screened
    }

    fn response<'a>(
        &mut self,
        (local, remote): (u32, u32),
        arrival: Arrival<'_>,
    ) -> Result<Decapsulated<'a>, Refusal> {
        let id = self.whose(local)?;
        let peer = self.peers.get_mut(id).ok_or(Refusal::UnknownIndex)?;
        let finished = peer.finish((local, remote), arrival, &mut self.outbox);
        self.alarms.follow(peer);
        if finished? {
            self.ready.push_back(id);
        }
        Ok(Decapsulated::Control { peer: id })
    }

    fn cookie<'a>(&mut self, local: u32, arrival: Arrival<'_>) -> Result<Decapsulated<'a>, Refusal> {
        let id = self.whose(local)?;
        let peer = self.peers.get_mut(id).ok_or(Refusal::UnknownIndex)?;
        let kept = peer.keep_cookie(arrival, &mut self.outbox);
        self.alarms.follow(peer);
        kept.map(|()| Decapsulated::Control { peer: id })
    }

    fn whose(&self, index: u32) -> Result<PeerId, Refusal> {
        self.indices.get(index >> 8).ok_or(Refusal::UnknownIndex)
    }
}

/// What a cookie proves: that the sender receives at this address.
const fn address(carrier: Carrier) -> IpAddr {
    match carrier {
        Carrier::Udp(address) => address.ip(),
    }
}
