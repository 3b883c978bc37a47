//! The broker's decisions: admission, sessions, holds, Cedar, leases, floors; rows in, writes out.

pub mod rows; // what is kept
pub mod audit; // what is written down

mod batch; // what the store is asked to do, all or nothing
pub use batch::{Batch, BatchId, Claim, ClaimKind, NotCommitted};

mod input; // what arrives
pub use input::{
    Admin, DeviceOpened, Enrol, Exchange, GatewayOpened, IdToken, Input, Now, Refresh, RenewCertificate,
    RequestId, SignOut, StreamId,
};

mod output; // what is to be done
pub use output::{Alarm, EnrolError, EnrolledGateway, Output};

mod trust; // whom the broker believes, and the keys it signs with
pub use trust::{Issuer, Keys, StartError, Trust};

mod clock; // two clocks that never run backwards
mod nonce; // sealed broker times
mod sealed; // tokens, and answers that only they open
mod cedar; // what policies say
