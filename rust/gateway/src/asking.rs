//! Questions of names, which devices ask inside their tunnels: answered for what they hold leases for, and for nothing
//! else.
//!
//! ```text
//!   bytes ─ read ─▶ Question ─ permit, by the peer's leases ─┬─ refused      in one form, whatever the reason
//!                                                            ├─ known here   a stand-in, a name
//!                                                            └─ Lookup ─▶ the machine's resolvers ─ sift ─▶ answer
//! ```
//!
//! A device learns whether a name is there, and what stands in its service records. It learns no address of the site's,
//! and nothing about any other name.

mod question; // what is asked
pub use question::Question;

mod permit; // who may ask for what
pub(crate) use permit::{Lookup, Permit, permit};

mod reply; // what is told
pub(crate) use reply::Reply;

mod lookup; // what the site's resolvers say
pub(crate) use lookup::Lookups;

mod pace; // how often a device may ask
pub(crate) use pace::Pace;
