//! Broker, gateway and connector as the OS processes that people run, set up by the command line alone.

/// The program under test.
#[cfg(test)]
const OPENZTNA: &str = env!("CARGO_BIN_EXE_openztna");

#[cfg(test)]
mod dir; // a directory of one test's own
#[cfg(test)]
mod process; // one of the product's processes
#[cfg(test)]
mod person; // somebody who signs in
#[cfg(test)]
mod application; // what is reached, and what reaches it
#[cfg(test)]
mod world; // an organisation that runs

#[cfg(test)]
mod kills; // power cuts, one process at a time
#[cfg(test)]
mod audit; // what was answered was written down
#[cfg(test)]
mod curl; // somebody else's client at the local proxy
#[cfg(test)]
mod speed; // how many bytes pass, and how fast
#[cfg(test)]
#[expect(dead_code, reason = "what plays several parts in a sandbox is elsewhere")]
#[path = "../../../../tests/netlab/lab/sandbox.rs"]
mod sandbox; // a network of a test's own
#[cfg(test)]
mod device; // applications that know nothing of a proxy
#[cfg(test)]
mod chromium; // somebody else's browser at the sign-in page
#[cfg(test)]
mod ending; // told to stop, and started twice
#[cfg(test)]
mod signing_out; // nothing stays
#[cfg(test)]
mod administration; // answers for people, answers for programs
#[cfg(test)]
mod secrets; // what no log holds
