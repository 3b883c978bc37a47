use ztna_model::DenyReason;
use ztna_proxy::Verdict;

use crate::plane::OpenError;

/// What a flow that was not opened means to the application that asked for it.
pub(super) const fn verdict(cause: OpenError) -> Verdict {
    match cause {
        OpenError::Denied(reason) => Verdict::denied(reason),
        OpenError::Refused => Verdict::Refused,
        OpenError::Silent => Verdict::denied(DenyReason::TargetAway),
        OpenError::Ended => Verdict::denied(DenyReason::Fault),
    }
}
