//! The nouns everyone shares: ids, Flow, Time, Fact, Lease, Desired, Secret; decides nothing.
//!
//! Every type here is sound once it exists: `DomainName`, `Cidr`, `Ports` are made by `parse` and hold what
//! they promise. Their `serde` forms are the wire's forms, and pass through the same `parse`.
//!
//! ```
//! use ztna_model::{DomainName, NamePattern, Time, secs};
//!
//! let pattern: NamePattern = "*.wiki.example".parse()?;
//! assert!(pattern.matches(&"a.wiki.example".parse::<DomainName>()?));
//! assert_eq!(Time::ZERO + secs(2), Time::from_millis(2_000));
//! # Ok::<(), ztna_model::ParseError>(())
//! ```

mod time; // when: monotonic and wall time are different types
pub use time::{Time, WallTime, millis, minutes, secs};

mod date; // a day of the calendar
pub use date::Date;

mod random; // chance, given as an argument
pub use random::Random;

mod secret; // what must not print
pub use secret::Secret;

mod parse; // what is wrong with a text that did not parse
pub use parse::ParseError;

mod id; // who and what, by name or by number
pub use id::{
    ApprovalId, DecisionId, DeviceId, GatewayId, GroupId, HoldId, Incarnation, LeaseId, LinkId, OrgId,
    OrgString, PersonId, PolicyId, Pseudonym, ResourceId, RootHash, RunId, SessionId, SiteId,
};

pub mod base64url; // bytes as JOSE writes them

mod key; // keys by which sessions and peers are known
pub use key::{Jkt, WgPublic};

mod signer; // keys that sign, and their public halves
pub use signer::{PublicKey, SignError, Signer};

mod name; // DNS names, and the patterns over them
pub use name::{DomainName, NamePattern};

mod address; // prefixes and the synthetic ranges
pub use address::{Cidr, Inner, Synthetic, has_forbidden_target, is_forbidden_target};

mod address_name; // the name that every address at a site has besides
pub use address_name::AddressName;

mod flow; // what a packet belongs to
pub use flow::{Endpoint, Flow, Port, PortRange, Ports, Protocol};

mod fact; // what is known about a device
pub use fact::{Fact, FactKind, FactState, FactValue, Observed, Reading, Tier};

mod decision; // yes, or no with a reason and what would help
pub use decision::{Decision, DenyReason, Fix};

mod resource; // an application someone may reach
pub use resource::{Address, Host, Match, Resource, Target};

mod lease; // the short right of one device session to one resource
pub use lease::{Epoch, Holder, Lease, Limits, Rule};

mod desired; // what the client is asked to bring about
pub use desired::{Carrier, Desired, EndReason, Grant, Visible};
