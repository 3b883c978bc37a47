//! What is written down of every decision and every administrator's change, before its effect.

use serde::{Deserialize, Serialize};
use ztna_model::{GatewayId, Pseudonym, Random, WallTime};

mod event; // what can happen
pub use event::{Event, Target};

mod personal; // text about people, which can be erased without breaking the chain
pub use personal::{Commitment, Personal};

mod chain; // each row holds the hash of all before it
pub use chain::{Broken, Chain, Head, Sealed};

/// One row of the audit log, but for its place in the chain, which the store gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the chain is taken over.
    pub record: Record,
    /// The personal text that the record commits to. Erasure removes it; the chain still verifies.
    pub personal: Vec<Personal>,
}

/// What the chain is taken over: names nobody, but by pseudonym and commitment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When, by the broker's clock.
    pub at: WallTime,
    /// Who brought it about.
    pub by: By,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// The record as it is hashed and kept.
    pub fn document(&self) -> String {
        // Our own types are maps with text keys: they always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Who brought something about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The broker itself: time passed, or a rule applied.
    Broker,
    /// Whoever owns this operating system account, on the broker's own machine.
    Local {
        /// The account's number.
        uid: u32,
    },
    /// A person, through a device of theirs.
    Person(Pseudonym),
    /// A gateway.
    Gateway(GatewayId),
    /// Somebody who has not shown who they are.
    Unknown,
}

/// An entry in the making: commits to personal text as it is named.
pub(crate) struct Draft<'a> {
    personal: Vec<Personal>,
    random: &'a mut dyn Random,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(random: &'a mut dyn Random) -> Self {
        Self { personal: Vec::new(), random }
    }

    /// A commitment to `text`, which goes along.
    pub(crate) fn commit(&mut self, text: &str) -> Commitment {
        let personal = Personal::new(text, self.random);
        let commitment = personal.commitment();
        self.personal.push(personal);
        commitment
    }

    pub(crate) fn entry(self, at: WallTime, by: By, event: Event) -> Entry {
        Entry { record: Record { at, by, event }, personal: self.personal }
    }
}
