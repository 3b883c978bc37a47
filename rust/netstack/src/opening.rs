use thiserror::Error;
use ztna_model::{Flow, Protocol, Time};

use crate::arrivals::is_between_hosts;
use crate::netstack::Netstack;
use crate::slot::Body;
use crate::stream::{Scope, StreamId};
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Why a flow was not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConnectError {
    /// It speaks neither TCP nor UDP.
    #[error("only tcp and udp flows can be begun")]
    OtherProtocol,
    /// Its ends are not two hosts of one address family with ports.
    #[error("the ends are not two hosts of one address family")]
    BadEnds,
    /// There is such a flow already.
    #[error("there is such a flow already")]
    Taken,
    /// There are too many flows, or no source port is left.
    #[error("there are too many flows")]
    TooManyFlows,
    /// The buffers of all flows have come to what they may.
    #[error("no room is left for buffers")]
    NoBuffers,
}

/// Why a flow was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AcceptError {
    /// Nobody waits under this name, or nobody any more.
    #[error("nobody waits for an answer")]
    NotWaiting,
    /// The buffers of all flows have come to what they may. The flow has been refused.
    #[error("no room is left for buffers")]
    NoBuffers,
}

impl Netstack {
    /// Begins a flow. With the source port 0 a free one is chosen: see [`flow`](Self::flow).
    ///
    /// A TCP flow can be used from [`Event::Connected`](crate::Event::Connected) on, a flow of datagrams at once.
    pub fn connect(&mut self, scope: Scope, flow: Flow, now: Time) -> Result<StreamId, ConnectError> {
        if flow.protocol == Protocol::IcmpEcho {
            return Err(ConnectError::OtherProtocol);
        }
        let same_family = flow.source.address.is_ipv4() == flow.destination.address.is_ipv4();
        if !same_family || !is_between_hosts(&flow) || flow.destination.port == 0 {
            return Err(ConnectError::BadEnds);
        }
        if !self.flows.has_room(scope) {
            return Err(ConnectError::TooManyFlows);
        }
        let arriving = self.free_arriving(scope, flow)?;
        let buffer = self.flows.next_buffers(scope).ok_or(ConnectError::NoBuffers)?;
        let body = match flow.protocol {
            Protocol::Tcp => {
                let (seed, socket) = (self.flows.seed(scope, &arriving), self.flows.socket(buffer));
                Body::Tcp(Tcp::connect(&mut self.engine, seed, &arriving, socket))
            }
            Protocol::Udp | Protocol::IcmpEcho => Body::Udp(Udp::new(buffer, now)),
        };
        let number = self.flows.open(scope, arriving, true, body).map_err(|_| ConnectError::TooManyFlows)?;
        self.mark_ready(number);
        Ok(self.flows.name(number))
    }

    /// Lets a waiting flow in: TCP goes on with its handshake until [`Event::Connected`](crate::Event::Connected),
    /// datagrams can be read.
    pub fn accept(&mut self, stream: StreamId, now: Time) -> Result<(), AcceptError> {
        let slot = self.flows.named(stream).filter(|slot| slot.waiting).ok_or(AcceptError::NotWaiting)?;
        let (scope, arriving) = (slot.scope, slot.arriving);
        if let Body::Wanted(syn) = &slot.body {
            let syn = *syn;
            let seed = self.flows.seed(scope, &arriving);
            let Some(buffer) = self.flows.next_buffers(scope) else {
                self.refuse(stream);
                return Err(AcceptError::NoBuffers);
            };
            let socket = self.flows.socket(buffer);
            let tcp = Tcp::accept(&mut self.engine, seed, &arriving, &syn, socket, now);
            self.flows.connect(stream.index, tcp);
        }
        self.flows.answered(stream.index);
        self.mark_ready(stream.index);
        self.mark_telling(stream.index);
        Ok(())
    }

    /// Turns a waiting flow away: TCP by a reset, datagrams by ICMP *administratively prohibited*.
    pub fn refuse(&mut self, stream: StreamId) {
        if self.flows.named(stream).is_some_and(|slot| slot.waiting) {
            self.abort(stream);
        }
    }

    /// Whose flow this is, and which, seen from the packets of whoever began it.
    pub fn flow(&mut self, stream: StreamId) -> Option<(Scope, Flow)> {
        self.flows.named(stream).map(|slot| (slot.scope, slot.flow()))
    }

    /// Whether there is a flow whose packets arrive like this.
    pub fn has_flow(&mut self, scope: Scope, arriving: &Flow) -> bool {
        self.flows.find(scope, arriving).is_some()
    }

    /// The flow as its packets will arrive, with a source port that makes it unlike any other.
    fn free_arriving(&mut self, scope: Scope, flow: Flow) -> Result<Flow, ConnectError> {
        if flow.source.port != 0 {
            return self
                .is_free(scope, &flow.reversed())
                .then_some(flow.reversed())
                .ok_or(ConnectError::Taken);
        }
        // From an unpredictable port on (RFC 6056).
        let first = self.flows.seed(scope, &flow) as u16;
        for step in 0..EPHEMERAL {
            let mut arriving = flow.reversed();
            arriving.destination.port = FIRST_EPHEMERAL + first.wrapping_add(step) % EPHEMERAL;
            if self.is_free(scope, &arriving) {
                return Ok(arriving);
            }
        }
        Err(ConnectError::TooManyFlows)
    }

    fn is_free(&mut self, scope: Scope, arriving: &Flow) -> bool {
        let Some(number) = self.flows.find(scope, arriving) else { return true };
        let lingers = self.flows.slot(number).is_some_and(|slot| matches!(slot.body, Body::Lingering(_)));
        if lingers {
            self.flows.forget(number);
            self.flows.release(number);
        }
        lingers
    }
}

/// The ports for those who do not choose (RFC 6335, section 6).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u16 = 16_384;
