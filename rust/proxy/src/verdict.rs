use ztna_model::{Decision, DenyReason, Fix};

/// The answer to [`Output::Ask`](crate::Output::Ask).
///
/// | verdict | HTTP | SOCKS |
/// |---|---|---|
/// | connected | 200, or the application's own answer | 0 |
/// | denied by policy, posture, sign-in or a hold; step-up; pending | 403 | 2 not allowed |
/// | not found, and whatever must look like it | 502 | 4 host unreachable |
/// | gateway or broker away, gateway restarted | 503 | 3 network unreachable |
/// | too many connections, a limit, a fault of ours | 503 | 1 general failure |
/// | refused by the application | 502 | 5 connection refused |
/// | the application does not answer | 504 | 6 TTL expired |
///
/// What is hidden and what does not exist get the same bytes. The two other answers that say 502 or *unreachable*
/// are given only for what the person may know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A stream to the application is open.
    Connected,
    /// Refused. Fixes are not told where the reason must look like absence.
    Denied {
        /// Why.
        reason: DenyReason,
        /// What would help, most useful first.
        fixes: Vec<Fix>,
    },
    /// Allowed after a stronger or fresher sign-in.
    StepUp,
    /// Allowed once somebody has approved.
    Pending,
    /// Allowed, but the application refused the connection.
    Refused,
}

impl Verdict {
    /// There is no such application, or none that may be known of.
    pub const NOT_FOUND: Self = Self::denied(DenyReason::NotFound);

    /// A refusal with nothing to suggest.
    pub const fn denied(reason: DenyReason) -> Self {
        Self::Denied { reason, fixes: Vec::new() }
    }

    /// What a decision says at once: a refusal, or nothing while a granted stream is still to be opened.
    pub fn refusal(decision: Decision) -> Option<Self> {
        match decision {
            Decision::Granted => None,
            Decision::Denied { reason, fixes } => Some(Self::Denied { reason, fixes }),
            Decision::StepUp { .. } => Some(Self::StepUp),
            Decision::Pending { .. } => Some(Self::Pending),
        }
    }
}
