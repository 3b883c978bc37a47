use serde::{Deserialize, Serialize};
use ztna_model::{OrgId, WallTime};

use crate::audit::Entry;
use crate::rows::Write;

/// Numbers the batches of one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BatchId(pub u64);

/// What the store is asked to do in one transaction: take the claims, change the rows, write the audit log; all of
/// it, or nothing.
///
/// Batches take effect in the order of their ids. Several may share a transaction, as long as one whose claim is
/// taken already fails alone. Whoever answers that a batch is not committed promises that it never will be.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The organisation.
    pub org: OrgId,
    /// The batch, to be named in the answer.
    pub id: BatchId,
    /// What happens once only.
    pub claims: Vec<Claim>,
    /// The rows that change.
    pub writes: Vec<Write>,
    /// What is written down.
    pub audit: Vec<Entry>,
    /// Whether nothing waits for it: it takes something away and is in force already, or only writes down.
    pub urgent: bool,
}

/// Something that happens once only, on all brokers alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// What kind of thing.
    pub kind: ClaimKind,
    /// Its name: unique within organisation and kind.
    pub id: String,
    /// When it may be forgotten, since it is refused by then for its age.
    pub until: WallTime,
}

/// What can happen once only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    /// A DPoP proof is used (RFC 9449, 11.1).
    Jti,
    /// An ID token opens a session.
    IdToken,
    /// An enrolment token brings something in.
    Enrolment,
    /// An invitation is followed.
    Invitation,
    /// A nonce carries a statement.
    Nonce,
    /// A tunnel key becomes a session's.
    TunnelKey,
    /// A refresh token is exchanged for the next pair.
    Refresh,
    /// A link of a session's chain of streams gets its successor.
    Link,
}

impl ClaimKind {
    /// The kind's name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::IdToken => "id-token",
            Self::Enrolment => "enrolment",
            Self::Invitation => "invitation",
            Self::Nonce => "nonce",
            Self::TunnelKey => "tunnel-key",
            Self::Refresh => "refresh",
            Self::Link => "link",
        }
    }
}

/// Why a batch was not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotCommitted {
    /// Somebody was there before.
    AlreadyClaimed(Claim),
    /// The store takes no writes: no space, no connection, or read-only.
    StoreDown,
}
