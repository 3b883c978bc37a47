use ztna_api::gateway::{Declined, Held as HeldFrame, LeaseError, Offered};
use ztna_api::jws::JwsError;
use ztna_api::lease;
use ztna_api::statement::{self, Body};
use ztna_model::{
    Carrier, Holder, Host, Lease, LeaseId, Match, Ports, Synthetic, WgPublic, has_forbidden_target,
    is_forbidden_target,
};
use ztna_policy::{Effect, Rule, Scope, Via};
use ztna_tunnel::{AddPeerError, PeerId, Role};

use crate::gate::{Config, Gate};
use crate::held::Held;
use crate::renew::first_look;

impl Gate {
    /// Takes a lease, new or held already, or says why not. Packets under it pass before the broker hears that it is
    /// held.
    pub(crate) fn take_offered(&mut self, offered: &Offered) {
        match self.take(offered) {
            Ok(lease) => self.tell(HeldFrame { lease }),
            Err(declined) => {
                self.count(declined.code);
                self.tell(declined);
            }
        }
    }

    /// Takes renewals. Nobody waits for an answer to one that is well, or that cannot even be read. One that comes too
    /// late brings nothing back: its end has been told.
    pub(crate) fn take_again(&mut self, leases: &[String]) {
        for text in leases {
            let Err(declined) = self.renew(text) else { continue };
            self.count(declined.code);
            if declined.lease.is_some() {
                self.tell(declined);
            }
        }
    }

    fn take(&mut self, offered: &Offered) -> Result<LeaseId, Declined> {
        let lease = self.verified(&offered.lease)?;
        let id = lease.id;
        self.check_and_hold(lease)?;
        self.open_paths(id, &offered.carriers);
        Ok(id)
    }

    fn renew(&mut self, text: &str) -> Result<(), Declined> {
        let lease = self.verified(text)?;
        if self.leases.contains_key(&lease.id) { self.check_and_hold(lease) } else { Ok(()) }
    }

    fn check_and_hold(&mut self, lease: Lease) -> Result<(), Declined> {
        let id = lease.id;
        let held = self.check(&lease).and_then(|()| self.hold(lease));
        held.map_err(|code| Declined { lease: Some(id), code })
    }

    /// What a lease key has signed. The id in anything else means nothing.
    fn verified(&self, text: &str) -> Result<Lease, Declined> {
        let verified = self.keys.as_ref().map(|keys| lease::verify(text, keys));
        let code = match verified {
            Some(Ok(lease)) => return Ok(lease),
            Some(Err(JwsError::UnknownCritical)) => LeaseError::UnknownCritical,
            None
            | Some(Err(
                JwsError::TooLong(_)
                | JwsError::Malformed
                | JwsError::WrongType
                | JwsError::WrongAlgorithm
                | JwsError::KeyMisplaced
                | JwsError::BadSignature
                | JwsError::BadClaims,
            )) => LeaseError::BadSignature,
        };
        Err(Declined { lease: None, code })
    }

    /// All that must hold, in the order of the protocol.
    fn check(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.check_addressee(lease)?;
        self.check_time(lease)?;
        if self.floors.void(lease) {
            return Err(LeaseError::BelowFloor);
        }
        match self.leases.get(&lease.id) {
            // What does not change has been checked when it came first.
            Some(held) => check_repetition(&held.lease, lease),
            None => self.check_new(lease),
        }
    }

    fn check_addressee(&self, lease: &Lease) -> Result<(), LeaseError> {
        if lease.org != self.config.org {
            return Err(LeaseError::WrongOrg);
        }
        if lease.gw != self.config.gateway {
            return Err(LeaseError::WrongGateway);
        }
        if lease.run != self.config.run {
            return Err(LeaseError::WrongRun);
        }
        if Some(lease.incarnation) != self.incarnation {
            return Err(LeaseError::WrongIncarnation);
        }
        Ok(())
    }

