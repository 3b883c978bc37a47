//! Turns raw device signals into graded facts, and says what to fix.
//!
//! ```text
//!   device                      broker
//!   signals ──▶ Reading ──────▶ grade ──▶ Fact ──▶ kept ──▶ aged ──▶ policy: only `Pass` satisfies
//!                                ▲          │
//!               Requirements, Tier          └──▶ device: why, fix
//! ```
//!
//! A device says what it read, and nothing else. State, tier and age are the broker's to give, so the same
//! functions run at both ends: the broker's answer counts, the client's is a preview.
//!
//! ```
//! use ztna_model::{FactKind, FactState, FactValue, Observed, Reading, Tier, WallTime};
//! use ztna_posture::{Requirements, fix, grade};
//!
//! let disk = Reading {
//!     kind: FactKind::DiskEncrypted,
//!     observed: Observed::Value(FactValue::Bool(false)),
//!     source: "/sys/dev/block/254:0/dm/uuid".to_owned(),
//!     age_s: 0,
//!     simulated: false,
//! };
//! let facts = grade(&[disk], &Requirements::default(), Tier::ProvenApp, WallTime::from_secs(1_795_000_000));
//!
//! assert_eq!(facts.len(), FactKind::ALL.len()); // one for each kind, so nothing is left out unseen
//! for fact in facts {
//!     match fact.kind {
//!         FactKind::DiskEncrypted => assert_eq!(fact.state, FactState::Fail),
//!         _ => assert_eq!(fact.state, FactState::Unknown), // not reported: absent is not false
//!     }
//! }
//! let advice = fix(FactKind::DiskEncrypted, FactState::Fail).expect("a failing fact has a fix");
//! assert_eq!(advice.sentence, "This machine's disk is not encrypted.");
//! ```
//!
//! # To you, who writes the next module
//!
//! This crate is kept small and complete to be copied. What to take from it, in the order of writing:
//!
//! 1. **One sentence**, the first line above. Nouns that others need too live in `model`; here is only what
//!    decides about them.
//! 2. **What may change is an argument**, gathered in one documented type with defaults that deny
//!    ([`Requirements`]); so is time. Nothing here reads a clock, a file or a random number.
//! 3. **A decision is a function**: everything it depends on goes in, a value with its reason comes out
//!    ([`grade`]). A module with a state of its own has `handle`, `poll` and `next_wake` in its place; this
//!    one has none, so [`next_change`] alone says when to come back.
//! 4. **Input from outside never fails a whole.** `grade` takes any readings at all; what makes no sense
//!    becomes an unknown fact that says why, and unknown satisfies nothing.
//! 5. **`match` in full** over our own enums: a new [`FactKind`](ztna_model::FactKind) does not compile until
//!    it has a verdict, a purpose and a fix.
//! 6. **Tests are rows** under the code they test: one `check`, then a line for each case. What must hold for
//!    every input is a property below them. What hostile peers send lies in `tests/corpus/posture`, each file
//!    named by what it is, and is replayed by `tests/corpus.rs`; attack cases carry their id as a name.
//!
//! The files, in reading order:

mod requirements; // what the organisation asks
pub use requirements::Requirements;

mod release; // one release of an operating system, as devices and requirements write it
pub use release::Release;

mod grade; // readings in, facts out
pub use grade::grade;

mod verdict; // one value against one requirement: the state, and why
mod plain; // text from a device, fit to be shown

mod age; // how long a fact holds
pub use age::{aged, next_change};

mod words; // what people are told: what a fact is, why it is asked, how to fix it
pub use words::{Advice, fix, purpose, title};
