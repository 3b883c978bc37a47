//! Networks in a box: namespaces, wires between them, routers that translate, and counters of what must not pass.
//!
//! ```text
//!             ┌─ wifi0 ── home ──┐            ┌── broker
//!     client ─┤                  ├─ internet ─┼── berlin
//!             └─ cell0 ─ mobile ─┘            └── tokyo
//! ```
//!
//! Each test runs in namespaces of its own (see [`sandbox`]): whatever becomes of it, the kernel removes all of them, and
//! every process inside, with the test's own.

mod sandbox; // where a test runs
pub(crate) use sandbox::{Sandbox, sandbox};

mod namespace; // one machine
pub(crate) use namespace::{Namespace, call};

mod topology; // many
pub(crate) use topology::{Access, BERLIN, Lab};

mod nat; // how routers translate
pub(crate) use nat::Nat;

mod hop; // a wire on which things go wrong
pub(crate) use hop::{Hop, Impairment};

mod leaks; // what must not pass
pub(crate) use leaks::Leaks;

pub(crate) mod probe; // who hears whom
