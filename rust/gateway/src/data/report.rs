use crate::status::Plane;

use super::thread::DataThread;

impl DataThread {
    /// How the data plane stands.
    pub(super) fn report(&self) -> Plane {
        let datapath = &self.gate.datapath;
        let through_kernel = self.kernel.as_ref().map_or(0, |kernel| kernel.translations.by_kernel());
        let forwarding = self
            .kernel
            .as_ref()
            .map_or_else(|| "userspace".to_owned(), |kernel| format!("kernel, {}", kernel.tun().path()));
        let refused = datapath.tunnel.refusals().iter().filter(|(_, count)| *count > 0);
        Plane {
            leases: self.gate.leases().count(),
            sessions: self.gate.sessions(),
            flows: self.flows.len() + self.echoes.len() + through_kernel,
            forwarding,
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
