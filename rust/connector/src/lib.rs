//! Does it: the client's tasks, HTTP, I/O, and the signals this machine gives.
//!
//! ```text
//!              ┌──────────────── Client: one task, one Session ───────────────┐
//!   commands ─▶│ http · stream · redirect · signals · keep                     │─▶ snapshots, status socket
//!              └──────┬────────────────────────────────────────────┬──────────┘
//!                     │ session::Plane                             │ answers to dials
//!   UDP ◀──▶ plane: one data thread ◀─ sockets ─▶ local: SOCKS5 and HTTP on a loopback port ◀──▶ applications
//! ```

pub mod config; // what an administrator sets
pub mod keep; // what stays on this device

mod connector; // everything together: start here
pub use connector::{Connector, Door, StartError};

pub mod client; // the task that feeds the session
mod http; // calls
mod stream; // the control stream
mod redirect; // where the browser brings its answer
mod grants; // whether a grant's gateway is the organisation's
pub mod signals; // what this machine tells of itself

pub mod system; // what this machine's network does for the tunnel
mod network; // as the session wants it

pub mod plane; // the data thread: tunnels, flows, applications' sockets
pub mod local; // the loopback port that applications connect to

pub mod status; // how the running connector is asked

pub use ztna_session::{Snapshot, State, Why, posture}; // what is shown
