//! Serves it: HTTP, control streams, identity provider, store, audit.

pub mod openid; // the identity provider that the broker brings along
