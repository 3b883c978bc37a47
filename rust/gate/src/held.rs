use ztna_model::{Endpoint, Host, Lease, Match, Port, Time};
use ztna_tunnel::PeerId;

/// A lease that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The lease.
    pub lease: Lease,
    /// The peer that holds it.
    pub peer: PeerId,
    /// When it is next looked at: whether it is to be renewed.
    pub(crate) look_at: Option<Time>,
    /// Whether its renewal was asked for.
    pub(crate) is_asked_for: bool,
}

/// What a flow's first packet is to be connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// A name to resolve, or an address.
    pub host: Host,
    /// The port.
    pub port: Port,
}

impl Held {
    /// Where a flow to `dialled` goes on the site's side.
    pub fn destination(&self, dialled: Endpoint) -> Option<Destination> {
        let port = Port::new(dialled.port)?;
        Some(match &self.lease.rule.covers {
            Match::Name { .. } => {
                let target = &self.lease.target;
                Destination { host: target.host.clone(), port: target.port.unwrap_or(port) }
            }
            // A prefix stands for itself.
            Match::Prefix(_) => Destination { host: Host::Address(dialled.address), port },
        })
    }
}
