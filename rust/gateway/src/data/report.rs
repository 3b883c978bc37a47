use crate::status::Plane;

use super::thread::DataThread;

impl DataThread {
    /// How the data plane stands.
    pub(super) fn report(&self) -> Plane {
        let datapath = &self.gate.datapath;
        let refused = datapath.tunnel.refusals().iter().filter(|(_, count)| *count > 0);
        Plane {
            leases: self.gate.leases().count(),
            sessions: self.gate.sessions(),
            flows: self.flows.len(),
            buffered: self.netstack.buffered(),
            denied: datapath.counters().all_denied().iter().copied().collect(),
            declined: self.gate.declined().clone(),
            refused_dials: self.refused_dials.clone(),
            refused_datagrams: refused.map(|(refusal, count)| (refusal.to_string(), count)).collect(),
            unsealed: datapath.counters().unsealed,
            questions: self.questions,
            lost_datagrams: self.outgoing.0.lost(),
            offloads: self.outgoing.0.offloads().to_string(),
        }
    }
}
