//! Real sockets, TUN devices, TLS, the clock and the random source, in batches; shared by both ends.
//!
//! ```text
//!            tasks ── Post ──┐                        control plane, applications
//!                            ▼                                    │
//! tunnel ⇄ UdpPort ⇄ Poller: inbox,                        tcp · tls · uds
//! apps   ⇄ TunPort ⇄ ports, deadline                         (tokio)
//!                    (one data thread)
//! ```
//!
//! Everything here does and nothing decides: time, chance and sockets enter the product here and nowhere else.

pub mod clock; // the one file that reads the clock
pub mod random; // the one file that reads the random source

pub mod inbox; // what tasks tell a data thread
pub mod poll; // what a data thread waits on
pub mod udp; // its UDP port, many datagrams a system call
pub mod tun; // its TUN device, many packets a system call
pub mod socket; // the sockets of single flows
pub mod link; // links, addresses and routes of this machine

pub mod tcp; // listeners and connections
pub mod tls; // who is at the other end of them
pub mod uds; // the administrator's socket

pub mod process; // what this process may use
pub mod fs; // files that nobody else may read
pub mod settings; // files that administrators write
pub mod keys; // signing keys in this process's memory

#[cfg(test)]
mod testing; // directories that go with their test
