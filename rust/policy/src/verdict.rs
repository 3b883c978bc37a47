use ztna_model::{DenyReason, Flow, Time};

use crate::rule::{Rule, Via};

/// The table's answer to one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// It may pass, under this rule.
    Allow(Slot),
    /// It may pass once this rule's resource has been asked for and granted.
    Ask(Slot),
    /// It may not pass, and why.
    Deny(DenyReason),
}

/// Where a rule lies in its table, for as long as it is there; afterwards it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) via: Via,
}

impl Slot {
    /// A small number, below the table's limit of rules. A later rule gets it again, with a different `Slot`.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// Through whom the rule's packets go: known without looking at the rule.
    pub const fn via(self) -> Via {
        self.via
    }
}

/// A rule that is over, and what was cut with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The rule.
    pub rule: Rule,
    /// Where it was.
    pub slot: Slot,
    /// Why it ended.
    pub reason: DenyReason,
    /// The flows that lived under it, as the device's packets show them: reset them both ways.
    pub flows: Vec<Flow>,
    /// What passed under it.
    pub usage: Usage,
}

/// What passed under a rule since it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// From the device.
    pub from_device: Traffic,
    /// To the device.
    pub to_device: Traffic,
    /// When the device last sent something: the time of that batch. The rule's own coming counts as well.
    pub last_from_device: Time,
    /// How many flows live under it.
    pub flows: u32,
}

/// An amount of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Packets; one that the kernel had merged counts once.
    pub packets: u64,
    /// Bytes, as the caller measures them.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) const fn count(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}
