use serde::{Deserialize, Serialize};
use ztna_api::device::Notice;
use ztna_model::{DeviceId, Fact, Grant, OrgId, SessionId, Visible, WallTime};

use crate::network::Network;
use crate::session::Session;
use crate::state::State;

/// All that can be shown, at one moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where the client is in its life.
    #[serde(flatten)]
    pub state: State,
    /// The organisation, if somebody is signed in.
    pub org: Option<OrgId>,
    /// What people call it.
    pub title: Option<String>,
    /// The person.
    pub person: Option<String>,
    /// The session.
    pub sid: Option<SessionId>,
    /// The device.
    pub device: Option<DeviceId>,
    /// When a new sign-in will be needed.
    pub sign_in_by: Option<WallTime>,
    /// What may be known of, with today's answers.
    pub resources: Vec<Visible>,
    /// What is granted right now.
    pub grants: Vec<Grant>,
    /// The device's facts: the broker's grades, or a preview until it has spoken.
    pub facts: Vec<Fact>,
    /// Whether `facts` are only a preview.
    pub facts_are_preview: bool,
    /// What the person was told of, oldest first.
    pub notices: Vec<Notice>,
    /// What the machine's network is to be like: where the tunnel begins.
    #[serde(default)]
    pub network: Network,
}

impl Session {
    /// All that can be shown.
    pub fn snapshot(&self) -> Snapshot {
        let account = self.account.as_ref();
        let facts_are_preview = self.facts.graded.is_empty();
        let facts = if facts_are_preview { &self.facts.preview } else { &self.facts.graded };
        Snapshot {
            state: self.state.clone(),
            org: account.map(|account| account.discovery.org.clone()),
            title: account.map(|account| account.discovery.title.clone()),
            person: account.and_then(|account| account.person.clone()),
            sid: account.map(|account| account.tokens.sid),
            device: account.map(|account| account.tokens.device),
            sign_in_by: self.sign_in_by,
            resources: self.resources.visible.values().cloned().collect(),
            grants: self.resources.grants.values().cloned().collect(),
            facts: facts.clone(),
            facts_are_preview,
            notices: self.notices.clone(),
            network: self.network.clone(),
        }
    }
}
