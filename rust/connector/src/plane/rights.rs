use ztna_datapath::packet::datagram;
use ztna_datapath::policy::{Effect, Ended, InsertError, Rule, Scope, Table, Via};
use ztna_datapath::tunnel::{PeerId, Role, Tunnel};
use ztna_datapath::{Datapath, Side};
use ztna_model::{
    Carrier, DenyReason, Endpoint, Flow, GatewayId, Grant, Inner, LeaseId, Protocol, Random as _,
    Rule as Terms, Secret, Time, WgPublic, is_forbidden_target,
};
use ztna_net::udp::Bind;
use ztna_session::Plane;

use crate::plane::gateways::{self, Gateway};
use crate::plane::port::Outlet;
use crate::plane::thread::DataThread;

/// What the session allows, and takes back.
impl DataThread {
    pub(super) fn carry_out(&mut self, plane: Plane) {
        match plane {
            Plane::Key(secret) => self.take_key(&secret),
            Plane::Peer { gateway, key, carriers } => self.know(gateway, key, carriers),
            Plane::Allow(grant) => self.allow(*grant),
            Plane::Query { gateway, message } => self.ask_site(&gateway, &message),
            Plane::End { lease, reason } => self.end_lease(lease, reason),
            Plane::Clear(reason) => self.clear(reason),
        }
    }

    /// Lets go of everything: every flow is reset at both ends, and no gateway is known any more.
    pub(super) fn clear(&mut self, reason: DenyReason) {
        if let Some(datapath) = &mut self.datapath {
            let ended = datapath.table.end_scope(Scope::DEVICE, reason);
            self.cut(ended);
        }
        for stream in self.streams.ids() {
            self.cut_stream(stream, reason);
        }
        if let Some(tun) = &mut self.tun {
            tun.forget_wishes();
        }
        // The resets leave before the tunnels that they leave by are gone.
        self.send_all();
        self.parting.clear();
        self.gateways.clear();
        self.datapath = None;
    }

    fn take_key(&mut self, secret: &Secret<[u8; 32]>) {
        self.clear(DenyReason::LeaseExpired);
        let tunnel = Tunnel::new(secret, Tunnel::DEFAULT_MTU, self.now);
        let table = Table::new(self.random.array(), self.config.table);
        let mut datapath = Datapath::new(Side::Client, tunnel, table);
        let ended = datapath.begin_batch(self.now);
        debug_assert!(ended.is_empty(), "an empty table ends nothing");
        self.datapath = Some(datapath);
    }

    fn know(&mut self, id: GatewayId, key: WgPublic, mut carriers: Vec<Carrier>) {
        let own_machine = matches!(self.config.bind, Bind::LoopbackV4 | Bind::LoopbackV6);
        carriers.retain(|carrier| may_send_to(*carrier, own_machine));
        if self.gateways.get(&id).is_some_and(|gateway| gateway.key != key) {
            self.part_with(&id);
        }
        let Some(datapath) = &mut self.datapath else { return };
        if let Some(gateway) = self.gateways.get(&id) {
            datapath.tunnel.set_carriers(gateway.peer, &carriers);
            gateway.carriers = carriers;
            return;
        }
        match datapath.tunnel.add_peer(key, None, Role::Initiator, &mut self.random, self.now) {
            Ok(peer) => {
                datapath.tunnel.set_carriers(peer, &carriers);
                self.gateways.insert(id, Gateway::new(peer, key, carriers));
            }
            Err(cause) => tracing::warn!(gateway = %id, %cause, "a gateway cannot be used"),
        }
    }

    /// Forgets a gateway, and whatever goes through it.
    fn part_with(&mut self, id: &GatewayId) {
        let Some(Gateway { peer, .. }) = self.gateways.remove(id) else { return };
        let Some(datapath) = &mut self.datapath else { return };
        let leases: Vec<LeaseId> = gateways::rules(datapath, peer).map(|rule| rule.lease).collect();
        let ended = leases.into_iter().filter_map(|lease| datapath.table.end(lease, DenyReason::Restarted));
        let ended = ended.collect();
        self.cut(ended);
        self.send_all();
        if let Some(datapath) = &mut self.datapath {
            datapath.tunnel.remove_peer(peer);
        }
    }

    fn allow(&mut self, grant: Grant) {
        let (Some(datapath), Some(gateway)) = (&mut self.datapath, self.gateways.get(&grant.gateway)) else {
            tracing::warn!(gateway = %grant.gateway, "a grant names a gateway that nobody has told of");
            return;
        };
        if std::mem::take(&mut gateway.has_forgotten)
            && let Err(cause) = datapath.tunnel.reconnect(gateway.peer, self.now)
        {
            tracing::debug!(%cause, "no handshake with a gateway that was away");
        }
        let (lease, rule) = (grant.lease, rule(grant, gateway.peer, self.config.table.flows));
        let inserted = match datapath.table.insert(rule.clone()) {
            Err(InsertError::OtherTerms(_)) => {
                self.end_lease(lease, DenyReason::Revoked);
                self.datapath.as_mut().map(|datapath| datapath.table.insert(rule))
            }
            inserted => Some(inserted),
        };
        if let Some(Err(cause)) = inserted {
            tracing::warn!(%lease, %cause, "a grant is of no use");
        }
        if let Some(tun) = &mut self.tun {
            tun.desk.wishes.reconsider();
        }
    }

