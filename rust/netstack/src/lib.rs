//! Turns IP packets into TCP and UDP streams and back, in user space.

mod limits; // how much there may be
pub use limits::Limits;

mod stream; // names of flows, and of those they belong to
pub use stream::{Scope, StreamId};

mod output; // what comes out
pub use output::{Cause, Event, Output};

mod netstack; // the whole: turns, news and deadlines of all flows
pub use netstack::Netstack;

mod turns; // one flow after the other sends
mod arrivals; // packets in
pub use arrivals::NotTaken;

mod opening; // flows begin
pub use opening::{AcceptError, ConnectError};

mod carrying; // bytes and datagrams, both ways
pub use carrying::DatagramError;

mod ending; // flows end

mod tcp; // one connection
mod told; // what a segment of ours has said
mod edge; // what smoltcp must not be shown
mod engine; // smoltcp, one packet at a time
mod syn; // a connection that is asked for
mod answer; // segments that no connection sends
mod udp; // one flow of datagrams

mod slot; // one flow, whatever it is
mod flows; // all flows, by number, name and packet
mod index; // numbers by hash
mod key; // the secrets of hashes and numbers
mod budget; // memory
mod spare; // memory that was used, to be used again
mod deadlines; // who wants the clock next
mod packets; // a bounded queue
