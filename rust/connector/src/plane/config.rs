use std::time::Duration;

use ztna_datapath::policy;
use ztna_model::secs;
use ztna_net::udp::Bind;
use ztna_netstack as netstack;

/// What the data thread is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaneConfig {
    /// What its UDP port is open to.
    pub bind: Bind,
    /// What its datagrams are marked with, where rules keep them out of the tunnel by that.
    pub mark: Option<u32>,
    /// How many streams there may be, and how much they may buffer.
    pub streams: netstack::Limits,
    /// How many flows and rules there may be.
    pub table: policy::Limits,
    /// When a gateway counts as silent.
    pub patience: Patience,
}

/// How long a gateway may stay silent while flows need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// With packets that wait for a first answer: long enough for a second attempt, since one datagram may be lost.
    pub handshake: Duration,
    /// With packets that were sent: a gateway that is there answers each within 10 s, if only by a keepalive.
    pub answer: Duration,
}

impl Default for PlaneConfig {
    /// Both address families, and the limits of a computer.
    fn default() -> Self {
        Self {
            bind: Bind::Dual,
            mark: None,
            streams: netstack::Limits::DESKTOP,
            table: policy::Limits::DEVICE,
            patience: Patience::default(),
        }
    }
}

impl Default for Patience {
    /// Both within the 20 s in which a gateway that was cut off is replaced.
    fn default() -> Self {
        Self { handshake: secs(7), answer: secs(12) }
    }
}
