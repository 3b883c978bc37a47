//! The gateway's decisions: takes, renews, parks, floors and ends leases.
//!
//! ```text
//!   broker's frames ──▶ ┌──────────── Gate ────────────┐ ──▶ frames for the broker: held, declined, renew, ended
//!                       │ leases ─▶ Datapath: table, peers │ ──▶ flows to be cut
//!   datagrams, packets ─▶──────────────────────────────┘ ──▶ datagrams, packets for the site
//! ```
//!
//! A lease that is not refused becomes a rule in the flow table and, with the first of its session, a WireGuard peer;
//! when the last one ends, the peer goes. Nothing here outlives the process: a restart is a new run, and every
//! earlier lease is void.
//!
//! One law: *begin a batch, hand in frames and packets, drain `poll`, `finish` the batch*.

mod gate; // start here: one batch after another
pub use gate::{Config, Gate};

mod held; // a lease that was taken
pub use held::{Destination, Held};

mod take; // what must hold before a lease is taken
mod peers; // who holds which leases
mod floor; // what a re-decision leaves standing
mod renew; // beats, and leases at their half-life
mod end; // what happens when a lease is over

mod reach; // where this gateway may go at all
pub use reach::{Reach, ReachEntry};

mod output; // what to do
pub use output::Output;

#[cfg(test)]
mod tests; // the gate between a broker that signs and devices that send
