//! What is measured, from the inside of the data path to the whole of it, then the decisions.

use crate::measure::Outcome;
use crate::report::Report;

mod aead; // the cipher alone: what all ratios of the data path stand on
mod tunnel; // WireGuard: packets, handshakes
mod memory; // what a peer takes
mod packet; // reading, summing, rewriting, cutting and joining
mod policy; // the flow table
mod datapath; // a packet from one end to the other
mod burst; // a long packet from one end to the other
mod netstack; // streams out of packets
mod path; // a local proxy's bytes, through everything
mod gate; // leases at the gateway
mod api; // signatures

/// One group of rows.
pub(crate) struct Group {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Measures it.
    pub(crate) run: fn(&mut Report) -> Outcome,
}

/// Every group. Memory comes first: what other groups gave back would hide what a peer takes.
pub(crate) const ALL: &[Group] = &[
    Group { name: "memory", run: memory::run },
    Group { name: "aead", run: aead::run },
    Group { name: "tunnel", run: tunnel::run },
    Group { name: "packet", run: packet::run },
    Group { name: "policy", run: policy::run },
    Group { name: "datapath", run: datapath::run },
    Group { name: "burst", run: burst::run },
    Group { name: "netstack", run: netstack::run },
    Group { name: "path", run: path::run },
    Group { name: "gate", run: gate::run },
    Group { name: "api", run: api::run },
];
