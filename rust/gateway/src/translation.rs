//! Whose packets are whose, where the kernel forwards: a device's flow ⇄ the same flow as the site sees it.
//!
//! ```text
//!   inner: (peer, device → stand-in)   ⇄   outer: peer's own address → address that was checked
//! ```
//!
//! Decides nothing about rights and touches no packet: the flow table has judged before, and judges after.

mod addresses; // one of each family for every peer
pub(crate) use addresses::PeerRanges;

mod course; // how far a TCP connection is

mod translations; // the table: start here
pub(crate) use translations::{FIRST_FLOW, Limits, Translation, Translations, Way};

#[cfg(test)]
mod properties; // nobody's answer reaches another
