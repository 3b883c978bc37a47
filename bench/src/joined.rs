//! Two ends of a tunnel, joined in memory.

use std::net::SocketAddr;

use ztna_datapath::{Datapath, Opened, Side};
use ztna_model::{Carrier, Random, Secret, Time};
use ztna_net::clock::Clock;
use ztna_policy::Table;
use ztna_tunnel::{PeerId, Role, Tunnel, wg_public};

use crate::buffer::SendBuffer;
use crate::measure::Outcome;
use crate::seed::Seed;

/// The tunnels of a client and a gateway that have shaken hands.
pub(crate) struct Tunnels {
    pub(crate) client: Tunnel,
    pub(crate) gateway: Tunnel,
    /// The gateway, at the client.
    pub(crate) to_gateway: PeerId,
    /// The client, at the gateway.
    pub(crate) to_client: PeerId,
}

/// The whole of both ends, but for sockets.
pub(crate) struct Ends {
    pub(crate) client: Datapath,
    pub(crate) gateway: Datapath,
    /// The client, at the gateway.
    pub(crate) to_client: PeerId,
    /// On its way to the gateway, and back.
    pub(crate) up: SendBuffer,
    pub(crate) down: SendBuffer,
}

impl Tunnels {
    /// Two tunnels for packets of up to `mtu` bytes.
    pub(crate) fn join(mtu: u16, now: Time) -> Outcome<Self> {
        let mut seed = Seed::new(1);
        let (ours, theirs) = (Secret::new(seed.array()), Secret::new(seed.array()));
        let (mut client, mut gateway) = (Tunnel::new(&ours, mtu, now), Tunnel::new(&theirs, mtu, now));
        let to_gateway = client.add_peer(wg_public(&theirs), None, Role::Initiator, &mut seed, now)?;
        let to_client = gateway.add_peer(wg_public(&ours), None, Role::Responder, &mut seed, now)?;
        client.set_carriers(to_gateway, &[there()]);
        client.announce(to_gateway, now)?;
        let mut joined = Self { client, gateway, to_gateway, to_client };
        joined.settle(now)?;
        joined.gateway.path(to_client).ok_or("the handshake failed")?;
        Ok(joined)
    }

    /// Carries what the tunnels themselves have to say, until they have nothing more.
    pub(crate) fn settle(&mut self, now: Time) -> Outcome {
        let (mut datagram, mut inside) = ([0; LONGEST], [0; LONGEST]);
        loop {
            if let Some(sent) = self.client.poll(&mut datagram, now) {
                let sent = datagram.get(..sent.length).ok_or("too long")?;
                self.gateway.decapsulate(sent, here(), &mut inside, now)?;
            } else if let Some(sent) = self.gateway.poll(&mut datagram, now) {
                let sent = datagram.get(..sent.length).ok_or("too long")?;
                self.client.decapsulate(sent, there(), &mut inside, now)?;
            } else {
                return Ok(());
            }
        }
    }
}

impl Ends {
    /// Both ends with a table each, made for the peer that it will see.
    pub(crate) fn join(table: impl Fn(Side, PeerId) -> Outcome<Table>) -> Outcome<Self> {
        let Tunnels { client, gateway, to_gateway, to_client } =
            Tunnels::join(Tunnel::DEFAULT_MTU, Clock.now())?;
        Ok(Self {
            client: Datapath::new(Side::Client, client, table(Side::Client, to_gateway)?),
            gateway: Datapath::new(Side::Gateway, gateway, table(Side::Gateway, to_client)?),
            to_client,
            up: SendBuffer::new(),
            down: SendBuffer::new(),
        })
    }

    /// Carries what the tunnels themselves have to say: new keys, when the old ones are due.
    pub(crate) fn settle(&mut self) {
        let mut inside = [0; LONGEST];
        self.up.clear();
        self.down.clear();
        self.client.finish(&mut self.up);
        self.gateway.finish(&mut self.down);
        while self.up.count() + self.down.count() > 0 {
            let (mut up, mut down) = (SendBuffer::new(), SendBuffer::new());
            for datagram in self.up.iter() {
                let _: Opened<'_> = self.gateway.open(datagram, here(), &mut inside, &mut down);
            }
            for datagram in self.down.iter() {
                let _: Opened<'_> = self.client.open(datagram, there(), &mut inside, &mut up);
            }
            self.client.finish(&mut up);
            self.gateway.finish(&mut down);
            (self.up, self.down) = (up, down);
        }
    }
}

/// Where the client is.
pub(crate) fn here() -> Carrier {
    Carrier::Udp(SocketAddr::from(([192, 0, 2, 1], 4_000)))
}

/// Where the gateway is.
pub(crate) fn there() -> Carrier {
    Carrier::Udp(SocketAddr::from(([192, 0, 2, 2], 5_000)))
}

/// Room for any datagram.
pub(crate) const LONGEST: usize = 2_048;
