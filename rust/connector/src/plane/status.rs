use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use ztna_model::{Carrier, DenyReason, GatewayId, WgPublic};

/// All that can be shown of the data thread, at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct PlaneStatus {
    /// Where its UDP port is open.
    pub address: Option<SocketAddr>,
    /// What the kernel does for that port, in words.
    pub offload: String,
    /// The gateways.
    pub peers: Vec<PeerStatus>,
    /// The TUN device, if there is one.
    #[serde(default)]
    pub tun: Option<TunStatus>,
    /// Flows of the local proxy.
    pub streams: u64,
    /// Flows in the table: those of applications, and those that have just ended.
    pub flows: u64,
    /// What the flows' buffers come to, in bytes.
    pub buffered: u64,
    /// Packets that were not let through, by reason.
    pub denied: BTreeMap<DenyReason, u64>,
    /// Packets that the tunnels could not take.
    pub unsealed: u64,
    /// Datagrams that were no gateway's, or came twice.
    pub refused: u64,
    /// Datagrams that never left this machine.
    pub lost: u64,
    /// How often the thread woke.
    pub turns: u64,
}

/// The TUN device that applications' packets come through.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct TunStatus {
    /// Its name, if this process has made it.
    pub name: Option<String>,
    /// How packets go through it, in words.
    pub path: String,
    /// The longest packet, in bytes.
    pub mtu: u16,
    /// Packets that it did not take.
    pub lost: u64,
    /// Packets that it gave, and nobody understands.
    pub unreadable: u64,
    /// What applications want to reach and nobody has decided on yet.
    pub waiting: u64,
}

/// One gateway, as this device knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its id.
    pub gateway: GatewayId,
    /// Its key.
    pub key: WgPublic,
    /// Where it may be found.
    pub carriers: Vec<Carrier>,
    /// Where it was last heard.
    pub path: Option<Carrier>,
    /// How long ago the last handshake was, in milliseconds.
    pub handshake_age: Option<u64>,
    /// How long ago it was last heard, in milliseconds.
    pub heard_age: Option<u64>,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Bytes sent to it.
    pub tx_bytes: u64,
    /// Leases under which it can be used.
    pub leases: u64,
    /// Flows through it.
    pub flows: u64,
    /// Whether it does not answer.
    pub silent: bool,
}
