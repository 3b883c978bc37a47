//! What the machine does and the network does to it, for real: namespaces, routers, and the product between them.
//!
//! Needs root, and nothing of the machine is touched: each test runs in namespaces of its own.

/// The program under test, built beforehand: `cargo build`.
#[cfg(test)]
const OPENZTNA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/openztna");

#[cfg(test)]
mod lab; // networks in a box: start here

#[cfg(test)]
mod topology; // the box is what it says
#[cfg(test)]
mod impaired; // a bad network is as bad as it was told to be
#[cfg(test)]
mod links; // what the kernel tells of links, addresses and routes
#[cfg(test)]
mod system; // what the machine does for the tunnel
#[cfg(test)]
mod product; // all of it between machines of their own

// What the tests of processes on one machine have as well.
#[cfg(test)]
#[path = "../../rust/cli/tests/processes/dir.rs"]
mod dir;
#[cfg(test)]
#[path = "../../rust/cli/tests/processes/person.rs"]
mod person;
#[cfg(test)]
#[expect(dead_code, reason = "not everything that a process can be asked for is asked here")]
#[path = "../../rust/cli/tests/processes/process.rs"]
mod process;
