//! Serves it: HTTP, control streams, identity provider, store, audit.

pub mod store; // what is kept
pub mod keys; // what signs and seals
pub mod audit; // the log outside the store
pub mod openid; // the identity provider that the broker brings along
pub mod accounts; // who may sign in there
pub mod id_tokens; // whose word counts
