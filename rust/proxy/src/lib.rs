//! Turns a local app's SOCKS5 or HTTP CONNECT bytes into a flow to ask about, then into a stream.
//!
//! One loopback port serves SOCKS5 with a password, HTTP CONNECT and plain `http://` requests with Basic
//! credentials; the first byte of a connection says which. Nothing is asked before the secret was given.
//!
//! ```text
//! app ── bytes ──▶ handle ─┐                       ┌─▶ Reply   to the app
//!                          ├──▶ Conversation ──▶ poll ─▶ Ask    session, gateway
//! verdict ───────▶ answer ─┘                       ├─▶ Stream  app ⇄ application
//!                                                  └─▶ Close
//! ```
//! ```
//! use ztna_proxy::{Conversation, Output, Verdict};
//!
//! let secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned().into();
//! let mut conversation = Conversation::new(&secret);
//! let taken = conversation.handle(
//!     b"CONNECT wiki.demo:443 HTTP/1.1\r\n\
//!       Proxy-Authorization: Basic YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw\r\n\r\n\
//!       what the tunnel carries",
//! );
//! assert!(matches!(conversation.poll(), Some(Output::Ask(found)) if found.to_string() == "wiki.demo:443"));
//! conversation.answer(Verdict::Connected);
//! assert!(matches!(conversation.poll(), Some(Output::Reply(reply)) if reply.starts_with(b"HTTP/1.1 200 ")));
//! assert!(matches!(conversation.poll(), Some(Output::Stream { .. })));
//! # assert_eq!(taken, 111);
//! ```

mod conversation; // one local connection: what arrives, what to do
pub use conversation::{Conversation, Output};

mod destination; // what an app asks for
pub use destination::{Destination, Form};

mod verdict; // the answer, and how each protocol says it
pub use verdict::Verdict;

mod upstream; // how much of what follows belongs to the request
pub use upstream::Upstream;

mod password; // what an app must know
mod socks; // SOCKS5 messages
mod head; // the head of an HTTP request, read strictly
mod request; // what that head asks, and the head that is passed on
mod refusal; // the table of refusals
mod reply; // HTTP answers of our own

#[cfg(test)]
mod tests;
