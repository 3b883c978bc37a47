use ztna_model::{Carrier, Time};

/// What is known of one peer, from what this tunnel saw pass.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// When the last session began.
    pub last_handshake: Option<Time>,
    /// When the last authentic datagram arrived.
    pub last_received: Option<Time>,
    /// When the last packet arrived: keepalives and handshakes are none.
    pub last_packet_received: Option<Time>,
    /// When the last datagram was sent.
    pub last_sent: Option<Time>,
    /// Bytes of the packets that arrived.
    pub rx_bytes: u64,
    /// Bytes of the packets that were sent.
    pub tx_bytes: u64,
    /// Where the peer was last heard, which is where datagrams go.
    pub path: Option<Carrier>,
    /// Since when packets have gone out and nothing has come back.
    pub unanswered_since: Option<Time>,
    /// Since when a handshake has been tried.
    pub trying_since: Option<Time>,
    /// How many packets wait for a session.
    pub waiting: usize,
    /// How many packets were dropped because no session came.
    pub dropped: u64,
}
