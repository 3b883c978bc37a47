use thiserror::Error;
use ztna_model::WallTime;
use ztna_pdp::audit::{Entry, Personal};

/// What is to change: all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// What happens once only.
    pub claims: Vec<Claim>,
    /// What must not have changed in between.
    pub expects: Vec<Expected>,
    /// What is made, changed or removed.
    pub edits: Vec<Edit>,
    /// What is written down, at the end of this process's chain.
    pub audit: Vec<Line>,
}

/// Something that happens once only, on all brokers alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// What kind of thing.
    pub kind: &'static str,
    /// Its name: unique within organisation and kind.
    pub id: String,
    /// When it may be forgotten, since it is refused by then for its age.
    pub until: WallTime,
}

/// A document that must be as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: String,
    /// Its version; none if there must be no such document.
    pub version: Option<u64>,
}

/// One change of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// A document is made, or takes the place of the one under its key.
    Put {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
        /// The document.
        text: String,
        /// When it may be forgotten.
        until: Option<WallTime>,
    },
    /// A document goes.
    Delete {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
    },
    /// Rows of the audit log go, up to and with this number. The last one of a chain stays in any case.
    Forget {
        /// Whose chain.
        writer: String,
        /// The number.
        up_to: u64,
    },
    /// The personal text of a row of the audit log becomes this.
    Erase {
        /// Whose chain.
        writer: String,
        /// The row's number.
        number: u64,
        /// What is left.
        left: Vec<Personal>,
    },
}

/// A document as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// Its table.
    pub table: String,
    /// Its key within the table.
    pub key: String,
    /// Grows with each change.
    pub version: u64,
    /// The document.
    pub text: String,
}

/// A row of the audit log, but for its place in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What the chain is taken over, as JSON.
    pub record: String,
    /// The personal text that it commits to.
    pub personal: Vec<Personal>,
}

/// Why one change was not made, while others were.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// Somebody was there before.
    #[error("the claim number {0} is taken")]
    Claimed(usize),
    /// A document is not as it was read.
    #[error("something else happened in between")]
    Overtaken,
}

impl From<&Entry> for Line {
    fn from(entry: &Entry) -> Self {
        Self { record: entry.record.document(), personal: entry.personal.clone() }
    }
}