    fn check_time(&self, lease: &Lease) -> Result<(), LeaseError> {
        if lease.begins() > self.now {
            return Err(LeaseError::NotYet);
        }
        if u128::from(lease.ttl) > Lease::LONGEST.as_millis() {
            return Err(LeaseError::TooLong);
        }
        if self.now >= lease.deadline() || lease.begins() < self.last_jump {
            return Err(LeaseError::Expired);
        }
        Ok(())
    }

    fn check_new(&self, lease: &Lease) -> Result<(), LeaseError> {
        let Holder::Tunnel { wg_pub, .. } = &lease.holder;
        self.peers.check_key(lease.sid, self.datapath.tunnel.peer_with(wg_pub))?;
        self.check_statement(lease)?;
        self.check_target(lease)?;
        self.check_synthetic(lease)?;
        if self.leases.len() >= self.config.most_leases || self.peers.count_of(lease.sid) >= MOST_OF_ONE {
            return Err(LeaseError::TooMany);
        }
        Ok(())
    }

    /// The device itself vouches for the WireGuard key.
    fn check_statement(&self, lease: &Lease) -> Result<(), LeaseError> {
        let Holder::Tunnel { wg_pub, statement } = &lease.holder;
        if self.has_stated(lease) {
            return Ok(());
        }
        let stated = statement::verify(statement, &lease.jkt, &lease.org, lease.sid);
        match stated.map(|statement| statement.body) {
            Ok(Body::TunnelKey { wg_pub: stated }) if stated == *wg_pub => Ok(()),
            Ok(Body::TunnelKey { .. } | Body::Facts { .. } | Body::Presence {} | Body::Confirm { .. })
            | Err(_) => Err(LeaseError::BadStatement),
        }
    }

    /// Whether the session holds a lease under the very same statement: what was verified once need not be again.
    fn has_stated(&self, lease: &Lease) -> bool {
        let known = self.peers.leases_of(lease.sid).next().and_then(|id| self.leases.get(&id));
        known.is_some_and(|known| known.lease.jkt == lease.jkt && known.lease.holder == lease.holder)
    }

    fn check_target(&self, lease: &Lease) -> Result<(), LeaseError> {
        let (reach, rule, target) = (&self.config.reach, &lease.rule, &lease.target);
        let (is_in_reach, is_forbidden) = match (&rule.covers, &target.host) {
            (Match::Prefix(prefix), _) => {
                (reach.may_hold_prefix(prefix, &rule.ports), has_forbidden_target(prefix))
            }
            (Match::Name { .. }, host) => {
                let ports = target.port.map_or_else(|| rule.ports.clone(), Ports::one);
                (reach.may_hold(host, &ports), is_forbidden(host))
            }
        };
        match (is_in_reach, is_forbidden) {
            (true, _) => Ok(()),
            (false, true) => Err(LeaseError::ForbiddenTarget),
            (false, false) => Err(LeaseError::OutOfReach),
        }
    }

    /// Stand-ins lie in their range, and mean one name in a session.
    fn check_synthetic(&self, lease: &Lease) -> Result<(), LeaseError> {
        let Match::Name { synthetic, .. } = &lease.rule.covers else { return Ok(()) };
        let user = self.peers.user_of(lease.sid, synthetic).and_then(|id| self.leases.get(&id));
        let is_free = user.is_none_or(|user| user.lease.rule.covers == lease.rule.covers);
        if Synthetic::is_sound(synthetic) && is_free { Ok(()) } else { Err(LeaseError::BadSynthetic) }
    }

    /// Lets a lease govern that has been checked.
    fn hold(&mut self, lease: Lease) -> Result<(), LeaseError> {
        self.hasten_beat(lease.ttl);
        if self.leases.contains_key(&lease.id) {
            self.replace(lease);
            return Ok(());
        }
        self.enter(lease)
    }

