//! Forwarding by the kernel: what this machine is asked for, and how it is afterwards as it was before.
//!
//! ```text
//!   device ⇄ tunnel ⇄ translation ⇄ TUN ⇄ kernel: routes, packet filter, masquerade ⇄ site
//! ```
//!
//! Every peer has addresses of its own there, from ranges that mean nothing elsewhere. The kernel hands their packets on
//! under this machine's own address, and takes no other packets from the device.

mod netlink; // how the kernel is spoken to
mod firewall; // one table of the packet filter
pub use firewall::FirewallError;
#[cfg(test)]
pub(crate) use firewall::{ruleset, somebody_elses};
mod switches; // settings that are put back
pub use switches::SwitchError;
mod link; // the device
pub use link::LinkError;
mod forwarding; // all of it, for as long as it lasts
pub use forwarding::ForwardingError;
pub(crate) use forwarding::{Forwarding, put_back};
