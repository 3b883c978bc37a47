//! The data thread: everything that a packet meets between a device's datagram and an application's socket.
//!
//! ```text
//!            ┌─ a turn ──────────────────────────────────────────────────────────────────────┐
//!   orders ─▶│ frames → cuts │ datagrams → judge → netstack │ netstack ⇄ sockets │ packets → seal │─▶ flush
//!            └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A flow's bytes go straight between its buffers in the netstack and its socket: nothing lies in between that would
//! have to be bounded, woken or thrown away. A side that does not read fills its buffer, and then is read no more from
//! the other. Frames come before packets, so after the turn in which a lease ends not a byte passes under it.

mod flows; // which flow goes on where
mod outgoing; // the port that datagrams are sealed into
mod forward; // packets to streams, and back
mod kernel; // the way that needs no sockets
mod pending; // flows that wait until it is known where they go
mod echoes; // the flows that are neither TCP nor UDP
mod query; // questions of names
mod report; // how it stands
mod splice; // bytes between a flow and its socket
mod thread; // one turn after another: start here

pub(crate) use kernel::Kernel;
#[cfg(test)]
pub(crate) use outgoing::Outgoing;
pub(crate) use thread::{DataThread, Parts};
