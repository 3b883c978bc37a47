use std::future::Future;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{OrgId, WallTime};

use super::account::{Account, Subject, UserName};
use super::grant::{Grant, SignInId};

/// The store did not answer, or what it holds makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the store does not answer: {0}")]
pub struct StoreError(pub String);

/// Who may sign in.
pub trait Accounts: Send + Sync + 'static {
    /// The account of whoever types `name`.
    fn named(
        &self,
        org: &OrgId,
        name: &UserName,
    ) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;

    /// The account that tokens call `subject`.
    fn of(
        &self,
        org: &OrgId,
        subject: &Subject,
    ) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;
}

/// What sign-ins gave.
pub trait Grants: Send + Sync + 'static {
    /// The grant of sign-in `id`. One past its [`Grant::until`] may be gone.
    fn find(
        &self,
        org: &OrgId,
        id: SignInId,
    ) -> impl Future<Output = Result<Option<Kept>, StoreError>> + Send;

    /// Makes `change`, wholly or not at all, and answers once it is durable.
    fn change(
        &self,
        org: &OrgId,
        change: Change,
    ) -> impl Future<Output = Result<Result<(), NotChanged>, StoreError>> + Send;

    /// Writes down what happened and changes nothing.
    fn note(
        &self,
        org: &OrgId,
        event: Event,
        now: WallTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A grant as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The grant.
    pub grant: Grant,
    /// Another one after each change.
    pub version: u64,
}

/// What is to change about one sign-in, all of it at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The grant as it shall be; it may be forgotten after its [`Grant::until`].
    pub grant: Grant,
    /// The version that it takes the place of; none if there must be no such grant.
    pub over: Option<u64>,
    /// Claims the grant's code until then: this happens once only, on all brokers alike.
    pub claims_code: Option<WallTime>,
    /// What the audit log is told.
    pub event: Option<Event>,
    /// When.
    pub now: WallTime,
}

/// Why a change was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotChanged {
    /// The code was claimed before.
    Claimed,
    /// The grant is not as it was read.
    Overtaken,
}

/// What happened at the provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody signed in.
    SignedIn {
        /// Who.
        subject: Subject,
        /// The sign-in.
        sid: SignInId,
    },
    /// The name or the password was wrong, or the account may not sign in. Names of nobody stay out of the log: people
    /// type passwords there.
    Refused {
        /// Whose account, if there is one.
        subject: Option<Subject>,
    },
    /// A code or a refresh token was used again: somebody has what is not theirs. Sessions that began with this sign-in
    /// should end.
    Reused {
        /// Whose.
        subject: Subject,
        /// The sign-in.
        sid: SignInId,
    },
    /// The client gave its refresh token back.
    Revoked {
        /// Whose.
        subject: Subject,
        /// The sign-in.
        sid: SignInId,
    },
}
