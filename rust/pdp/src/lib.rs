//! The broker's decisions: admission, sessions, holds, Cedar, leases, floors; rows in, writes out.
//!
//! ```text
//!   device frames ─┐                                                        ┌─▶ store: claims, rows, audit, at once
//!   token requests ┤            ┌──────────────── Pdp ───────────────┐      │
//!   gateway frames ┼─▶ handle ─▶│ rows · decisions · leases · floors │─ poll ┼─▶ frames to devices and gateways
//!   administrators ┤            └────────────────────────────────────┘      │
//!   store, time   ─┘                                                        └─▶ answers, alarms
//! ```
//!
//! What may give somebody more is *proposed*: it waits for the store, and all that follows waits, too. What takes
//! something away is *enforced*: in force at once, written down after.

mod pdp; // what happens, in and out: begin here
pub use pdp::Pdp;

mod input; // what arrives
pub use input::{
    Admin, DeviceOpened, Enrol, Exchange, GatewayOpened, IdToken, Input, LoggedOut, Now, Refresh,
    RenewCertificate, RequestId, SignOut, StreamId,
};

mod output; // what is to be done
pub use output::{Alarm, EnrolError, EnrolledGateway, Output};

mod batch; // what the store is asked to do, all or nothing
pub use batch::{Batch, BatchId, Claim, ClaimKind, NotCommitted};

pub mod rows; // what is kept
pub mod audit; // what is written down

mod trust; // whom the broker believes, and the keys it signs with
pub use trust::{Issuer, Keys, StartError, Trust};

mod ledger; // what is on its way to the store
mod apply; // a row changes: whom that concerns
mod review; // decisions are made anew
mod index; // rows by what they belong to
mod sweep; // what is over goes
mod timers; // why to wake
mod clock; // two clocks that never run backwards

mod nonce; // sealed broker times
pub use nonce::Nonces;
mod sealed; // tokens, and answers that only they open
mod refusal; // answers of the token endpoint
mod session; // sessions open, renew and end
mod device; // devices' streams, clones, statements

mod cedar; // what policies say
pub use cedar::schema as policy_schema;
mod decide; // what they, holds and ages say together
mod visible; // what a session may know of

mod ask; // a device asks for a lease
mod grant; // leases from decision to end
mod floor; // what survives a decision made anew
mod gateway; // gateways' streams
mod admin; // administrators' operations

#[cfg(test)]
mod testing;
