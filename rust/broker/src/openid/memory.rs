use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ztna_model::{OrgId, WallTime};

use super::account::{Account, Subject, UserName};
use super::grant::SignInId;
use super::store::{Accounts, Change, Event, Grants, Kept, NotChanged, StoreError};

/// A store that forgets everything with the process.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    accounts: BTreeMap<(OrgId, UserName), Account>,
    grants: BTreeMap<(OrgId, SignInId), Kept>,
    claimed: BTreeSet<(OrgId, SignInId)>,
    events: Vec<Event>,
}

impl Memory {
    /// Adds an account, or replaces the one of the same name.
    pub(crate) fn put(&self, org: &OrgId, account: Account) {
        self.rows().accounts.insert((org.clone(), account.name.clone()), account);
    }

    /// What was noted so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.rows().events.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts for Memory {
    async fn named(&self, org: &OrgId, name: &UserName) -> Result<Option<Account>, StoreError> {
        Ok(self.rows().accounts.get(&(org.clone(), name.clone())).cloned())
    }

    async fn of(&self, org: &OrgId, subject: &Subject) -> Result<Option<Account>, StoreError> {
        let rows = self.rows();
        let mut accounts = rows.accounts.iter().filter(|((of, _), _)| of == org).map(|(_, account)| account);
        Ok(accounts.find(|account| account.subject == *subject).cloned())
    }
}

impl Grants for Memory {
    async fn find(&self, org: &OrgId, id: SignInId) -> Result<Option<Kept>, StoreError> {
        Ok(self.rows().grants.get(&(org.clone(), id)).cloned())
    }

    async fn change(&self, org: &OrgId, change: Change) -> Result<Result<(), NotChanged>, StoreError> {
        let mut rows = self.rows();
        let key = (org.clone(), change.grant.id);
        if change.claims_code.is_some() && rows.claimed.contains(&key) {
            return Ok(Err(NotChanged::Claimed));
        }
        match rows.grants.entry(key.clone()) {
            Entry::Vacant(place) if change.over.is_none() => {
                place.insert(Kept { grant: change.grant, version: 1 });
            }
            Entry::Occupied(mut row) if change.over == Some(row.get().version) => {
                let version = row.get().version + 1;
                row.insert(Kept { grant: change.grant, version });
            }
            Entry::Vacant(_) | Entry::Occupied(_) => return Ok(Err(NotChanged::Overtaken)),
        }
        rows.claimed.extend(change.claims_code.map(|_| key));
        rows.events.extend(change.event);
        Ok(Ok(()))
    }

    async fn note(&self, _org: &OrgId, event: Event, _now: WallTime) -> Result<(), StoreError> {
        self.rows().events.push(event);
        Ok(())
    }
}
