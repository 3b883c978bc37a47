//! What the kernel knows of this machine's links, addresses and routes, and the routes and rules of ours beside them.
//!
//! ```text
//!   LinkWatch ── a bell ──▶ Links: dumps ──▶ what is different ──▶ LinkChange
//!   Links: put, remove ──▶ routing table of our own ◀── one rule for each family
//! ```
//!
//! Spoken over rtnetlink (rtnetlink(7)), never through another program. Reading and watching need no privilege;
//! changing needs CAP_NET_ADMIN.

use std::io;
use std::net::IpAddr;

use thiserror::Error;
use ztna_model::Cidr;

mod socket; // one question and its answers
mod links; // what is asked
pub use links::Links;

#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel's words, not ours: they become more")]
mod message; // the kernel's words for routes, rules and addresses
mod mark; // packets of our own, told from everybody else's
pub use mark::mark;

mod watch; // what changed
pub use watch::{LinkChange, LinkWatch};

/// Why the kernel did not answer or obey.
#[derive(Debug, Error)]
pub enum LinkError {
    /// This process may not change the network.
    #[error("the network can only be changed by root or with CAP_NET_ADMIN")]
    NotAllowed,
    /// There is no such device, route or rule.
    #[error("there is no such device, route or rule")]
    Missing,
    /// The family is turned off, on this machine or on the device.
    #[error("this address family is turned off")]
    FamilyOff,
    /// Anything else.
    #[error("the kernel refused: {0}")]
    Refused(io::Error),
    /// An answer that makes no sense.
    #[error("the kernel's answer is not understood")]
    NotUnderstood,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A device of this machine, as the kernel numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeviceIndex(pub u32);

/// Where packets go that a route is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// Out of this device.
    Device(DeviceIndex),
    /// Nowhere: the sender is told.
    Unreachable,
    /// Whatever the next table says (`throw`).
    NextTable,
}

/// A route of ours. Two routes to one prefix differ in their metric; the lower one is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// Where to.
    pub to: Cidr,
    /// Which way.
    pub way: Way,
    /// How far.
    pub metric: u32,
    /// The source address of what this machine itself sends there.
    pub source: Option<IpAddr>,
}

/// A rule of ours: look into `table`, except for packets that bear `unless_mark`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    /// For which packets.
    pub family: Family,
    /// When it is asked: the lowest first; `main` has 32766.
    pub priority: u32,
    /// Where to look.
    pub table: u32,
    /// What our own carriers bear.
    pub unless_mark: u32,
}

/// A network that this machine stands in: it has an address there, and the others are reached without a router.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OwnNetwork {
    /// Its addresses.
    pub prefix: Cidr,
    /// Through which device.
    pub device: String,
}
