//! Leases in, flow table out: answers allow or deny, with the reason.
//!
//! ```text
//!  device's side                       Table                        resource's side
//!
//!    outgoing ──► live flow? ──yes──► its rule alive? ──► Allow ──►
//!                     │ no                                          nothing opens a flow from here
//!                     ▼
//!                rule for the destination? ── Allow: opens the flow ──►
//!                     │ no          ├─ Ask: a lease is asked for first
//!                     ▼             └─ Deny, and why
//!                Deny: no rule
//!
//!             ◄── Allow ◄── its rule alive? ◄──yes── live flow, that way? ◄── returning
//! ```
//!
//! The same table guards both ends. At the gateway it is the authority: one [`Scope`] for each WireGuard peer, rules
//! from signed leases. At the client it refuses early and explains: rules that allow (a lease is held), ask (one may
//! be had) or deny (and why). An empty table denies everything.
//!
//! ```
//! use ztna_model::{DenyReason, Flow, LeaseId, Protocol, Time, secs};
//! use ztna_policy::{Effect, Limits, Rule, Scope, Table, Verdict, Via};
//! # let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap().into();
//! # let terms = ztna_model::Rule {
//! #     resource: "wiki".parse()?,
//! #     protocol: Protocol::Tcp,
//! #     ports: "443".parse()?,
//! #     covers: ztna_model::Match::Prefix("10.1.0.0/16".parse()?),
//! # };
//! let (lease, scope, via) = (LeaseId([1; 16]), Scope(7), Via::SITE);
//! let flow = Flow { protocol: Protocol::Tcp, source: end("198.19.0.1:50000"), destination: end("10.1.2.3:443") };
//!
//! let mut table = Table::new([0x5a; 16], Limits::GATEWAY);
//! assert!(table.begin_batch(Time::ZERO).is_empty());
//! assert_eq!(table.outgoing(scope, &flow, 64), Verdict::Deny(DenyReason::NoRule));
//!
//! let deadline = Time::ZERO + secs(120);
//! let slot = table.insert(Rule { lease, scope, via, terms, deadline, flows: 4_096, effect: Effect::Allow })?;
//! assert_eq!(table.outgoing(scope, &flow, 64), Verdict::Allow(slot));
//! assert_eq!(table.returning(scope, via, &flow.reversed(), 64), Verdict::Allow(slot));
//!
//! let ended = table.begin_batch(deadline);
//! assert_eq!(ended[0].flows, [flow]);
//! assert_eq!(table.returning(scope, via, &flow.reversed(), 64), Verdict::Deny(DenyReason::NoRule));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod rule; // what comes in: who, where, until when, to what effect
pub use rule::{Effect, Rule, Scope, Via};

mod verdict; // what goes out: answers, and what ended
pub use verdict::{Ended, Slot, Traffic, Usage, Verdict};

mod limits; // how much it may take
pub use limits::Limits;

mod table; // the decisions
pub use table::{InsertError, Table};

mod rules; // rules in their slots, with deadlines and counters

mod destinations; // from a destination to its best rule: the way of a flow's first packet

mod flows; // from a flow to its rule: the way of every other packet

mod key; // a flow, packed; hashed under a secret

mod index; // numbers by hash

mod chain; // queues of numbers

#[cfg(test)]
mod tests; // the table from outside: what it answers, what it withstands, and that a plain list does the same