    /// Asks a gateway's resolver, inside its tunnel.
    fn ask_site(&mut self, gateway: &GatewayId, message: &[u8]) {
        let (Some(datapath), Some(gateway)) = (&mut self.datapath, self.gateways.get(gateway)) else {
            return;
        };
        let end = |inner: Inner| Endpoint::new(inner.v4.into(), NAMES);
        let (source, destination) = (end(Inner::DEVICE), end(Inner::RESOLVER));
        let mut room = [0; LONGEST_QUESTION];
        let written = datagram(Flow { protocol: Protocol::Udp, source, destination }, message, &mut room);
        if let Some(packet) = written.ok().and_then(|length| room.get(..length)) {
            datapath.seal_own(gateway.peer, packet, &mut Outlet(&mut self.port));
        }
    }

    fn end_lease(&mut self, lease: LeaseId, reason: DenyReason) {
        let Some(datapath) = &mut self.datapath else { return };
        let Some(ended) = datapath.table.end(lease, reason) else { return };
        // A gateway that is back knows nothing of the tunnel, and one without a lease forgets it.
        let peer = through(&ended);
        let was_last = gateways::rules(datapath, peer).next().is_none();
        if (was_last || matches!(reason, DenyReason::Restarted | DenyReason::GatewayAway))
            && let Some((_, gateway)) = self.gateways.with_peer(peer)
        {
            gateway.has_forgotten = true;
        }
        self.cut(vec![ended]);
    }

    /// Resets the flows of rules that are over, both ways.
    pub(super) fn cut(&mut self, ended: Vec<Ended>) {
        for ended in ended {
            let peer = through(&ended);
            for flow in &ended.flows {
                if let Some(stream) = self.streams.with_flow(flow) {
                    self.parting.insert(*flow, peer);
                    self.cut_stream(stream, ended.reason);
                } else if let Some(tun) = &mut self.tun {
                    tun.end(flow, ended.reason, self.now);
                }
            }
        }
    }
}

/// By which peer packets under this rule went.
const fn through(ended: &Ended) -> PeerId {
    PeerId::from_number(ended.rule.via.0)
}

/// The gateway is the authority on how long a lease lives, and says so when it ends.
fn rule(grant: Grant, peer: PeerId, flows: u32) -> Rule {
    let Grant { lease, resource, protocol, ports, covers, .. } = grant;
    let terms = Terms { resource, protocol, ports, covers };
    let via = Via(peer.number());
    Rule { lease, scope: Scope::DEVICE, via, terms, deadline: Time::MAX, flows, effect: Effect::Allow }
}

/// Whether a gateway may be sought there. It says itself where it is, and must not make this device speak to its own
/// services, to what stands beside it on the link, or to many at once. `own_machine`: a demonstration's is here.
fn may_send_to(carrier: Carrier, own_machine: bool) -> bool {
    let Carrier::Udp(to) = carrier;
    let address = to.ip();
    let is_host = !is_forbidden_target(address) || own_machine && address.is_loopback();
    is_host && to.port() != 0
}

/// Domain names (RFC 1035, 4.2).
const NAMES: u16 = 53;
/// A question with its headers.
const LONGEST_QUESTION: usize = 1_280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_7_a_gateway_names_no_place_that_is_not_a_host_elsewhere() {
        let rows = [
            ("192.0.2.1:51820", true, true),
            ("10.1.2.3:51820", true, true),
            ("[2001:db8::1]:51820", true, true),
            ("[fd00::1]:51820", true, true),
            ("127.0.0.1:53", false, true),
            ("[::1]:53", false, true),
            ("[::ffff:127.0.0.1]:53", false, false),
            ("0.0.0.0:53", false, false),
            ("169.254.169.254:80", false, false),
            ("[fe80::1]:53", false, false),
            ("239.255.255.250:1900", false, false),
            ("255.255.255.255:67", false, false),
            ("[ff02::1]:5353", false, false),
            ("198.18.0.1:53", false, false),
            ("192.0.2.1:0", false, false),
        ];
        for (at, elsewhere, here) in rows {
            let carrier = Carrier::Udp(at.parse().unwrap());
            assert_eq!((may_send_to(carrier, false), may_send_to(carrier, true)), (elsewhere, here), "{at}");
        }
    }
}
