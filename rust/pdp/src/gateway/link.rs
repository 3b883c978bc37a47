use std::time::Duration;

use ztna_api::device::Over;
use ztna_api::discovery::Versions;
use ztna_api::gateway::{BeatPlease, Hello, List, Statement, Welcome};
use ztna_model::{DenyReason, GatewayId, LeaseId, PublicKey, secs};

use super::{Link, Run};
use crate::audit::{By, Event};
use crate::device::some_carriers;
use crate::input::{GatewayOpened, StreamId};
use crate::ledger::Change;
use crate::output::Output;
use crate::pdp::Pdp;
use crate::rows::Key;
use crate::timers::Timer;

impl Pdp {
    /// A gateway's stream takes the place of the one before, if its certificate's key is the one it enrolled with.
    pub(crate) fn gateway_opened(&mut self, opened: GatewayOpened) {
        let GatewayOpened { stream, gateway, key } = opened;
        if !self.is_gateway(&gateway, &key) {
            return self.out.push_back(Output::Close(stream));
        }
        if let Some(before) = self.gateways.links.insert(gateway, Link { stream, run: None }) {
            self.out.push_back(Output::Close(before.stream));
        }
    }

    fn is_gateway(&self, gateway: &GatewayId, key: &PublicKey) -> bool {
        let row = self.rows.gateways.get(gateway);
        row.is_some_and(|row| row.revoked.is_none() && row.key.as_ref() == Some(key))
    }

    pub(super) fn gateway_hello(&mut self, gateway: GatewayId, stream: StreamId, hello: Hello) {
        let version = Versions::OURS.agree(hello.versions);
        let Some(version) = version.filter(|_| self.is_honest(&gateway, &hello)) else {
            return self.drop_gateway(stream);
        };
        let run = Run {
            id: hello.beat.run,
            wg_pub: hello.wg_pub,
            statement: hello.statement,
            carriers: some_carriers(hello.carriers),
            beat_ms: hello.beat.now,
            heard: self.clock.boot(),
        };
        self.note(By::Gateway(gateway.clone()), Event::GatewayUp { gateway: gateway.clone(), run: run.id });
        self.gateways.links.insert(gateway.clone(), Link { stream, run: Some(run) });
        self.timers.set(self.clock.boot() + QUIET, Timer::Pulse(gateway.clone()));
        let (incarnation, keys) = (self.incarnation(), self.keys.keyset.clone());
        self.tell_gateway(stream, Welcome { version, gateway: gateway.clone(), incarnation, keys });
        let lost = self.void_other_runs(&gateway);
        self.send_recent_floors(&gateway, stream);
        let live = |id: &LeaseId| self.grants.is_signed(id) && !lost.contains(id);
        let live = self.index.leases_at(&gateway).into_iter().filter(live).collect();
        self.tell_gateway(stream, List { live });
        self.offer_again(&gateway);
        self.grant_anew(lost, None);
    }

    /// The statement is the gateway's own, about this run and this key.
    fn is_honest(&self, gateway: &GatewayId, hello: &Hello) -> bool {
        let key = self.rows.gateways.get(gateway).and_then(|row| row.key);
        let Some(Ok(statement)) = key.map(|key| Statement::verify(&hello.statement, &key)) else {
            return false;
        };
        let expected = Statement {
            org: self.rows.org.clone(),
            gw: gateway.clone(),
            run: hello.beat.run,
            wg_pub: hello.wg_pub,
        };
        statement == expected && hello.org == self.rows.org
    }

    /// A restarted gateway holds nothing of before: its earlier leases are void.
    fn void_other_runs(&mut self, gateway: &GatewayId) -> Vec<LeaseId> {
        let Some(run) = self.gateways.run(gateway).map(|run| run.id) else { return Vec::new() };
        let other = |id: &LeaseId| self.rows.leases.get(id).is_some_and(|row| row.lease.run != run);
        self.index.leases_at(gateway).into_iter().filter(other).collect()
    }

    /// Ends leases that a gateway lost, and asks on behalf of their sessions: through this gateway or another. The
    /// devices learn that they have to shake hands again.
    pub(crate) fn grant_anew(&mut self, lost: Vec<LeaseId>, avoid: Option<&GatewayId>) {
        let mut change = Change::default();
        let mut again = Vec::new();
        let reason = if avoid.is_some() { DenyReason::GatewayAway } else { DenyReason::Restarted };
        for id in lost {
            let Some(row) = self.rows.leases.get(&id).cloned() else { continue };
            let sid = row.lease.sid;
            let waiting = self.grants.end(id, reason);
            change.delete(Key::LeaseRow(id));
            change.audit.push(self.entry(By::Broker, Event::LeaseEnded { lease: id, sid, reason }));
            self.tell_session(&sid, Over { lease: id, reason });
            self.refuse_waiting(waiting);
            again.push(row.lease);
        }
        if change.writes.is_empty() {
            return;
        }
        self.enforce(change, |_, _| ());
        for lease in again {
            self.regrant(&lease, avoid);
        }
    }

    /// A gateway that has said nothing for a while is asked for a beat; one that does not answer is gone, whatever its
    /// connection says.
    pub(crate) fn feel_pulse(&mut self, gateway: &GatewayId) {
        let now = self.clock.boot();
        let Some((stream, heard)) = self.gateways.pulse(gateway) else { return };
        let silent = now.since(heard);
        if silent >= DEAD {
            return self.drop_gateway(stream);
        }
        if silent >= QUIET {
            self.tell_gateway(stream, BeatPlease {});
        }
        let next = if silent >= QUIET { heard + DEAD } else { heard + QUIET };
        self.timers.set(next, Timer::Pulse(gateway.clone()));
    }

    pub(crate) fn gateway_closed(&mut self, stream: StreamId) {
        let Some(gateway) = self.gateways.of_stream(stream) else { return };
        self.gateways.links.remove(&gateway);
        self.timers.set(self.clock.boot() + RETURN, Timer::Away(gateway.clone()));
        self.note(By::Gateway(gateway.clone()), Event::GatewayGone { gateway });
    }

    /// The gateway has not come back: where another one stands at its site, that one takes over. What the silent one
    /// holds ends by itself.
    pub(crate) fn gateway_stays_away(&mut self, gateway: &GatewayId) {
        if self.gateways.links.contains_key(gateway) {
            return;
        }
        let Some(site) = self.rows.gateways.get(gateway).map(|row| row.site.clone()) else { return };
        let other = self
            .rows
            .gateways
            .values()
            .any(|row| row.id != *gateway && row.site == site && self.gateways.stream(&row.id).is_some());
        let connected = |id: &LeaseId| {
            let row = self.rows.leases.get(id);
            row.is_some_and(|row| self.devices.told_stream(&row.lease.sid).is_some())
        };
        if other {
            let leases = self.index.leases_at(gateway).into_iter().filter(connected).collect();
            self.grant_anew(leases, Some(gateway));
        }
    }

    /// Closes a gateway's stream for good.
    pub(crate) fn cut_gateway(&mut self, gateway: &GatewayId) {
        if let Some(link) = self.gateways.links.remove(gateway) {
            self.out.push_back(Output::Close(link.stream));
        }
    }
}

/// How long a gateway may say nothing before it is asked; half of a beat's longest distance.
const QUIET: Duration = secs(10);
/// How long it may say nothing before it is given up.
const DEAD: Duration = secs(15);
/// How long a gateway may be gone before another one takes over.
const RETURN: Duration = secs(1);
