//! Decrypts, asks the flow table, forwards.
//!
//! ```text
//!                          ┌── tasks ─────────────────────────────────────────────┐
//!   broker ◀── mTLS stream ──▶ control · renewal      dialler ──▶ names, connections │
//!                          └──────┬──────────────────────────────────┬────────────┘
//!                                 │ frames, reports                  │ sockets
//!                          ┌──────▼────────── data thread ───────────▼────────────┐
//!   device ◀── WireGuard ──▶ port ⇄ gate: tunnels, flow table ⇄ netstack ⇄ sockets ──▶ application
//!                          └──────────────────────────────────────────────────────┘
//! ```
//!
//! Where the kernel forwards, the last row reads *gate ⇄ translation ⇄ TUN ⇄ kernel ⇄ application*. Else the process
//! needs no privilege. It listens on no TCP port and has one UDP socket: it dials the broker, and opens paths
//! to devices by sending first. What a lease allows is decided in `ztna-gate`; here it is done.

mod config; // what an administrator sets
pub use config::{
    Config, ConfigError, ForwardingMode, LeasesConfig, LimitsConfig, TunnelledConfig, UdpConfig,
};

mod run; // a gateway's life: start here
pub use run::{ExitReason, RunError, run};

mod role; // who it is, and where its leases come from

mod data; // the data thread
mod order; // what tasks and data thread ask of each other

mod translation; // whose packets are whose, where the kernel forwards
mod kernel; // and what that takes
pub use kernel::{FirewallError, ForwardingError, LinkError, SwitchError};

mod dial; // flows to sockets, under what may be reached
pub use dial::DialRefusal;
mod echo; // sockets for those that are neither TCP nor UDP
mod resolver; // who says what a name stands for

mod asking; // questions of names, and who may ask them
pub use asking::Question;

mod control; // the talk with the broker
mod stream; // the WebSocket that it takes place on
mod seldom; // what is not said each time
mod backoff; // how long to wait before another try
mod carriers; // where devices can send datagrams to

mod file; // leases from a signed file
pub use file::{BeatFile, LeaseFile};

mod enrol; // how a machine becomes a gateway
pub use enrol::{EnrolError, Enrolled, enrol};
mod renewal; // and stays one
mod certificate; // what the broker certifies
pub use certificate::CertificateError;
mod http; // calls to the broker
pub use http::CallError;
mod home; // what outlives the process
pub use home::HomeError;

pub mod status; // how it stands

/// The program's name and version, as the broker is told.
const SOFTWARE: &str = concat!("openztna/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod testing; // directories that go with their test
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
mod tests; // a whole gateway, with a scripted broker and scripted devices
