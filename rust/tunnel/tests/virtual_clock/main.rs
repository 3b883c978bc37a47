//! Two tunnels, a network between them, and a clock that a test moves.

#![cfg(test)]

mod clock; // virtual time, also for those who read the clock themselves
mod pair; // two tunnels joined in memory

mod carriers; // where datagrams go
mod foreign; // another implementation at the other end
mod hostile; // what must not come in
mod idle; // when the clock is needed
mod sessions; // handshakes, data, new keys