    fn enter(&mut self, lease: Lease) -> Result<(), LeaseError> {
        let peer = self.seat(&lease)?;
        let rule = Rule {
            lease: lease.id,
            scope: Scope(peer.number()),
            via: Via::SITE,
            terms: lease.rule.clone(),
            deadline: lease.deadline(),
            flows: lease.limits.flows,
            effect: Effect::Allow,
        };
        self.datapath.table.insert(rule).map_err(|_| LeaseError::TooMany)?;
        self.peers.add(peer, &lease);
        self.schedule.add_life(lease.ttl);
        let (id, look_at) = (lease.id, first_look(&lease, self.now));
        self.leases.insert(id, Held { lease, peer, look_at: None, is_asked_for: false });
        self.look(id, Some(look_at));
        Ok(())
    }

    /// Flows and usage stay as they are. What only bears a higher epoch still waits for what was asked for it.
    fn replace(&mut self, lease: Lease) {
        let (id, deadline, look_at) = (lease.id, lease.deadline(), first_look(&lease, self.now));
        let Some(held) = self.leases.get_mut(&id) else { return };
        let has_same_times = (held.lease.at, held.lease.ttl) == (lease.at, lease.ttl);
        self.schedule.add_life(lease.ttl);
        self.schedule.remove_life(held.lease.ttl);
        held.lease = lease;
        if !has_same_times {
            held.is_asked_for = false;
            self.look(id, Some(look_at));
            self.datapath.table.extend(id, deadline);
        }
    }

    /// The session's peer; its first lease makes one.
    fn seat(&mut self, lease: &Lease) -> Result<PeerId, LeaseError> {
        let Holder::Tunnel { wg_pub, .. } = &lease.holder;
        let peer = match self.datapath.tunnel.peer_with(wg_pub) {
            Some(peer) => peer,
            None => self.add_peer(wg_pub)?,
        };
        self.peers.seat(lease.sid, peer);
        Ok(peer)
    }

    fn add_peer(&mut self, key: &WgPublic) -> Result<PeerId, LeaseError> {
        let added = self.datapath.tunnel.add_peer(*key, None, Role::Responder, &mut self.random, self.now);
        added.map_err(|error| match error {
            AddPeerError::KeyTaken => LeaseError::KeyTaken,
            AddPeerError::UnusableKey => LeaseError::BadStatement,
            AddPeerError::Full => LeaseError::TooMany,
        })
    }

    /// Lets datagrams of the lease's device through the networks on this side. Whoever names the addresses must not be
    /// able to make this gateway speak to whatever stands near it.
    fn open_paths(&mut self, lease: LeaseId, carriers: &[Carrier]) {
        let Some(Held { peer, .. }) = self.leases.get(&lease) else { return };
        let Config { reach, serves_own_machine, .. } = &self.config;
        let may_open = |carrier: &&Carrier| reach.may_open_path(**carrier, *serves_own_machine);
        for carrier in carriers.iter().filter(may_open).take(MOST_PATHS) {
            self.datapath.tunnel.open_path(*peer, *carrier);
        }
    }

    fn count(&mut self, code: LeaseError) {
        *self.declined.entry(code).or_default() += 1;
    }
}

/// The same id again may come with another time, decision and a higher epoch, and with nothing else changed.
fn check_repetition(held: &Lease, lease: &Lease) -> Result<(), LeaseError> {
    let Lease { at, ttl, decision, epoch, .. } = *lease;
    let expected = Lease { at, ttl, decision, epoch, ..held.clone() };
    if expected == *lease && epoch >= held.epoch { Ok(()) } else { Err(LeaseError::NotTheSame) }
}

fn is_forbidden(host: &Host) -> bool {
    match host {
        Host::Address(address) => is_forbidden_target(*address),
        Host::Name(_) => false,
    }
}

/// How many addresses of a device a gateway sends its one empty datagram to.
const MOST_PATHS: usize = 5;

/// How many leases a session may have: no device crowds out the others.
const MOST_OF_ONE: usize = 1_024;
