//! Real sockets, TUN devices, TLS, the clock and the random source, in batches; shared by both ends.

pub mod random; // the one file that reads the random source
pub mod keys; // signing keys in this process's memory
