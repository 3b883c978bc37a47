use serde::{Deserialize, Serialize};
use ztna_model::{GatewayId, PublicKey, SiteId, WallTime};

/// A gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Where it stands.
    pub site: SiteId,
    /// The key that its certificate is for, once it has enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// Since when it may not be one any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<WallTime>,
}
