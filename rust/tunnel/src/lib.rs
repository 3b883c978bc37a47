//! Turns IP packets into WireGuard datagrams and back, over the best carrier.
//!
//! ```text
//! packets    encapsulate ─┐               ┌─ datagrams, in the caller's buffer
//!            wake ────────┼─► Tunnel ─────┤
//! datagrams  decapsulate ─┘  └─ peers     ├─ packets, in the caller's buffer
//!                                         └─ poll: handshakes, keepalives, cookies
//! ```
//!
//! Both ends of a tunnel run the same code in different roles: a client starts handshakes, a gateway never does. No
//! socket, no clock and no timer is in here: [`Tunnel::next_wake`] says when it needs the clock next and why, and an
//! idle tunnel never does.
//!
//! ```
//! use ztna_model::{Carrier, Random, Secret, Time};
//! use ztna_tunnel::{Decapsulated, Encapsulated, Role, Tunnel, wg_public};
//! # struct Count(u8);
//! # impl Random for Count {
//! #     fn fill(&mut self, bytes: &mut [u8]) { for byte in bytes { self.0 += 1; *byte = self.0; } }
//! # }
//! # let (random, now) = (&mut Count(0), Time::ZERO);
//! let (ours, theirs) = (Secret::new([1; 32]), Secret::new([2; 32]));
//! let mut client = Tunnel::new(&ours, Tunnel::DEFAULT_MTU, now);
//! let mut gateway = Tunnel::new(&theirs, Tunnel::DEFAULT_MTU, now);
//! let to_gateway = client.add_peer(wg_public(&theirs), None, Role::Initiator, random, now)?;
//! gateway.add_peer(wg_public(&ours), None, Role::Responder, random, now)?;
//! let (here, there) = (Carrier::Udp("192.0.2.1:4000".parse()?), Carrier::Udp("192.0.2.2:5000".parse()?));
//! client.set_carriers(to_gateway, &[there]);
//!
//! // The first packet waits for a session; whatever must be sent for that comes out of `poll`.
//! let mut packet = [0; 100];
//! packet[0] = 0x45; // IPv4
//! packet[3] = 100; // of 100 bytes
//! let (mut datagram, mut inside) = ([0; 1500], [0; 1500]);
//! assert_eq!(client.encapsulate(to_gateway, &packet, &mut datagram, now)?, Encapsulated::Queued);
//!
//! let initiation = client.poll(&mut datagram, now).expect("a handshake begins");
//! gateway.decapsulate(&datagram[..initiation.length], here, &mut inside, now)?;
//! let response = gateway.poll(&mut datagram, now).expect("it is answered");
//! client.decapsulate(&datagram[..response.length], there, &mut inside, now)?;
//! let data = client.poll(&mut datagram, now).expect("the packet goes out");
//! let arrived = gateway.decapsulate(&datagram[..data.length], here, &mut inside, now)?;
//! assert!(matches!(arrived, Decapsulated::Packet { packet: inner, .. } if inner == packet));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod tunnel; // one local key and all its peers: start here
pub use tunnel::{AddPeerError, Transmit, Tunnel};

mod encapsulate; // packets out
pub use encapsulate::{EncapsulateError, Encapsulated};

mod decapsulate; // datagrams in
pub use decapsulate::Decapsulated;

mod refusal; // why a datagram was not taken, and how often
pub use refusal::{Refusal, Refusals};

mod peer_id; // names of peers that are never confused
pub use peer_id::PeerId;

mod role; // who starts handshakes
pub use role::Role;

mod stats; // what is known of a peer
pub use stats::Stats;

mod wake; // when the clock is needed, and why
pub use wake::{Wake, WakeReason};

mod peer; // the other end: machine, timers, path, and what waits for it
mod sessions; // how old each pair of keys is
mod timers; // what a peer waits for

mod gate; // how many handshakes are worked on
mod indices; // whose index a datagram bears
mod message; // what a datagram claims to be
mod outbox; // what the tunnel itself has to send
mod padding; // how long a packet pretends to be
mod slots; // where peers are kept

mod noise; // what is asked of an engine
mod boring; // the engine: boringtun
pub use boring::wg_public;
