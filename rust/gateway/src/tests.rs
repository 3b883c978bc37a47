//! A whole gateway, over real sockets on loopback: a scripted broker on one side, scripted devices on the other.

mod authority; // certificates
mod broker; // who signs
mod device; // who asks
mod site; // who serves, and the gateway between them

mod forwarding; // what a lease lets through, and what nothing does
mod revoking; // how that ends
mod reaching; // where it may go
mod nameserver; // who knows names at the site
mod asking; // what a device may ask, and what it is told
mod nets; // machines of their own, where a test needs some
mod echoes; // those that are neither TCP nor UDP
mod through_kernel; // packets that the kernel forwards
mod packet_filter; // and what it does not let pass
mod stalling; // what happens when somebody does not read
mod wireguard_go; // what somebody else's WireGuard makes of it
mod speed; // how fast it goes
mod darkness; // what strangers hear
mod enrolling; // how a machine becomes a gateway, and stays one
mod offline; // leases from a file
mod corpus; // files that are understood, and files that are not

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ztna_api::gateway::{EnrolmentToken, FromGateway, LeaseError, ToGateway};
use ztna_model::{Lease, LeaseId, Random as _, Secret, secs};
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;
use ztna_net::tcp;

use crate::status::Status;
use crate::testing::TempDir;

const GATEWAY: &str = "berlin-1";
/// Longer than anything takes on a machine that is busy.
const PATIENCE: Duration = secs(20);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}
