use std::fmt;

use serde::{Deserialize, Serialize};
use ztna_api::admin::Settings;
use ztna_model::Incarnation;

/// What the organisation has decided for itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Organisation {
    /// The life of the store: a restore gives it another one, which ends every session.
    pub incarnation: Incarnation,
    /// Its settings.
    pub settings: Settings,
}

/// The key of a table with a single row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct One;

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-")
    }
}
