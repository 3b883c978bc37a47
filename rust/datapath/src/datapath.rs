use ztna_model::{Endpoint, Flow, Inner, Protocol, Time};
use ztna_packet::{Piece, datagram};
use ztna_policy::{Ended, Table};
use ztna_tunnel::{EncapsulateError, Encapsulated, PeerId, Tunnel, Wake};

use crate::counters::Counters;
use crate::sink::Datagrams;

/// Which end this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The device: its own packets open flows, and gateways answer.
    Client,
    /// The gateway: devices' packets open flows, and the site answers.
    Gateway,
}

/// One end's tunnels and flow table, and the only way for packets between them.
pub struct Datapath {
    pub(crate) side: Side,
    /// The tunnels. Whoever adds a peer here gives it no right: rights are rules of [`Self::table`].
    pub tunnel: Tunnel,
    /// The rules and live flows.
    pub table: Table,
    pub(crate) counters: Counters,
    pub(crate) now: Time,
    /// Where packets of this end's own are written before they are sealed, and where packets are opened.
    pub(crate) own: Box<[u8; LONGEST]>,
}

impl Datapath {
    /// An end with these tunnels and this table.
    pub fn new(side: Side, tunnel: Tunnel, table: Table) -> Self {
        Self {
            side,
            tunnel,
            table,
            counters: Counters::default(),
            now: Time::ZERO,
            own: Box::new([0; LONGEST]),
        }
    }

    /// Begins a batch: `now` holds until the next. Hands out the rules that are over; their flows are to be reset.
    #[must_use = "the flows of rules that ended want to be reset"]
    pub fn begin_batch(&mut self, now: Time) -> Vec<Ended> {
        self.now = self.now.max(now);
        self.table.begin_batch(self.now)
    }

    /// Ends a batch: does what the tunnels' timers have due, and sends what the tunnels themselves have to send.
    pub fn finish(&mut self, sink: &mut impl Datagrams) {
        self.tunnel.wake(self.now);
        let length = self.tunnel.longest_datagram();
        while let Some((to, sent)) = self.poll_tunnel(length) {
            // A datagram of no bytes opens a path: it is sent as well.
            let room = sink.room(to, sent);
            if let (Some(room), Some(datagram)) = (room.get_mut(..sent), self.own.get(..sent)) {
                room.copy_from_slice(datagram);
                sink.commit(sent);
            }
        }
    }

    /// When the clock is next needed at the latest, for the tunnels or for a lease that ends.
    pub fn next_wake(&self) -> Option<Time> {
        let tunnel = self.tunnel.next_wake().map(|Wake { at, .. }| at);
        [tunnel, self.table.next_deadline()].into_iter().flatten().min()
    }

    /// What was dropped, and why.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sends a packet of this end's own making to `peer`, unjudged: a reset of a flow that was cut.
    pub fn seal_own(&mut self, peer: PeerId, packet: &[u8], sink: &mut impl Datagrams) {
        self.encapsulate(peer, packet, sink);
    }

    /// Sends `payload` to the notices address of `peer`'s device, inside the tunnel.
    pub fn notify(&mut self, peer: PeerId, payload: &[u8], sink: &mut impl Datagrams) {
        let end = |inner: Inner| Endpoint::new(inner.v4.into(), Inner::NOTICES_PORT);
        let flow =
            Flow { protocol: Protocol::Udp, source: end(Inner::NOTICES), destination: end(Inner::DEVICE) };
        let mut notice = [0; LONGEST_NOTICE];
        if let Ok(length) = datagram(flow, payload, &mut notice)
            && let Some(packet) = notice.get(..length)
        {
            self.encapsulate(peer, packet, sink);
        }
    }

    /// Sends the resolver's answer `payload` to where a device of `peer`'s has asked `from`, inside the tunnel.
    pub fn answer(&mut self, peer: PeerId, from: Endpoint, payload: &[u8], sink: &mut impl Datagrams) {
        let source = Endpoint::new(Inner::RESOLVER.like(from.address), Inner::RESOLVER_PORT);
        let flow = Flow { protocol: Protocol::Udp, source, destination: from };
        let mut packet = [0; LONGEST_ANSWER];
        if let Ok(length) = datagram(flow, payload, &mut packet)
            && let Some(packet) = packet.get(..length)
        {
            self.encapsulate(peer, packet, sink);
        }
    }

    /// Seals `packet` for `peer`, straight into the send buffer. Says whether it went out or waits for a session.
    pub(crate) fn encapsulate(&mut self, peer: PeerId, packet: &[u8], sink: &mut impl Datagrams) -> bool {
        let Some(length) = self.tunnel.sealed_length(packet.len()) else { return self.unsealed() };
        let outcome = match self.tunnel.path(peer) {
            Some(to) => self.tunnel.encapsulate(peer, packet, sink.room(to, length), self.now),
            // Without a path there is no session either: the packet waits, or is refused.
            None => self.tunnel.encapsulate(peer, packet, &mut self.own[..], self.now),
        };
        self.commit(outcome, sink)
    }

    /// [`Datapath::encapsulate`] for a packet that has room behind it, in which it is padded without another copy.
    pub(crate) fn encapsulate_piece(
        &mut self,
        peer: PeerId,
        piece: Piece<'_>,
        sink: &mut impl Datagrams,
    ) -> bool {
        let Piece { room, length } = piece;
        let Some(sealed) = self.tunnel.sealed_length(length) else { return self.unsealed() };
        let out = match self.tunnel.path(peer) {
            Some(to) => sink.room(to, sealed),
            None => &mut self.own[..],
        };
        let outcome = self.tunnel.encapsulate_front(peer, room, length, out, self.now);
        self.commit(outcome, sink)
    }

    fn commit(&mut self, outcome: Result<Encapsulated, EncapsulateError>, sink: &mut impl Datagrams) -> bool {
        match outcome {
            Ok(Encapsulated::Sealed { length, .. }) => sink.commit(length),
            Ok(Encapsulated::Queued) => {}
            Err(
                EncapsulateError::UnknownPeer
                | EncapsulateError::Length { .. }
                | EncapsulateError::NoRoom { .. }
                | EncapsulateError::NoSession
                | EncapsulateError::NoCarrier,
            ) => return self.unsealed(),
        }
        true
    }

    fn unsealed(&mut self) -> bool {
        self.counters.unsealed += 1;
        false
    }

    fn poll_tunnel(&mut self, length: usize) -> Option<(ztna_model::Carrier, usize)> {
        let transmit = self.tunnel.poll(self.own.get_mut(..length)?, self.now)?;
        Some((transmit.to, transmit.length))
    }
}

/// Room for any packet or datagram of a tunnel: its MTU is at most that of a jumbo frame.
pub(crate) const LONGEST: usize = 9_216;

/// What every tunnel takes.
const LONGEST_ANSWER: usize = 1_280;
/// A notice is a line of JSON.
const LONGEST_NOTICE: usize = 512;
