use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_api::discovery::Discovery;
use ztna_api::keyset::KeySet;
use ztna_api::token::Admission;
use ztna_auth::{Possession, Tokens};
use ztna_model::{DeviceId, DomainName, LinkId, RootHash, Secret, SessionId, Signer, Time};

use crate::account::{Account, Links};

/// What survives a restart: the session's secrets, to be kept where only this user can read them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    refresh: Secret<String>,
    provider_refresh: Option<Secret<String>>,
    open: Public,
}

/// What is kept and need not be hidden.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Public {
    sid: SessionId,
    device: DeviceId,
    admission: Admission,
    discovery: Discovery,
    keys: KeySet,
    root: RootHash,
    prev: Option<LinkId>,
    next: Option<LinkId>,
    person: Option<String>,
    /// So that none of these names is asked of a stranger before the broker has been heard again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    suffixes: Vec<DomainName>,
}

/// Why what was kept cannot be read.
#[derive(Debug, Error)]
pub enum SavedError {
    /// It is not what this program writes.
    #[error("the saved session is not understood: {0}")]
    NotUnderstood(String),
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
struct OnDisk<T> {
    version: u16,
    refresh: T,
    provider_refresh: Option<T>,
    #[serde(flatten)]
    open: Public,
}

impl Saved {
    pub(crate) fn of(account: &Account) -> Self {
        let Account { tokens, discovery, keys, root, provider_refresh, links, person, suffixes, .. } =
            account;
        let open = Public {
            sid: tokens.sid,
            device: tokens.device,
            admission: tokens.admission,
            discovery: discovery.clone(),
            keys: keys.clone(),
            root: *root,
            prev: links.prev,
            next: links.next,
            person: person.clone(),
            suffixes: suffixes.clone(),
        };
        Self { refresh: tokens.refresh.clone(), provider_refresh: provider_refresh.clone(), open }
    }

    pub(crate) fn into_account(self, signer: Arc<dyn Signer>) -> Account {
        let Self { refresh, provider_refresh, open } = self;
        let tokens = Tokens {
            access: Secret::new(String::new()),
            access_until: Time::ZERO, // the first use renews it
            refresh,
            sid: open.sid,
            device: open.device,
            admission: open.admission,
        };
        Account {
            tokens,
            possession: Possession::new(open.discovery.org.clone(), signer),
            discovery: open.discovery,
            keys: open.keys,
            root: open.root,
            provider_refresh,
            links: Links { prev: open.prev, next: open.next },
            person: open.person,
            suffixes: open.suffixes,
        }
    }

    /// The root to pin, before anything is read from the network.
    pub const fn root(&self) -> &RootHash {
        &self.open.root
    }

    /// The organisation.
    pub const fn org(&self) -> &ztna_model::OrgId {
        &self.open.discovery.org
    }

    /// Writes everything, secrets too.
    pub fn write(&self) -> Secret<String> {
        let on_disk = OnDisk {
            version: VERSION,
            refresh: self.refresh.expose(),
            provider_refresh: self.provider_refresh.as_ref().map(Secret::expose),
            open: self.open.clone(),
        };
        // Maps with text keys always have a JSON form.
        Secret::new(serde_json::to_string_pretty(&on_disk).unwrap_or_default())
    }

    /// Reads what [`Saved::write`] wrote.
    pub fn read(text: &Secret<String>) -> Result<Self, SavedError> {
        let on_disk: OnDisk<String> = serde_json::from_str(text.expose())
            .map_err(|error| SavedError::NotUnderstood(error.to_string()))?;
        if on_disk.version != VERSION {
            return Err(SavedError::NotUnderstood(format!("version {}", on_disk.version)));
        }
        let provider_refresh = on_disk.provider_refresh.map(Secret::new);
        Ok(Self { refresh: Secret::new(on_disk.refresh), provider_refresh, open: on_disk.open })
    }
}

const VERSION: u16 = 1;
