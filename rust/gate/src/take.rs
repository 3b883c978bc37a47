use ztna_api::gateway::{Declined, Held as HeldFrame, LeaseError, Offered};
use ztna_api::jws::JwsError;
use ztna_api::lease;
use ztna_api::statement::{self, Body};
use ztna_model::{Carrier, Holder, Lease, LeaseId, Match, Synthetic, Time, WgPublic};
use ztna_policy::{Effect, Rule, Scope, Via};
use ztna_tunnel::{AddPeerError, PeerId, Role};

use crate::gate::Gate;
use crate::held::Held;

impl Gate {
    /// Takes a new lease, or says why not. Packets under it pass before the broker hears that it is held.
    pub(crate) fn take_offered(&mut self, offered: &Offered) {
        let outcome = self.take(&offered.lease, &offered.carriers);
        self.report(outcome);
    }

    /// Takes renewals. Nobody waits for an answer to one that is well.
    pub(crate) fn take_renewed(&mut self, leases: &[String]) {
        for text in leases {
            if let Err(refused) = self.take(text, &[]) {
                self.report(Err(refused));
            }
        }
    }

    /// Checks a lease and lets it govern.
    pub(crate) fn take(
        &mut self,
        text: &str,
        carriers: &[Carrier],
    ) -> Result<LeaseId, (Option<LeaseId>, LeaseError)> {
        let lease = self.verified(text).map_err(|error| (None, error))?;
        let id = lease.id;
        self.check(&lease).and_then(|()| self.hold(lease, carriers)).map_err(|error| (Some(id), error))
    }

    fn verified(&self, text: &str) -> Result<Lease, LeaseError> {
        let keys = self.keys.as_ref().ok_or(LeaseError::BadSignature)?;
        lease::verify(text, keys).map_err(|error| match error {
            JwsError::UnknownCritical => LeaseError::UnknownCritical,
            JwsError::TooLong(_)
            | JwsError::Malformed
            | JwsError::WrongType
            | JwsError::WrongAlgorithm
            | JwsError::KeyMisplaced
            | JwsError::BadSignature
            | JwsError::BadClaims => LeaseError::BadSignature,
        })
    }

    /// All that must hold, in the order of the protocol.
    pub(crate) fn check(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.check_addressee(lease)?;
        self.check_time(lease)?;
        if lease.epoch < self.floors.of(lease.sid) {
            return Err(LeaseError::BelowFloor);
        }
        match self.leases.get(&lease.id) {
            // What does not change has been checked when it came first.
            Some(held) => check_repetition(&held.lease, lease),
            None => self.check_new(lease),
        }
    }

    fn check_new(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.check_holder(lease)?;
        self.check_target(lease)?;
        self.check_synthetic(lease)?;
        if self.leases.len() < self.config.most_leases { Ok(()) } else { Err(LeaseError::TooMany) }
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
        if lease.ttl > u64::try_from(Lease::LONGEST.as_millis()).unwrap_or(u64::MAX) {
            return Err(LeaseError::TooLong);
        }
        if lease.begins() > self.now {
            return Err(LeaseError::NotYet);
        }
        if self.now >= lease.deadline() || lease.begins() < self.last_jump {
            return Err(LeaseError::Expired);
        }
        Ok(())
    }

    /// The key is vouched for by the device, and nobody else's; a session has one.
    fn check_holder(&self, lease: &Lease) -> Result<(), LeaseError> {
        let Holder::Tunnel { wg_pub, statement } = &lease.holder;
        let stated = statement::verify(statement, &lease.jkt, &lease.org, lease.sid);
        match stated.map(|statement| statement.body) {
            Ok(Body::TunnelKey { wg_pub: stated }) if stated == *wg_pub => {}
            Ok(Body::TunnelKey { .. } | Body::Facts { .. } | Body::Presence {} | Body::Confirm { .. })
            | Err(_) => return Err(LeaseError::BadStatement),
        }
        let holder = self.datapath.tunnel.peer_with(wg_pub);
        match (self.peers.get(&lease.sid), holder) {
            (None, None) => Ok(()),
            (Some(ours), Some(holder)) if *ours == holder => Ok(()),
            (_, Some(_)) => Err(LeaseError::KeyTaken),
            (Some(_), None) => Err(LeaseError::SecondKey),
        }
    }

