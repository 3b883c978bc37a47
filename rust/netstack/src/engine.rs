use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use smoltcp::iface::{Config, Context, Interface, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;
use ztna_model::Time;

/// Runs smoltcp for one flow at a time: one packet in, or one packet out, without queues.
///
/// What smoltcp calls an interface holds next to nothing (a clock, a size, a random state), so all flows share one,
/// which takes every address for its own. Each flow has a socket set of its own, since smoltcp searches through all
/// sockets of a set for each packet.
pub(crate) struct Engine {
    interface: Interface,
    wire: Wire,
}

/// smoltcp has panicked over a flow. Its sequence arithmetic asserts what a peer can make untrue; then the flow is
/// lost, and nothing else.
pub(crate) struct Broken;

impl Engine {
    pub(crate) fn new(mtu: u16) -> Self {
        let mut wire = Wire { mtu: mtu.into(), packet: vec![0; mtu.into()], length: 0 };
        Self { interface: interface(&mut wire, 0), wire }
    }

    /// How much data a segment holds at most, to or from an address of this family.
    pub(crate) const fn segment_size(&self, address: IpAddr) -> u32 {
        let headers = match address {
            IpAddr::V4(_) => 20 + 20,
            IpAddr::V6(_) => 40 + 20,
        };
        (self.wire.mtu - headers) as u32
    }

    /// Makes the next sequence number that is drawn follow from `seed`, and returns what a socket needs to draw it.
    pub(crate) fn seed(&mut self, seed: u64) -> &mut Context {
        self.interface = interface(&mut self.wire, seed);
        self.interface.context()
    }

    /// Hands a packet to the sockets. Whether there is an answer at once: then it is [`Engine::packet`].
    #[inline]
    pub(crate) fn ingest(
        &mut self,
        sockets: &mut SocketSet<'static>,
        packet: &[u8],
        now: Time,
    ) -> Result<bool, Broken> {
        let Self { interface, wire } = self;
        wire.length = 0;
        let mut arrival = Arrival { packet: Some(packet), wire };
        contained(|| interface.poll_ingress_single(instant(now), &mut arrival, sockets))?;
        Ok(wire.length > 0)
    }

    /// Lets the sockets send one packet. Whether there is one: then it is [`Engine::packet`].
    #[inline]
    pub(crate) fn egress(&mut self, sockets: &mut SocketSet<'static>, now: Time) -> Result<bool, Broken> {
        let Self { interface, wire } = self;
        wire.length = 0;
        let mut arrival = Arrival { packet: None, wire };
        contained(|| interface.poll_egress(instant(now), &mut arrival, sockets))?;
        Ok(wire.length > 0)
    }

    /// When the sockets want the clock again.
    #[inline]
    pub(crate) fn deadline(
        &mut self,
        sockets: &SocketSet<'static>,
        now: Time,
    ) -> Result<Option<Time>, Broken> {
        let at = contained(|| self.interface.poll_at(instant(now), sockets))?;
        Ok(at.map(|at| Time::from_nanos(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000))))
    }

    /// Writes a packet that no socket sends. Whether there is one.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let room = self.wire.packet.get_mut(..self.wire.mtu).unwrap_or_default();
        self.wire.length = write(room).unwrap_or(0);
        self.wire.length > 0
    }

    /// The packet that was written last.
    #[inline]
    pub(crate) fn packet(&self) -> &[u8] {
        self.wire.packet.get(..self.wire.length).unwrap_or_default()
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn packet_mut(&mut self) -> &mut [u8] {
        self.wire.packet.get_mut(..self.wire.length).unwrap_or_default()
    }
}

/// Both ends of the only wire there is: room for one packet.
struct Wire {
    mtu: usize,
    packet: Vec<u8>,
    length: usize,
}

struct Arrival<'a> {
    packet: Option<&'a [u8]>,
    wire: &'a mut Wire,
}

impl Device for Arrival<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sent<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), Sent(self.wire)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(self.wire))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.wire.mtu;
        // What arrives has been verified already.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Sent<'a>(&'a mut Wire);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let wire = self.0;
        if wire.packet.len() < length {
            wire.packet.resize(length, 0);
        }
        wire.length = length;
        let room = wire.packet.get_mut(..length).unwrap_or_default();
        // Reserved bits are not written: let them not be those of another flow's packet.
        let header = room.len().min(LONGEST_HEADER);
        room.get_mut(..header).unwrap_or_default().fill(0);
        write(room)
    }
}

fn interface(wire: &mut Wire, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut Arrival { packet: None, wire }, Instant::ZERO);
    interface.set_any_ip(true);
    interface
}

fn instant(time: Time) -> Instant {
    Instant::from_micros(i64::try_from(time.as_nanos() / 1000).unwrap_or(i64::MAX))
}

#[inline]
fn contained<R>(run: impl FnOnce() -> R) -> Result<R, Broken> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Broken)
}

/// IPv6, and TCP with all its options.
const LONGEST_HEADER: usize = 40 + 60;
