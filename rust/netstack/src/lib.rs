//! Turns IP packets into TCP and UDP streams and back, in user space.

mod limits; // how much there may be
pub use limits::Limits;

mod stream; // names of flows, and of those they belong to
pub use stream::{Scope, StreamId};

mod output; // what comes out
pub use output::{Cause, Event, Output};

mod netstack; // the whole: turns, news and deadlines of all flows
pub use netstack::Netstack;

mod arrivals; // packets in
pub use arrivals::NotTaken;

mod commands; // what callers want
pub use commands::{AcceptError, ConnectError, DatagramError};

mod tcp; // one connection
mod edge; // what smoltcp must not be shown
mod engine; // smoltcp, one packet at a time
mod syn; // a connection that is asked for
mod answer; // segments that no connection sends
mod udp; // one flow of datagrams

mod flows; // all flows, by number, name and packet
mod index; // numbers by hash
mod key; // the secrets of hashes and numbers
mod budget; // memory
mod deadlines; // who wants the clock next
mod packets; // a bounded queue
