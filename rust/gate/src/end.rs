use std::collections::BTreeSet;

use ztna_api::gateway::Ended as EndedFrame;
use ztna_api::wire;
use ztna_datapath::Datagrams;
use ztna_model::{DenyReason, LeaseId, millis};
use ztna_policy::Ended;

use crate::gate::Gate;
use crate::held::Held;
use crate::output::Output;

impl Gate {
    /// Ends a lease before its time: no packet passes under it from here on.
    pub(crate) fn end(&mut self, lease: LeaseId, reason: DenyReason, sink: &mut impl Datagrams) {
        if let Some(ended) = self.datapath.table.end(lease, reason) {
            self.ended(ended, reason, sink);
        }
    }

    pub(crate) fn end_all_but(&mut self, live: &[LeaseId], reason: DenyReason, sink: &mut impl Datagrams) {
        let live: BTreeSet<&LeaseId> = live.iter().collect();
        let gone: Vec<LeaseId> = self.leases.keys().filter(|lease| !live.contains(lease)).copied().collect();
        for lease in gone {
            self.end(lease, reason, sink);
        }
    }

    /// A rule is gone from the table: its flows are cut, the device is told, and the broker.
    pub(crate) fn ended(&mut self, ended: Ended, reason: DenyReason, sink: &mut impl Datagrams) {
        let Ended { rule, flows, .. } = ended;
        self.look(rule.lease, None);
        let Some(Held { lease, peer, .. }) = self.leases.remove(&rule.lease) else { return };
        self.peers.remove(peer, &lease);
        self.schedule.remove_life(lease.ttl);
        let ended = EndedFrame { lease: lease.id, reason };
        self.outbox.push_back(Output::Cut { peer, lease: lease.id, flows, reason });
        // What the device is told inside the tunnel reads like what the broker is told.
        self.datapath.notify(peer, wire::write(&ended).as_bytes(), sink);
        self.tell(ended);
    }

    /// A lease that ran out was either not asked for again, since the device fell silent, or not renewed.
    pub(crate) fn why_over(&self, ended: &Ended) -> DenyReason {
        let Some(held) = self.leases.get(&ended.rule.lease) else { return DenyReason::LeaseExpired };
        let silence = self.now.since(ended.usage.last_from_device);
        let fell_silent = !held.is_asked_for && silence >= millis(held.lease.limits.silence);
        if fell_silent { DenyReason::Silent } else { DenyReason::LeaseExpired }
    }
}