    fn check_target(&self, lease: &Lease) -> Result<(), LeaseError> {
        let (reach, target) = (&self.config.reach, &lease.target);
        let in_reach = match &lease.rule.covers {
            Match::Name { .. } => reach.may_hold(&target.host, target.port),
            Match::Prefix(prefix) => reach.may_hold_prefix(prefix),
        };
        if in_reach {
            return Ok(());
        }
        let forbidden = match &target.host {
            ztna_model::Host::Address(address) => ztna_model::is_forbidden_target(*address),
            ztna_model::Host::Name(_) => false,
        };
        Err(if forbidden { LeaseError::ForbiddenTarget } else { LeaseError::OutOfReach })
    }

    /// Stand-ins lie in their range, and mean one name in a session.
    fn check_synthetic(&self, lease: &Lease) -> Result<(), LeaseError> {
        let Match::Name { name, synthetic } = &lease.rule.covers else { return Ok(()) };
        let clashes = |held: &&Held| match &held.lease.rule.covers {
            Match::Name { name: other, synthetic: taken } => {
                taken == synthetic && other != name && held.lease.sid == lease.sid
            }
            Match::Prefix(_) => false,
        };
        let is_free = !self.leases.values().any(|held| clashes(&held));
        if Synthetic::is_sound(synthetic) && is_free { Ok(()) } else { Err(LeaseError::BadSynthetic) }
    }

    fn hold(&mut self, lease: Lease, carriers: &[Carrier]) -> Result<LeaseId, LeaseError> {
        let peer = self.peer_of(&lease)?;
        let rule = Rule {
            lease: lease.id,
            scope: Scope(peer.number()),
            via: Via::SITE,
            terms: lease.rule.clone(),
            deadline: lease.deadline(),
            flows: lease.limits.flows,
            effect: Effect::Allow,
        };
        if self.datapath.table.insert(rule).is_err() {
            self.bereft.insert(lease.sid);
            return Err(LeaseError::TooMany);
        }
        for carrier in carriers.iter().take(MOST_PATHS) {
            self.datapath.tunnel.open_path(peer, *carrier);
        }
        let (id, ttl, renew_at) = (lease.id, lease.ttl, half_life(&lease));
        self.next_renewal = Some(self.next_renewal.map_or(renew_at, |at| at.min(renew_at)));
        self.leases.insert(id, Held { lease, peer, renew_at: Some(renew_at) });
        self.hasten_beat(ttl);
        Ok(id)
    }

    /// The session's peer; its first lease makes one.
    fn peer_of(&mut self, lease: &Lease) -> Result<PeerId, LeaseError> {
        if let Some(peer) = self.peers.get(&lease.sid) {
            return Ok(*peer);
        }
        let Holder::Tunnel { wg_pub, .. } = &lease.holder;
        let peer = self.add_peer(wg_pub)?;
        self.peers.insert(lease.sid, peer);
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

    fn report(&mut self, outcome: Result<LeaseId, (Option<LeaseId>, LeaseError)>) {
        match outcome {
            Ok(lease) => self.tell(HeldFrame { lease }),
            Err((lease, code)) => {
                *self.declined.entry(code).or_default() += 1;
                self.tell(Declined { lease, code });
            }
        }
    }
}

/// The same id again may come with another time, decision and a higher epoch, and with nothing else changed.
fn check_repetition(held: &Lease, lease: &Lease) -> Result<(), LeaseError> {
    let Lease { at, ttl, decision, epoch, .. } = *lease;
    let expected = Lease { at, ttl, decision, epoch, ..held.clone() };
    if expected == *lease && epoch >= held.epoch { Ok(()) } else { Err(LeaseError::NotTheSame) }
}

/// When a lease's renewal is to be asked for.
fn half_life(lease: &Lease) -> Time {
    Time::from_millis(lease.at.saturating_add(lease.ttl / 2))
}

/// How many addresses of a device a gateway sends its one empty datagram to.
const MOST_PATHS: usize = 5;
