use ztna_api::device::Over as OverThere;
use ztna_api::gateway::{Declined, Ended, LeaseError, Over, Renewed};
use ztna_model::{DenyReason, GatewayId, LeaseId};

use crate::audit::{By, Event};
use crate::grant::Signing;
use crate::input::StreamId;
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::Key;

impl Pdp {
    /// The lease, if this run of the gateway holds it.
    fn theirs(&self, gateway: &GatewayId, lease: LeaseId) -> bool {
        let run = self.gateways.run(gateway).map(|run| run.id);
        let row = self.rows.leases.get(&lease);
        row.is_some_and(|row| row.lease.gw == *gateway && Some(row.lease.run) == run)
    }

    pub(super) fn lease_held(&mut self, gateway: &GatewayId, lease: LeaseId) {
        if self.theirs(gateway, lease) {
            self.lease_in_place(lease);
        }
    }

    /// A gateway refuses a lease. That it says so is a fault somewhere, so it is written down.
    pub(super) fn lease_declined(&mut self, gateway: &GatewayId, declined: Declined) {
        let Declined { lease: Some(lease), code } = declined else { return };
        if !self.theirs(gateway, lease) {
            return;
        }
        let reason = match code {
            LeaseError::OutOfReach | LeaseError::ForbiddenTarget => DenyReason::OutOfReach,
            LeaseError::TooMany => DenyReason::LimitReached,
            LeaseError::BadSignature
            | LeaseError::UnknownCritical
            | LeaseError::WrongOrg
            | LeaseError::WrongGateway
            | LeaseError::WrongRun
            | LeaseError::WrongIncarnation
            | LeaseError::NotYet
            | LeaseError::TooLong
            | LeaseError::Expired
            | LeaseError::BelowFloor
            | LeaseError::KeyTaken
            | LeaseError::SecondKey
            | LeaseError::BadStatement
            | LeaseError::BadSynthetic
            | LeaseError::NotTheSame => DenyReason::Fault,
        };
        let event = Event::LeaseDeclined { lease, gateway: gateway.clone(), code };
        self.note(By::Gateway(gateway.clone()), event);
        let behind = code == LeaseError::BelowFloor;
        let sid = self.rows.leases.get(&lease).map(|row| row.lease.sid);
        self.end_lease(lease, reason, By::Gateway(gateway.clone()), false);
        // The gateway remembers a floor that was never written down: the session's epoch has to pass it.
        if let Some(session) = sid.filter(|_| behind).and_then(|sid| self.rows.sessions.get(&sid).cloned()) {
            let mut change = Change::default();
            self.floor(&session, DenyReason::Revoked, &[], &mut change);
            self.enforce(change, |_, _| ());
        }
    }

    /// A lease ended at the gateway.
    pub(super) fn lease_ended_there(&mut self, gateway: &GatewayId, ended: Ended) {
        if self.theirs(gateway, ended.lease) {
            self.end_lease(ended.lease, ended.reason, By::Gateway(gateway.clone()), false);
        }
    }

    /// Renews what is still granted: each by a full decision, none with a write. A gateway asks only for leases on which
    /// the device has sent something, so the session is not idle.
    pub(super) fn renew(&mut self, gateway: &GatewayId, stream: StreamId, leases: Vec<LeaseId>) {
        let mut renewed = Vec::new();
        for lease in leases.into_iter().take(MOST_RENEWALS) {
            if self.grants.is_fresh(&lease, self.clock.boot()) {
                continue; // asked for over and over: the answer is on its way
            }
            if !self.theirs(gateway, lease) {
                self.tell_gateway(stream, Over { lease, reason: DenyReason::Revoked });
                continue;
            }
            match self.sign_for_longer(lease) {
                Signing::Done(text) => {
                    self.renewed_once(lease);
                    renewed.push(text);
                }
                // Its own renewal carries a beat, so this is one that cannot be believed.
                Signing::LacksBeat => {}
                Signing::Refused(reason) => self.end_lease(lease, reason, By::Broker, true),
            }
        }
        if !renewed.is_empty() {
            self.tell_gateway(stream, Renewed { leases: renewed });
        }
    }

    /// Ends one lease. `tell` says whether its gateway has to be told.
    pub(crate) fn end_lease(&mut self, lease: LeaseId, reason: DenyReason, by: By, tell: bool) {
        let Some(row) = self.rows.leases.get(&lease).cloned() else { return };
        let sid = row.lease.sid;
        if let Some(stream) = self.gateways.stream(&row.lease.gw).filter(|_| tell) {
            self.tell_gateway(stream, Over { lease, reason });
        }
        let waiting = self.grants.end(lease, reason);
        let mut change = Change::default();
        change.delete(Key::LeaseRow(lease));
        change.audit.push(self.entry(by, Event::LeaseEnded { lease, sid, reason }));
        self.tell_session(&sid, OverThere { lease, reason });
        self.refuse_waiting(waiting);
        self.enforce(change, |_, _| ());
    }
}

/// More than a gateway can hold for all its sessions at once.
const MOST_RENEWALS: usize = 65_536;
