//! Serves it: HTTP, control streams, identity provider, store, audit.
//!
//! ```text
//!   devices, people ── HTTPS, streams ──┐
//!   gateways ───────── mTLS, streams ───┼──▶ server ──▶ desk ⇄ pdp (decides)
//!   administrators ─── Unix socket ─────┘                │
//!                                                        └──▶ store: rows, claims and audit log in one transaction
//! ```
//!
//! One process, one organisation, one directory: [`Config::load`] reads its settings, [`run`] serves until it is told to
//! stop, [`restore`] brings a back-up back, and an [`admin::Client`] asks what administrators ask.

pub mod config; // what whoever runs a broker sets
pub use config::{Config, ConfigError};

mod broker; // from the settings to the end
pub use broker::{Broker, HomeError, Listeners, Restored, StartError, restore, run};

mod server; // the listeners, and who may ask what
mod desk; // the one task that owns the decisions
pub use desk::Alarms;
pub mod admin; // what administrators ask
pub use ztna_pdp::policy_schema;

pub mod store; // what is kept
pub mod audit; // the log outside the store
pub mod keys; // what signs and seals

pub mod openid; // the identity provider that the broker brings along
pub mod accounts; // who may sign in there
pub mod id_tokens; // whose word counts
