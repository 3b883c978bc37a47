use serde::{Deserialize, Serialize};
use ztna_api::admin::HoldTarget;
use ztna_model::{HoldId, Lease, WallTime};

/// A live lease: written before it is first signed, gone when it ends. Renewals don't write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseRow {
    /// The lease. Epoch, decision, `at` and `ttl` are stamped anew whenever it is signed; here they are those of
    /// the decision that made it, and zero.
    pub lease: Lease,
    /// Since when.
    pub since: WallTime,
}

/// A standing denial.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// What it denies.
    pub target: HoldTarget,
    /// Why.
    pub reason: String,
    /// Since when.
    pub placed: WallTime,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<WallTime>,
}
