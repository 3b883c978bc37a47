/// How much a [`crate::Netstack`] may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest packet that leaves, in bytes; it also sets the segment size that is announced (RFC 9293, 3.7.1).
    pub mtu: u16,
    /// How many flows there may be.
    pub flows: u32,
    /// How many of them one scope may have.
    pub flows_per_scope: u32,
    /// How many incoming flows of one scope may wait for an answer; with 0, none comes in at all.
    pub waiting_per_scope: u32,
    /// The largest buffer of one flow, in bytes, for each direction.
    pub buffer_per_flow: usize,
    /// What the buffers of all flows may come to, in bytes. It is met by giving later flows smaller buffers, and
    /// then by refusing flows. Memory is touched as it is used, so what is taken is what was promised at most; buffers of
    /// flows that are over are used again, and count as well.
    pub buffer_total: usize,
}

impl Limits {
    /// For a client on a phone or tablet.
    pub const PHONE: Self = Self {
        mtu: 1280,
        flows: 256,
        flows_per_scope: 256,
        waiting_per_scope: 0,
        buffer_per_flow: 64 << 10,
        buffer_total: 8 << 20,
    };

    /// For a client on a computer.
    pub const DESKTOP: Self = Self {
        flows: 4096,
        flows_per_scope: 4096,
        buffer_per_flow: 256 << 10,
        buffer_total: 256 << 20,
        ..Self::PHONE
    };

    /// For a gateway.
    pub const GATEWAY: Self = Self {
        mtu: 1280,
        flows: 16_384,
        flows_per_scope: 4096,
        waiting_per_scope: 512,
        buffer_per_flow: 256 << 10,
        buffer_total: 1 << 30,
    };
}
