//! Serves it: HTTP, control streams, identity provider, store, audit.

pub mod store; // what is kept
pub mod keys; // what signs and seals
pub mod openid; // the identity provider that the broker brings along
