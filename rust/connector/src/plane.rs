//! The data thread: on one side the UDP port with all tunnels, on the other the packets and sockets of local applications.
//!
//! ```text
//! application ⇄ kernel ⇄ TUN device ──┐
//! application ⇄ Carriage ⇄ netstack ──┴─ flow table ⇄ peer ⇄ UDP       one thread, one poller
//!                                            ▲
//!            session::Plane ── inbox ────────┘                        tasks tell it what is allowed
//! ```
//!
//! A task opens a flow and, once it stands, hands over its application's socket: from there on bytes go straight
//! between that socket and the flow's buffers. Nothing waits in between, so an application that does not read holds
//! up its own flow and nothing else, and a lease that ends cuts both sides in the same turn.
//!
//! ```no_run
//! # async fn example(endpoint: ztna_model::Endpoint, socket: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! use ztna_connector::plane::{Plane, PlaneConfig};
//!
//! let (plane, events) = Plane::start(PlaneConfig::default(), None)?;
//! // … plane.carry_out(…) as the session decides; then, for each application:
//! let stream = plane.open(endpoint).await?;
//! let end = stream.carry(socket, Vec::new(), None).await;
//! # let _ = (events, end); Ok(()) }
//! ```

mod config; // how much there may be, and how patient it is
pub use config::{Patience, PlaneConfig};

mod handle; // what tasks can ask of the data thread
pub use handle::{OpenError, PlaneHandle, PlaneStream};

mod event; // what the data thread tells the session
pub use event::PlaneEvent;

mod status; // all that can be shown of it
pub use status::{PeerStatus, PlaneStatus, TunStatus};

mod thread; // the loop
pub use thread::PlaneError;

mod command; // what comes in through the inbox
mod packets; // what a turn receives and sends
mod rights; // what the session allows, and takes back
mod gateways; // who is at the other end, and whether they answer
mod notice; // what a gateway says inside its tunnel
mod flows; // how flows begin and end
mod streams; // all flows, by name and by what their packets show
mod carriage; // the bytes of one flow
pub use carriage::{Carried, Ending, Traffic};
mod port; // where datagrams go
mod tun; // applications' own packets
mod resolver; // their questions
mod wishes; // those that wait for a right
pub use wishes::Wish;

use tokio::sync::mpsc;
use ztna_net::tun::TunPort;

/// The data thread, before it runs.
#[derive(Debug)]
pub struct Plane;

impl Plane {
    /// Starts the data thread. It runs until every handle and stream is gone, and tells what happens through the
    /// receiver. With a TUN device applications' own packets come here; without one, the local proxy's flows alone.
    pub fn start(
        config: PlaneConfig,
        tun: Option<TunPort>,
    ) -> Result<(PlaneHandle, mpsc::Receiver<PlaneEvent>), PlaneError> {
        let (events, told) = mpsc::channel(EVENTS);
        let post = thread::start(config, tun, events)?;
        Ok((PlaneHandle::new(post), told))
    }
}

/// More than all gateways say between two turns of a task.
const EVENTS: usize = 256;
