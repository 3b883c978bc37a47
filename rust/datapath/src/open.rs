use ztna_model::{Carrier, DenyReason, Endpoint, Flow, Inner, Protocol};
use ztna_packet::{Content, Packet, parse, refuse};
use ztna_policy::{Scope, Slot, Verdict, Via};
use ztna_tunnel::{Decapsulated, PeerId};

use crate::datapath::{Datapath, Side};
use crate::sink::Datagrams;

/// What a datagram held.
#[derive(PartialEq, Eq, Debug)]
pub enum Opened<'a> {
    /// A packet that may pass, under this rule.
    Packet {
        /// From whom.
        peer: PeerId,
        /// Under which rule.
        slot: Slot,
        /// The packet, to be moved to another flow where its end of the tunnel does that.
        packet: &'a mut [u8],
    },
    /// A gateway's notice to the client.
    Notice {
        /// From whom.
        peer: PeerId,
        /// What it says, unread.
        payload: &'a [u8],
    },
    /// At the gateway: a device's question to the resolver inside the tunnel. No rule has been asked.
    Query {
        /// From whom.
        peer: PeerId,
        /// From where: one of the device's own addresses, to which the answer goes.
        from: Endpoint,
        /// The question, unread.
        payload: &'a [u8],
    },
    /// At the client: the gateway's answer to such a question.
    Answer {
        /// From whom.
        peer: PeerId,
        /// What it says, unread.
        payload: &'a [u8],
    },
    /// A packet that may not pass. At the gateway it has been answered.
    Denied {
        /// From whom.
        peer: PeerId,
        /// Why.
        reason: DenyReason,
    },
    /// Nothing for anybody: a handshake, a keepalive, or what no peer sent.
    Nothing,
}

impl Datapath {
    /// Opens a datagram that came from `from` into `buffer`, and judges what is inside.
    pub fn open<'a>(
        &mut self,
        datagram: &[u8],
        from: Carrier,
        buffer: &'a mut [u8],
        sink: &mut impl Datagrams,
    ) -> Opened<'a> {
        match self.tunnel.decapsulate(datagram, from, buffer, self.now) {
            Ok(Decapsulated::Packet { peer, packet }) => match self.side {
                Side::Client => self.judge_from_gateway(peer, packet),
                Side::Gateway => self.judge_from_device(peer, packet, sink),
            },
            Ok(Decapsulated::Control { .. }) | Err(_) => Opened::Nothing,
        }
    }

    /// At the client: only answers to flows of this device's own, through the gateway that they went to.
    fn judge_from_gateway<'a>(&mut self, peer: PeerId, bytes: &'a mut [u8]) -> Opened<'a> {
        let via = Via(peer.number());
        let Ok(packet) = parse(bytes) else { return self.drop_from(peer, DenyReason::UnreadablePacket) };
        if !Inner::DEVICE.has(packet.destination()) {
            return self.drop_from(peer, DenyReason::NoRule);
        }
        if is_notice(&packet) {
            return Opened::Notice { peer, payload: payload_of(bytes) };
        }
        if packet.flow().is_some_and(|flow| is_answer(&flow)) {
            return Opened::Answer { peer, payload: payload_of(bytes) };
        }
        let verdict = match (packet.content(), packet.flow()) {
            (Content::IcmpError(error), _) => self.table.returning_error(Scope::DEVICE, via, &error.about),
            (Content::Tcp(_) | Content::Udp(_) | Content::Echo(_), Some(flow)) => {
                let verdict = self.table.returning(Scope::DEVICE, via, &flow, bytes.len());
                self.follow(verdict, Scope::DEVICE, &packet, flow.reversed());
                verdict
            }
            (Content::Tcp(_) | Content::Udp(_) | Content::Echo(_), None) => {
                Verdict::Deny(DenyReason::UnreadablePacket)
            }
        };
        match verdict {
            Verdict::Allow(slot) => Opened::Packet { peer, slot, packet: bytes },
            Verdict::Ask(_) => self.drop_from(peer, DenyReason::NoRule),
            Verdict::Deny(reason) => self.drop_from(peer, reason),
        }
    }

    /// At the gateway: the inner source is the constant one, and a live lease of this very peer covers the rest.
    fn judge_from_device<'a>(
        &mut self,
        peer: PeerId,
        bytes: &'a mut [u8],
        sink: &mut impl Datagrams,
    ) -> Opened<'a> {
        let Ok(packet) = parse(bytes) else { return self.drop_from(peer, DenyReason::UnreadablePacket) };
        if !Inner::DEVICE.has(packet.source()) {
            return self.drop_from(peer, DenyReason::SpoofedSource);
        }
        // A device's errors are about packets that this gateway sent; nothing here depends on them.
        let Some(flow) = packet.flow() else { return self.drop_from(peer, DenyReason::NoRule) };
        if is_answer(&flow.reversed()) && packet.checksums_hold() {
            return Opened::Query { peer, from: flow.source, payload: payload_of(bytes) };
        }
        let scope = Scope(peer.number());
        let verdict = self.table.outgoing(scope, &flow, bytes.len());
        self.follow(verdict, scope, &packet, flow);
        match verdict {
            Verdict::Allow(slot) => Opened::Packet { peer, slot, packet: bytes },
            Verdict::Ask(_) => self.refuse(peer, &packet, DenyReason::NoRule, sink),
            Verdict::Deny(reason) => self.refuse(peer, &packet, reason, sink),
        }
    }

    /// Answers at once, so that the application behind it fails at once. Unbound, expired and foreign destinations
    /// get one and the same answer.
    fn refuse<'a>(
        &mut self,
        peer: PeerId,
        packet: &Packet<'_>,
        reason: DenyReason,
        sink: &mut impl Datagrams,
    ) -> Opened<'a> {
        let mut answer = [0; LONGEST_ANSWER];
        if let Ok(length) = refuse(packet, &mut answer)
            && let Some(answer) = answer.get(..length)
        {
            self.encapsulate(peer, answer, sink);
        }
        self.drop_from(peer, reason)
    }

    fn drop_from<'a>(&mut self, peer: PeerId, reason: DenyReason) -> Opened<'a> {
        self.counters.count(reason);
        Opened::Denied { peer, reason }
    }
}

fn payload_of(bytes: &[u8]) -> &[u8] {
    parse(bytes).map_or(&[], |packet| packet.payload())
}

fn is_notice(packet: &Packet<'_>) -> bool {
    let Some(flow) = packet.flow() else { return false };
    flow.protocol == Protocol::Udp
        && Inner::NOTICES.has(flow.source.address)
        && flow.source.port == Inner::NOTICES_PORT
        && flow.destination.port == Inner::NOTICES_PORT
}

/// Whether packets of `flow` come from the resolver inside the tunnel.
fn is_answer(flow: &Flow) -> bool {
    flow.protocol == Protocol::Udp
        && Inner::RESOLVER.has(flow.source.address)
        && flow.source.port == Inner::RESOLVER_PORT
}

/// An ICMPv6 error may be as long as the smallest MTU (RFC 4443, 2.4 (c)).
const LONGEST_ANSWER: usize = 1_280;
