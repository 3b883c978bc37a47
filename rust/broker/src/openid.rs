//! The identity provider that the broker brings along: people sign in with name and password, the connector gets ID
//! tokens by authorization code and PKCE (OpenID Connect Core; RFC 6749, 7636, 8252, 9207, 9700).
//!
//! ```text
//!   connector            browser                      here                              store
//!   opens ──────────────▶ GET authorize ────────────▶ Authorization ─ login page
//!                         POST login ───────────────▶ ticket, throttle, password ─────▶ account
//!   ◀── code, state, iss ─ redirect ◀─────────────── Grant: offered ─────────────────▶ row
//!   POST token: code, verifier ─────────────────────▶ redeemed once ──────────────────▶ claim, row
//!   ◀── ID token, refresh token
//!   POST token: refresh token ──────────────────────▶ next turn ──────────────────────▶ row
//!   ◀── fresh ID token, next refresh token
//! ```
//!
//! A browser is never signed in: every sign-in asks for the password. Any app on a device can pose as a public client
//! (RFC 8252, 8.6), so nobody could be sent on without a question anyway, and there is no session to fix, to ride or
//! to log out of.

mod issuer; // where it is
pub use issuer::{AUTHORIZE, DISCOVERY, Issuer, JWKS, LOGIN, OAUTH_DISCOVERY, REVOKE, TOKEN};

mod client; // who may ask, and where answers go
pub use client::{Client, RedirectRule, RuleError};

mod fields; // parameters, each of them once
mod scope; // what may be asked for
pub use scope::{Scope, Scopes};

mod challenge; // what ties a code to who began
pub use challenge::Challenge;

mod authentication; // how a person showed who they are
pub use authentication::{Authentication, Class, Method};

mod authorization; // a request to sign somebody in

mod account; // who may sign in
pub use account::{Account, Email, Subject, UserName, UserNameError};

mod password; // passwords, hashed
pub use password::{HashError, PasswordError, PasswordHash, hash_password};

mod hashing; // a few at once

mod throttle; // failures, counted
mod seal; // marks on what is handed out
mod browser; // cookies
mod ticket; // what a login page carries
mod handle; // codes and refresh tokens

mod grant; // what a sign-in gives
pub use grant::{Grant, GrantState, SignInId};

mod exchange; // what is asked of the token endpoint

mod keys; // what signs
pub use keys::{SigningKeys, WrongCurve};

mod id_token; // what is signed

mod metadata; // what it says of itself

mod provider; // the decisions
pub use provider::{Provider, Setup, SetupError};

mod store; // what it needs of a store
pub use store::{Accounts, Change, Event, Grants, Kept, NotChanged, StoreError};

mod service; // the decisions at work
pub use service::Service;
mod redemption; // from a code to tokens
mod sign_in; // from a form to a code

mod markup; // text that is no more than text
mod pages; // what people see

mod routes; // all of it over HTTP
pub use routes::router;

#[cfg(test)]
mod memory; // a store for tests
#[cfg(test)]
mod tests;
