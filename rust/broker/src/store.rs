//! What is kept: documents, claims and the audit log, changed together or not at all.
//!
//! ```text
//!   pdp's batches ─┐                                   ┌─ documents   (organisation, table, key) → JSON
//!   accounts       ├─▶ Change ─▶ Store::write ─────────┼─ claims      (organisation, kind, id), once
//!   sign-ins       ┘   all of it or nothing            └─ audit       a hash chain for each writer
//! ```
//!
//! A [`Store`] knows nothing of what it keeps: an implementation for another database is one file, and is done when
//! it passes the suite in `tests/store`.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use thiserror::Error;
use ztna_model::OrgId;
use ztna_pdp::audit::{Head, Personal, Sealed};

mod change; // what is to change, all of it or nothing
pub use change::{Change, Claim, Document, Edit, Expected, Line, Refusal};

mod rows; // pdp's rows, batches and claims in it
pub use rows::LoadError;

mod seal; // what only the broker may read
pub use seal::{Place, StoreKey};

pub mod sqlite; // in one file on this machine

/// Where everything is kept. Each call names the organisation first: nothing is reachable without it.
pub trait Store: Send + Sync + 'static {
    /// All documents of `tables`, as they are at one moment.
    fn documents<'a>(&'a self, org: &'a OrgId, tables: &'a [&'a str]) -> Reply<'a, Vec<Document>>;

    /// The document under `key` of `table`.
    fn find<'a>(&'a self, org: &'a OrgId, table: &'a str, key: &'a str) -> Reply<'a, Option<Document>>;

    /// Makes changes in their order, each wholly or not at all, and returns once they are durable. They may share a
    /// transaction with others; one that is refused takes no other with it.
    fn write<'a>(&'a self, org: &'a OrgId, changes: Vec<Change>) -> Reply<'a, Vec<Result<(), Refusal>>>;

    /// At most `most` rows of a chain, from the one after number `after` on.
    fn audit<'a>(
        &'a self,
        org: &'a OrgId,
        writer: &'a str,
        after: u64,
        most: u32,
    ) -> Reply<'a, Vec<AuditRow>>;

    /// Every chain, by its writer, and its end.
    fn chains<'a>(&'a self, org: &'a OrgId) -> Reply<'a, Vec<(String, Head)>>;

    /// The writer whose chain [`Store::write`] adds to.
    fn writer(&self) -> &str;

    /// Copies all that is kept, as it is at one moment, into a new file that only its owner may read.
    fn back_up<'a>(&'a self, to: &'a Path) -> Reply<'a, ()>;
}

/// An answer to come.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Down>> + Send + 'a>>;

/// The store does not answer, or takes no writes: no space, no connection, read-only. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the store does not answer: {0}")]
pub struct Down(pub String);

/// A row of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// The record in its place in the chain.
    pub sealed: Sealed,
    /// The text that it commits to, unless that was erased.
    pub personal: Vec<Personal>,
}
