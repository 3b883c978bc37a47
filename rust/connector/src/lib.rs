//! Does it: the client's tasks, HTTP, I/O, and the signals this machine gives.

pub mod signals; // what this machine tells of itself
