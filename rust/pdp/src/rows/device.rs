use serde::{Deserialize, Serialize};
use ztna_api::admin::AdmittedBy;
use ztna_model::{ApprovalId, DeviceId, Jkt, PersonId, Reading, Tier, WallTime};

/// A device: one device key of one person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its key: a lost key means a new device.
    pub jkt: Jkt,
    /// Whose it is.
    pub owner: PersonId,
    /// What people call it.
    pub name: String,
    /// The operating system's family, as it says itself.
    pub platform: String,
    /// Whether it may be used.
    pub state: DeviceState,
    /// When it was last heard of.
    pub seen: WallTime,
    /// What it last read about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
}

impl Device {
    /// Whether it may be used.
    pub const fn is_admitted(&self) -> bool {
        matches!(self.state, DeviceState::Admitted { .. })
    }

    /// Whether it counts among its owner's devices.
    pub const fn is_theirs(&self) -> bool {
        !matches!(self.state, DeviceState::Ended { .. })
    }
}

/// Whether a device may be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It waits to be admitted.
    Waiting {
        /// What waits.
        approval: ApprovalId,
        /// Six characters that its screen shows.
        code: String,
    },
    /// It may be used.
    Admitted {
        /// Since when.
        since: WallTime,
        /// How it came in.
        by: AdmittedBy,
    },
    /// It may not be used again.
    Ended {
        /// Since when.
        since: WallTime,
    },
}

/// Readings as they came in; what they are worth is decided anew whenever it is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Received {
    /// The readings.
    pub readings: Vec<Reading>,
    /// What the app that read them has earned.
    pub tier: Tier,
    /// When they are known to have been true: our receipt, or the statement's nonce, whichever is older.
    pub as_of: WallTime,
}
