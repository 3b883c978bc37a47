//! The messages client, broker and gateway exchange, and their signed forms (DPoP, statements, leases).
//!
//! ```text
//!              HTTPS: discovery, nonce, token, sign-out           HTTPS: enrol
//!   device ──────────────────────────────────────────▶ broker ◀──────────────────────────── gateway
//!          ◀── WebSocket: FromDevice, ToDevice ──────▶        ◀── mTLS WebSocket: FromGateway, ToGateway ──▶
//!
//!   signed:  DPoP proofs, device statements (ES256)     key set (ES256, root)    gateway statement (ES256)
//!                                                       leases (EdDSA)
//! ```
//!
//! Every reader here bounds size and depth, ignores fields it does not know, and refuses a message whole when
//! `must` names one of those. Every signed form has a `typ` of its own and takes one algorithm: its key's.

pub mod wire; // how JSON comes in and goes out
pub use wire::WireError;

pub mod key; // what public keys can do
pub mod jws; // the one signed form all others share

pub mod dpop; // a request shows that its sender holds the device key
pub mod statement; // what a device key says
pub mod keyset; // the organisation's keys, under its root
pub mod lease; // rights, under a lease key

pub mod discovery; // from one string to all endpoints
pub mod token; // sessions over HTTP
pub mod device; // the stream of a device
pub mod gateway; // the stream of a gateway, and its enrolment
pub mod admin; // what administrators ask, and what they are told
pub mod problem; // refusals over HTTP

#[cfg(test)]
mod testing;
