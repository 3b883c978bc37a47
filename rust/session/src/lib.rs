//! Decides what the client does next; the only crate that sees all five modules.
//!
//! ```text
//!   commands  ─▶ ┌───────────────────────────────────────────┐ ─▶ HTTP calls, the stream, the browser
//!   answers   ─▶ │ Session: auth · posture · policy · tunnel │ ─▶ Plane: keys, peers, grants for the data thread
//!   frames    ─▶ │          · proxy · names                  │ ─▶ answers to dials and to questions about names
//!   dials     ─▶ │                                           │ ─▶ what the machine's network is to be like
//!   questions ─▶ └──── state (a picture in `transitions.rs`) ┘ ─▶ what to keep on disk, what to show
//! ```
//!
//! One law: *after each `handle…`, drain [`Session::poll`]*; come back at [`Session::next_wake`].

mod state; // what the person sees, and what it lets through
pub use state::{State, Through, Why};

mod transitions; // the life of a client, in one `match`

mod output; // what to do
pub use output::{CallId, DialId, Output, Plane, QueryId};
pub use ztna_auth::{CallError, RedirectError, Request, Response};
pub use ztna_names::Transport;
pub use ztna_proxy::Verdict;

pub use ztna_posture as posture; // what facts mean, and how they are mended

mod session; // what arrives
pub use session::{Dial, Profile, Session};

mod account; // who is signed in
mod sign_in; // getting in, staying in, leaving
mod stream; // the control stream: links, nonces, presence
mod frames; // what the broker says
mod dials; // what local applications ask for
mod facts; // what the device says about itself
mod resources; // what may be known of, and what is granted
mod stand_ins; // addresses for names
mod fate; // what becomes of a question about a name
mod lookups; // questions about names that wait for somebody

mod network; // where the tunnel begins
pub use network::Network;

mod snapshot; // all that can be shown
pub use snapshot::Snapshot;

mod saved; // what survives a restart
pub use saved::{Saved, SavedError};

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
mod tests;
