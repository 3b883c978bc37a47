//! Accounts and sign-ins of the broker's own identity provider, sealed in the store.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{OrgId, Secret, WallTime};
use ztna_net::random::SystemRandom;
use ztna_pdp::audit::{By, Commitment, Event, Personal, Record};

use crate::openid;
use crate::openid::{Account, Grant, Kept, NotChanged, SignInId, StoreError, Subject, UserName};
use crate::store::{Change, Claim, Down, Edit, Expected, Line, Place, Refusal, Store, StoreKey};

/// Who may sign in at the broker's own provider, and what sign-ins gave.
#[derive(Clone)]
pub struct AccountBook {
    store: Arc<dyn Store>,
    key: StoreKey,
}

/// Why an account was not changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AccountError {
    /// There is none of that name.
    #[error("there is no account `{0}`")]
    Unknown(UserName),
    /// Somebody has the name.
    #[error("there is an account `{0}` already")]
    Exists(UserName),
    /// Somebody else changed it at the same time.
    #[error("something else happened at the same time; look again, and try again")]
    Overtaken,
    /// The store does not take it.
    #[error(transparent)]
    Down(#[from] Down),
    /// What the store holds does not open, or makes no sense.
    #[error("{0}")]
    Unreadable(String),
}

/// An account, and the version of its document.
struct Found {
    account: Account,
    version: u64,
}

impl AccountBook {
    /// The accounts in `store`, sealed by `key`.
    pub const fn new(store: Arc<dyn Store>, key: StoreKey) -> Self {
        Self { store, key }
    }

    /// Everybody who has an account.
    pub async fn list(&self, org: &OrgId) -> Result<Vec<Account>, AccountError> {
        let documents = self.store.documents(org, &[ACCOUNTS]).await?;
        let open =
            |document: &crate::store::Document| self.open(org, ACCOUNTS, &document.key, &document.text);
        documents.iter().map(open).collect()
    }

    /// Adds an account; `by` goes into the audit log.
    pub async fn add(
        &self,
        org: &OrgId,
        account: &Account,
        by: By,
        now: WallTime,
    ) -> Result<(), AccountError> {
        let name = account.name.as_str();
        let expects = |table, key: &str| Expected { table, key: key.into(), version: None };
        let subject = account.subject.as_str();
        let change = Change {
            claims: vec![],
            expects: vec![expects(NAMES, name), expects(ACCOUNTS, subject)],
            edits: vec![
                self.put(org, NAMES, name, &account.subject)?,
                self.put(org, ACCOUNTS, subject, account)?,
            ],
            audit: vec![administered("account-add", subject, by, now)],
        };
        let outcome = self.store.write_one(org, change).await?;
        outcome.map_err(|_| AccountError::Exists(account.name.clone()))
    }

    /// Changes the account called `name`.
    pub async fn change(
        &self,
        org: &OrgId,
        name: &UserName,
        op: &str,
        by: By,
        now: WallTime,
        change: impl FnOnce(&mut Account),
    ) -> Result<Account, AccountError> {
        let Found { mut account, version } = self.find_account(org, name).await?;
        change(&mut account);
        let subject = account.subject.as_str();
        let expected = Expected { table: ACCOUNTS, key: subject.into(), version: Some(version) };
        let change = Change {
            expects: vec![expected],
            edits: vec![self.put(org, ACCOUNTS, subject, &account)?],
            audit: vec![administered(op, subject, by, now)],
            ..Change::default()
        };
        self.store.write_one(org, change).await?.map_err(|_| AccountError::Overtaken)?;
        Ok(account)
    }

    /// Removes the account called `name`, and returns it as it was.
    pub async fn remove(
        &self,
        org: &OrgId,
        name: &UserName,
        by: By,
        now: WallTime,
    ) -> Result<Account, AccountError> {
        let Found { account, version } = self.find_account(org, name).await?;
        let subject = account.subject.as_str();
        let delete = |table, key: &str| Edit::Delete { table, key: key.into() };
        let change = Change {
            claims: vec![],
            expects: vec![Expected { table: ACCOUNTS, key: subject.into(), version: Some(version) }],
            edits: vec![delete(NAMES, name.as_str()), delete(ACCOUNTS, subject)],
            audit: vec![administered("account-remove", subject, by, now)],
        };
        self.store.write_one(org, change).await?.map_err(|_| AccountError::Overtaken)?;
        Ok(account)
    }

    async fn find_account(&self, org: &OrgId, name: &UserName) -> Result<Found, AccountError> {
        let found = match self.subject(org, name).await? {
            Some(subject) => self.account(org, &subject).await?,
            None => None,
        };
        found.filter(|found| found.account.name == *name).ok_or_else(|| AccountError::Unknown(name.clone()))
    }

    async fn subject(&self, org: &OrgId, name: &UserName) -> Result<Option<Subject>, AccountError> {
        let document = self.store.find(org, NAMES, name.as_str()).await?;
        document.map(|document| self.open(org, NAMES, name.as_str(), &document.text)).transpose()
    }

    async fn account(&self, org: &OrgId, subject: &Subject) -> Result<Option<Found>, AccountError> {
        let Some(document) = self.store.find(org, ACCOUNTS, subject.as_str()).await? else { return Ok(None) };
        let account = self.open(org, ACCOUNTS, subject.as_str(), &document.text)?;
        Ok(Some(Found { account, version: document.version }))
    }

