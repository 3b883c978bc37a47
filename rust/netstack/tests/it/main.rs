//! Two netstacks joined in memory, in virtual time, on a wire that loses, delays and repeats packets.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is not there, or not so, fails the test"
)]

mod net; // the wire, and what is at its ends
mod craft; // segments made by hand
mod transfer; // bytes that must arrive

mod closing; // how connections end
mod corpus; // packets kept as files
mod datagrams; // UDP
mod handshake; // how connections begin
mod hostile; // packets made to break things
mod limits; // how much there may be
mod reliability; // every byte, in order, whatever the wire does
mod stalling; // readers that pause
mod time; // when the clock is wanted
