use ztna_model::{DenyReason, Flow};
use ztna_packet::{Burst, Content, Packet, TcpFlags, parse};
use ztna_policy::{Scope, Slot, Verdict, Via};
use ztna_tunnel::PeerId;

use crate::datapath::{Datapath, Side};
use crate::sink::Datagrams;

/// What became of a packet that was to be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// It is in the send buffer, or waits for a session.
    Sent,
    /// It waits for a lease: the client is to ask for this rule's resource, and to come back with the packet.
    Ask(Slot),
    /// It was dropped, and why. The client can answer the application with [`ztna_packet::refuse`].
    Denied(DenyReason),
    /// The tunnel could not take it.
    Lost,
}

impl Datapath {
    /// Judges a packet of the device's own (at the client) and seals it for the gateway its rule names.
    pub fn seal(&mut self, packet: &[u8], sink: &mut impl Datagrams) -> Sealed {
        match self.judge_from_application(packet) {
            Verdict::Allow(slot) => {
                let sent = self.encapsulate(PeerId::from_number(slot.via().0), packet, sink);
                if sent { Sealed::Sent } else { Sealed::Lost }
            }
            Verdict::Ask(slot) => Sealed::Ask(slot),
            Verdict::Deny(reason) => self.deny(reason),
        }
    }

    /// [`Datapath::seal`] for a packet that may stand for many: they belong to one flow, so it is judged once, and all of
    /// it counted. Only what was sealed is cut: a burst that waits or is refused is as it was.
    pub fn seal_burst(&mut self, burst: &mut Burst<'_>, sink: &mut impl Datagrams) -> Sealed {
        match self.judge_from_application(burst.bytes()) {
            Verdict::Allow(slot) => self.cut_and_seal(PeerId::from_number(slot.via().0), burst, sink),
            Verdict::Ask(slot) => Sealed::Ask(slot),
            Verdict::Deny(reason) => self.deny(reason),
        }
    }

    /// Judges a packet from the site (at the gateway) and seals it for `peer`: only as part of a flow that the peer
    /// has opened.
    pub fn seal_for(&mut self, peer: PeerId, packet: &[u8], sink: &mut impl Datagrams) -> Sealed {
        match self.judge_from_site(peer, packet) {
            Verdict::Allow(_) if self.encapsulate(peer, packet, sink) => Sealed::Sent,
            Verdict::Allow(_) => Sealed::Lost,
            // Nothing on the site's side is asked about.
            Verdict::Ask(_) => self.deny(DenyReason::NoRule),
            Verdict::Deny(reason) => self.deny(reason),
        }
    }

    /// [`Datapath::seal_for`] for a packet that may stand for many, judged once.
    pub fn seal_burst_for(
        &mut self,
        peer: PeerId,
        burst: &mut Burst<'_>,
        sink: &mut impl Datagrams,
    ) -> Sealed {
        match self.judge_from_site(peer, burst.bytes()) {
            Verdict::Allow(_) => self.cut_and_seal(peer, burst, sink),
            Verdict::Ask(_) => self.deny(DenyReason::NoRule),
            Verdict::Deny(reason) => self.deny(reason),
        }
    }

    fn judge_from_application(&mut self, packet: &[u8]) -> Verdict {
        debug_assert_eq!(self.side, Side::Client, "a gateway seals for somebody");
        let Ok(read) = parse(packet) else { return Verdict::Deny(DenyReason::UnreadablePacket) };
        let Some(flow) = read.flow() else { return Verdict::Deny(DenyReason::NoRule) };
        let verdict = self.table.outgoing(Scope::DEVICE, &flow, packet.len());
        self.follow(verdict, Scope::DEVICE, &read, flow);
        verdict
    }

    fn judge_from_site(&mut self, peer: PeerId, packet: &[u8]) -> Verdict {
        debug_assert_eq!(self.side, Side::Gateway, "a client seals for the gateway its rule names");
        match parse(packet) {
            Ok(read) => self.judge_returning(Scope(peer.number()), &read, packet.len()),
            Err(_) => Verdict::Deny(DenyReason::UnreadablePacket),
        }
    }

    fn judge_returning(&mut self, scope: Scope, packet: &Packet<'_>, bytes: usize) -> Verdict {
        match (packet.content(), packet.flow()) {
            (Content::IcmpError(error), _) => self.table.returning_error(scope, Via::SITE, &error.about),
            (Content::Tcp(_) | Content::Udp(_) | Content::Echo(_), Some(flow)) => {
                let verdict = self.table.returning(scope, Via::SITE, &flow, bytes);
                self.follow(verdict, scope, packet, flow.reversed());
                verdict
            }
            (Content::Tcp(_) | Content::Udp(_) | Content::Echo(_), None) => {
                Verdict::Deny(DenyReason::UnreadablePacket)
            }
        }
    }

    /// Tells the table when TCP begins a flow or begins to end it. `flow` is the packet's as the device's packets show it.
    #[inline]
    pub(crate) fn follow(&mut self, verdict: Verdict, scope: Scope, packet: &Packet<'_>, flow: Flow) {
        if let (Verdict::Allow(_), Content::Tcp(tcp)) = (verdict, packet.content())
            && tcp.flags.has_any(TURNS)
        {
            self.table.set_ending(scope, &flow, !tcp.flags.has(TcpFlags::SYN));
        }
    }

    /// Seals each packet that `burst` stands for, cut right where it lies: into the send buffer is its only copy.
    fn cut_and_seal(&mut self, peer: PeerId, burst: &mut Burst<'_>, sink: &mut impl Datagrams) -> Sealed {
        let Ok(mut pieces) = burst.pieces() else { return self.deny(DenyReason::UnreadablePacket) };
        let mut sealed = Sealed::Sent;
        while let Some(piece) = pieces.write_next() {
            if !self.encapsulate_piece(peer, piece, sink) {
                sealed = Sealed::Lost;
            }
        }
        sealed
    }

    fn deny(&mut self, reason: DenyReason) -> Sealed {
        self.counters.count(reason);
        Sealed::Denied(reason)
    }
}

/// The flow that a packet belongs to, as the packet shows it: for finding out what was denied.
pub fn flow_of(packet: &[u8]) -> Option<Flow> {
    parse(packet).ok()?.flow()
}

/// What begins a flow, and what ends it.
const TURNS: TcpFlags = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
