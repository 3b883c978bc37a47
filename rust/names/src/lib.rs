//! Hands out synthetic addresses and answers names inside the tunnel.
//!
//! ```text
//!                              ┌─ not a query ─────────────▶ silence
//!   an application's bytes ────┤  not to be understood ────▶ FORMERR, NOTIMP
//!                   read       └─ Question: topic, kind
//!                                   │   whoever asks decides, by what the device may know:
//!                                   ├─ granted or visible ─▶ stand_in, pointer    (from the Book)
//!                                   ├─ granted, and more ──▶ ask the site ─ Heard ─ sift ─▶ found
//!                                   ├─ anything else of ours ▶ no_such_name, nothing
//!                                   └─ not ours ───────────▶ to the system's resolvers, untouched
//! ```
//!
//! Here is what a question says and how an answer looks; `session` knows what is granted, and decides. What is hidden
//! and what does not exist get one answer from one function. Whatever a site says is looked at record by record: who is
//! neither granted nor visible is not named to an application, and no address of the site's ever is.
//!
//! ```
//! use ztna_model::{DomainName, Secret};
//! use ztna_names::{Book, Kind, Read, Topic, Transport, read};
//!
//! // Which address has wiki.example? (RFC 1035, 4.1)
//! let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04wiki\x07example\0\0\x01\0\x01";
//! let Read::Question(question) = read(query, Transport::Udp) else { unreachable!() };
//! let wiki: DomainName = "wiki.example".parse()?;
//! assert_eq!(question.topic(), &Topic::Name(wiki.clone()));
//!
//! let mut book = Book::new(Secret::new([7; 32]));
//! let address = book.address(&wiki)?;
//! let answer = question.stand_in(&address);
//! assert!(answer.ends_with(&address.v4.octets()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod book; // which name stands behind which address
pub use book::{Book, BookFull, EntryError};

mod read; // bytes of an application's
pub use read::{Read, Transport, read};

mod question; // what is asked
pub use question::{Kind, Question, Sought};

mod topic; // what it is asked about
pub use topic::{REVERSE_ZONES, Topic, is_strayed};

mod answer; // what an application is told

mod site; // what a site is asked, and says
pub use site::{Found, Heard, Records, hear, site_query};

mod label; // names as messages spell them

#[cfg(test)]
mod tests;
