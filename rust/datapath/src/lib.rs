//! The packet loop both ends share: packet → flow table → peer, and back.
//!
//! ```text
//!               ┌──────────────────────── Datapath ───────────────────────┐
//!   packet  ──▶ │ seal: parse ─▶ flow table ─▶ peer's keys ─▶ datagram      │ ──▶ Datagrams (the send buffer)
//!   packet  ◀── │ open: parse ◀─ flow table ◀─ peer's keys ◀─ datagram      │ ◀── datagram
//!               └───────────────────────────────────────────────────────────┘
//! ```
//!
//! At the client a packet to be sealed comes from the device and may open a flow; at the gateway a datagram to be
//! opened does. The other direction only ever continues one. What the table refuses is dropped here, so there is no
//! way past it: the only packets that are not judged are this end's own resets and notices.
//!
//! One law: *begin a batch, seal and open packets, then `finish` the batch*.

mod datapath; // one batch after another: start here
pub use datapath::{Datapath, Side};

mod seal; // packets out
pub use seal::{Sealed, flow_of};

mod open; // datagrams in
pub use open::Opened;

mod area; // where they are opened
pub use area::{Area, Rooms};

mod sink; // where datagrams go
pub use sink::Datagrams;

mod counters; // what was dropped, and why
pub use counters::Counters;

// A datapath is made of these, so whoever drives one needs their words.
pub use ztna_packet as packet;
pub use ztna_policy as policy;
pub use ztna_tunnel as tunnel;

#[cfg(test)]
mod tests;
