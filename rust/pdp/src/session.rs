//! Sessions over HTTP: how they open, renew and end.

mod admission; // may this person come in, on this device
pub(crate) use admission::{fresh_secret, passed_on, shown, unknown_group};

mod end; // sessions and devices that are over
mod exchange; // an ID token becomes a session
mod proof; // who may use which token
mod refresh; // one pair of tokens becomes the next

#[cfg(test)]
mod tests;
