use crate::destinations::Destinations;
use crate::flows::Flows;
use crate::rules::Rules;

/// How much a table holds at most. Its room is taken once, when it is made: no packet makes it allocate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Flows alive at once.
    pub flows: u32,
    /// Of these, how many one scope may have: no device crowds out another.
    pub flows_per_scope: u32,
    /// Rules.
    pub rules: u32,
}

impl Limits {
    /// A gateway's data thread.
    pub const GATEWAY: Self = Self { flows: 65_536, flows_per_scope: 8_192, rules: 16_384 };
    /// A phone.
    pub const DEVICE: Self = Self { flows: 8_192, flows_per_scope: 8_192, rules: 4_096 };

    /// The room of a table, in bytes. What a rule brings on the heap (its name, its port ranges, its place in ordered
    /// maps) comes on top.
    pub const fn bytes(self) -> usize {
        Flows::bytes(self.flows) + Rules::bytes(self.rules) + Destinations::bytes(self.rules)
    }
}

// A phone's budget, kept by the compiler.
const _: () = assert!(Limits::DEVICE.bytes() <= 3 << 20);
