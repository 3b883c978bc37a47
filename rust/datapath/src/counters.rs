use ztna_model::DenyReason;

/// How many packets were dropped, and why.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    denied: Vec<(DenyReason, u64)>,
    /// Packets that the tunnel could not take: no session, no address, or too long for it.
    pub unsealed: u64,
}

impl Counters {
    /// How many packets were denied for `reason`.
    pub fn denied(&self, reason: DenyReason) -> u64 {
        self.denied.iter().find(|(counted, _)| *counted == reason).map_or(0, |(_, number)| *number)
    }

    /// How many packets were denied, for each reason for which any were.
    pub fn all_denied(&self) -> &[(DenyReason, u64)] {
        &self.denied
    }

    pub(crate) fn count(&mut self, reason: DenyReason) {
        match self.denied.iter_mut().find(|(counted, _)| *counted == reason) {
            Some((_, number)) => *number += 1,
            None => self.denied.push((reason, 1)),
        }
    }
}