    fn put(
        &self,
        org: &OrgId,
        table: &'static str,
        key: &str,
        value: &impl Serialize,
    ) -> Result<Edit, AccountError> {
        self.put_until(org, table, key, value, None)
    }

    fn put_until(
        &self,
        org: &OrgId,
        table: &'static str,
        key: &str,
        value: &impl Serialize,
        until: Option<WallTime>,
    ) -> Result<Edit, AccountError> {
        let plain = serde_json::to_string(value).map(Secret::new);
        let plain = plain.map_err(|error| AccountError::Unreadable(error.to_string()))?;
        let sealed = self.key.seal(Place { org, table, key }, plain.expose(), &mut SystemRandom::new());
        let text = sealed.ok_or_else(|| AccountError::Unreadable("the store key does not seal".into()))?;
        Ok(Edit::Put { table, key: key.into(), text, until })
    }

    fn open<T: DeserializeOwned>(
        &self,
        org: &OrgId,
        table: &str,
        key: &str,
        text: &str,
    ) -> Result<T, AccountError> {
        let unreadable = |why: &str| AccountError::Unreadable(format!("a document of `{table}` {why}"));
        let opened = self.key.open(Place { org, table, key }, text);
        let opened = opened.ok_or_else(|| unreadable("was not sealed here, or by another key"))?;
        serde_json::from_str(opened.expose()).map_err(|_| unreadable("makes no sense"))
    }
}

impl openid::Accounts for AccountBook {
    async fn named(&self, org: &OrgId, name: &UserName) -> Result<Option<Account>, StoreError> {
        match self.find_account(org, name).await {
            Ok(found) => Ok(Some(found.account)),
            Err(AccountError::Unknown(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn of(&self, org: &OrgId, subject: &Subject) -> Result<Option<Account>, StoreError> {
        Ok(self.account(org, subject).await?.map(|found| found.account))
    }
}

impl openid::Grants for AccountBook {
    async fn find(&self, org: &OrgId, id: SignInId) -> Result<Option<Kept>, StoreError> {
        let key = id.to_string();
        let document = self.store.find(org, SIGN_INS, &key).await.map_err(AccountError::from)?;
        let Some(document) = document else { return Ok(None) };
        let grant: Grant = self.open(org, SIGN_INS, &key, &document.text)?;
        Ok(Some(Kept { grant, version: document.version }))
    }

    async fn change(
        &self,
        org: &OrgId,
        change: openid::Change,
    ) -> Result<Result<(), NotChanged>, StoreError> {
        let key = change.grant.id.to_string();
        let claim = |until| Claim { kind: CODE, id: key.clone(), until };
        let change = Change {
            claims: change.claims_code.map(claim).into_iter().collect(),
            expects: vec![Expected { table: SIGN_INS, key: key.clone(), version: change.over }],
            edits: vec![self.put_until(org, SIGN_INS, &key, &change.grant, Some(change.grant.until()))?],
            audit: change.event.map(|event| happened(&event, change.now)).into_iter().collect(),
        };
        let outcome = self.store.write_one(org, change).await.map_err(AccountError::from)?;
        Ok(outcome.map_err(|refusal| match refusal {
            Refusal::Claimed(_) => NotChanged::Claimed,
            Refusal::Overtaken => NotChanged::Overtaken,
        }))
    }

    async fn note(&self, org: &OrgId, event: openid::Event, now: WallTime) -> Result<(), StoreError> {
        let change = Change { audit: vec![happened(&event, now)], ..Change::default() };
        let written = self.store.write_one(org, change).await.map_err(AccountError::from)?;
        written.map_err(|refusal| StoreError(refusal.to_string()))
    }
}

impl From<AccountError> for StoreError {
    fn from(error: AccountError) -> Self {
        Self(error.to_string())
    }
}

/// What happened at the provider, as the audit log has it: beside [`Event`], which is pdp's, and of the same form.
#[derive(Serialize, Deserialize)]
struct AtProvider {
    at: WallTime,
    by: By,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Commitment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SignInId>,
}

fn happened(event: &openid::Event, now: WallTime) -> Line {
    let (name, subject, sid) = match event {
        openid::Event::SignedIn { subject, sid } => ("provider-signed-in", Some(subject), Some(*sid)),
        openid::Event::Refused { subject } => ("provider-refused", subject.as_ref(), None),
        openid::Event::Reused { subject, sid } => ("provider-reused", Some(subject), Some(*sid)),
        openid::Event::Revoked { subject, sid } => ("provider-revoked", Some(subject), Some(*sid)),
    };
    let personal: Vec<_> = subject
        .map(|subject| Personal::new(subject.as_str(), &mut SystemRandom::new()))
        .into_iter()
        .collect();
    let subject = personal.first().map(Personal::commitment);
    let record = AtProvider { at: now, by: By::Unknown, event: name.into(), subject, sid };
    // Our own types are maps with text keys: they always have a JSON form.
    Line { record: serde_json::to_string(&record).unwrap_or_default(), personal }
}

/// An account's subject is random and names nobody.
fn administered(op: &str, subject: &str, by: By, now: WallTime) -> Line {
    let event = Event::Administered { op: op.into(), about: Some(subject.into()) };
    Line { record: Record { at: now, by, event }.document(), personal: vec![] }
}

const ACCOUNTS: &str = "accounts";
const NAMES: &str = "account-names";
const SIGN_INS: &str = "sign-ins";
const CODE: &str = "code";
