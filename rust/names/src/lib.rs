//! Hands out synthetic addresses and answers names inside the tunnel.
//!
//! What is here is the book of addresses alone: each name that a person may reach gets a number, and with it an IPv4
//! and an IPv6 address to stand in for it. Nothing here answers DNS questions; the local proxy hands names over as
//! they are.
//!
//! ```text
//!   wiki.example ── HMAC(secret, name) ──→ 0x1234 ──→ 198.18.18.52 and 2001:2:0:1::1234
//! ```
//!
//! ```
//! use ztna_model::{DomainName, Secret};
//! use ztna_names::Book;
//!
//! let mut book = Book::new(Secret::new([7; 32]));
//! let wiki: DomainName = "wiki.example".parse()?;
//! let address = book.address(&wiki)?;
//! assert_eq!(book.address(&wiki)?, address);
//! assert_eq!(book.name_of(address.v4.into()), Some(&wiki));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod book; // which name stands behind which address
pub use book::{Book, BookFull, EntryError};
