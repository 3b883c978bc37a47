//! Turns a sign-in into a fresh token, by asking for HTTP calls instead of making them.
//!
//! ```text
//!   one string ─▶ discovery ─▶ issuer's metadata and keys ─▶ broker nonce ─▶ the person's browser ─▶ redirect
//!                                                                                                       │
//!   session tokens ◀─ exchange at the broker, bound to the device key ◀─ ID token ◀─ code + verifier ◀──┘
//! ```
//!
//! [`SignIn`] is one pending sign-in, [`Renewal`] one renewal of tokens. Both follow one law: *after each `handle`,
//! drain `poll`*. [`Possession`] makes the proofs that go along with every call to the broker.

mod call; // an HTTP call asked for, and its answer
pub use call::{Call, CallError, Output, Request, Response};

mod clock; // the broker's clock, as far as a device can know it
pub use clock::BrokerClock;

mod possession; // proofs of the device key, call by call
pub use possession::Possession;

mod provider; // an OpenID provider: its metadata, its keys, and what it issued
pub use provider::ProviderError;

mod redirect; // what came back from the browser, before anyone believes it
pub use redirect::RedirectError;

mod sign_in; // from one string to a session
pub use sign_in::{SignIn, SignInError, SignInPlan, SignedIn};

mod renewal; // from a refresh token to the next pair
pub use renewal::{Renewal, RenewalError};

mod tokens; // the broker's tokens
pub use tokens::Tokens;

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a deviation concerns one place, and no other")]
mod tests;
