//! One end of a tunnel with a TUN device and a UDP port, and nothing else: what carries packets in the product, without
//! the product. It stands for it where only the path itself is to be measured.

use std::env;
use std::net::{IpAddr, SocketAddr};

use ztna_datapath::{Area, Datagrams, Datapath, Opened, Side};
use ztna_model::{
    Carrier, Cidr, LeaseId, Match, Protocol, Random as _, Rule as Terms, Secret, Time, WgPublic,
};
use ztna_net::clock::Clock;
use ztna_net::inbox::{Inbox, Post};
use ztna_net::poll::Poller;
use ztna_net::random::SystemRandom;
use ztna_net::tun::{TunBuffer, TunConfig, TunPort};
use ztna_net::udp::{Batch, Bind, UdpPort};
use ztna_policy::{Effect, Rule, Scope, Via};
use ztna_tunnel::{PeerId, Role, Tunnel};

use crate::measure::Outcome;
use crate::rules::{rules, table};
use crate::seed::Seed;

/// Runs until it is killed, with what the environment says.
pub(crate) fn run() -> Outcome {
    let mut end = End::new(&Plan::read()?)?;
    loop {
        end.turn()?;
    }
}

/// What an end is told.
struct Plan {
    side: Side,
    interface: String,
    own: IpAddr,
    peer: IpAddr,
    port: u16,
    peer_address: SocketAddr,
    mtu: u16,
    secret: Secret<[u8; 32]>,
    peer_key: WgPublic,
    offload: bool,
}

impl Plan {
    fn read() -> Outcome<Self> {
        Ok(Self {
            side: if word("ROLE")? == "a" { Side::Client } else { Side::Gateway },
            interface: word("INTERFACE")?,
            own: word("OWN_TUNNEL_ADDRESS")?.parse()?,
            peer: word("PEER_TUNNEL_ADDRESS")?.parse()?,
            port: word("OWN_PORT")?.parse()?,
            peer_address: SocketAddr::new(word("PEER_ADDRESS")?.parse()?, word("PEER_PORT")?.parse()?),
            mtu: word("MTU")?.parse()?,
            secret: Secret::new(key("PRIVATE_KEY")?),
            peer_key: WgPublic(key("PEER_PUBLIC_KEY")?),
            offload: word("OFFLOAD").is_ok_and(|word| word == "on"),
        })
    }

    /// A device's ten thousand rules, of which three let everything to the other end pass.
    fn rules(&self, peer: PeerId) -> Outcome<Vec<Rule>> {
        let (scope, via) = match self.side {
            Side::Client => (Scope::DEVICE, Via(peer.number())),
            Side::Gateway => (Scope(peer.number()), Via::SITE),
        };
        let mut seed = Seed::new(51);
        let mut all = rules(&mut seed, scope, via)?;
        let resource = match self.side {
            Side::Client => self.peer,
            Side::Gateway => self.own,
        };
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::IcmpEcho] {
            let covers = Match::Prefix(Cidr::new(resource, 32).ok_or("not an IPv4 address")?);
            let terms = Terms { resource: "all".parse()?, protocol, ports: "*".parse()?, covers };
            let lease = LeaseId(seed.array());
            all.push(Rule {
                lease,
                scope,
                via,
                terms,
                deadline: Time::MAX,
                flows: 65_536,
                effect: Effect::Allow,
            });
        }
        Ok(all)
    }
}

/// All of an end.
struct End {
    tun: TunPort,
    port: UdpPort,
    poller: Poller,
    inbox: Inbox<()>,
    /// Nobody gives orders; without it the poller would not wait.
    _post: Post<()>,
    side: Side,
    datapath: Datapath,
    peer: PeerId,
    batch: Batch,
    area: Area,
    buffer: TunBuffer,
}

impl End {
    fn new(plan: &Plan) -> Outcome<Self> {
        let now = Clock.now();
        let mut tunnel = Tunnel::new(&plan.secret, plan.mtu, now);
        let role = if plan.side == Side::Client { Role::Initiator } else { Role::Responder };
        let peer = tunnel.add_peer(plan.peer_key, None, role, &mut SystemRandom::new(), now)?;
        if plan.side == Side::Client {
            tunnel.set_carriers(peer, &[Carrier::Udp(plan.peer_address)]);
        }
        let (mut poller, post, inbox) = Poller::new(Clock, 1)?;
        let mut port = UdpPort::bind_to(Bind::V4, plan.port)?;
        let tun = TunPort::create(&TunConfig {
            name: plan.interface.clone(),
            addresses: vec![plan.own],
            offload: plan.offload,
            ..TunConfig::device(plan.mtu)
        })?;
        poller.add(&mut port)?;
        poller.add_tun(&tun)?;
        eprintln!("{}; {}", tun.path(), port.offloads());
        Ok(Self {
            datapath: Datapath::new(plan.side, tunnel, table(&plan.rules(peer)?)?),
            tun,
            port,
            poller,
            inbox,
            _post: post,
            side: plan.side,
            peer,
            batch: Batch::new(),
            area: Area::new(),
            buffer: TunBuffer::new(),
        })
    }

    fn turn(&mut self) -> Outcome {
        let deadline = self.datapath.next_wake();
        let now = self.poller.wait_with(&mut self.port, Some(&mut self.tun), &self.inbox, deadline)?;
        if !self.datapath.begin_batch(now).is_empty() {
            return Err("a rule ended".into());
        }
        self.receive()?;
        self.send()?;
        self.datapath.finish(&mut Outlet(&mut self.port));
        // What was lost is sent again by those to whom it matters.
        let _ = self.port.flush();
        Ok(())
    }

    fn receive(&mut self) -> Outcome {
        for _ in 0..BATCHES {
            if !self.port.is_readable() || !self.port.recv(&mut self.batch)? {
                break;
            }
            let mut datagrams = self.batch.datagrams().peekable();
            while datagrams.peek().is_some() {
                let mut rooms = self.area.rooms();
                let mut writer = self.tun.writer();
                while let Some(datagram) = datagrams.next_if(|datagram| rooms.fits(datagram.contents.len())) {
                    let Some(room) = rooms.room(datagram.contents.len()) else { break };
                    let (from, outlet) = (Carrier::Udp(datagram.source), &mut Outlet(&mut self.port));
                    if let Opened::Packet { packet, .. } =
                        self.datapath.open(datagram.contents, from, room, outlet)
                    {
                        writer.write(packet);
                    }
                }
                writer.finish();
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Outcome {
        let mut budget = BYTES;
        while budget > 0 && !self.port.is_blocked() && self.tun.is_readable() {
            let Some(mut burst) = self.tun.recv(&mut self.buffer)? else { break };
            budget = budget.saturating_sub(burst.bytes().len().max(LEAST));
            let outlet = &mut Outlet(&mut self.port);
            // What is denied is counted, and nobody here waits for an answer.
            let _ = match self.side {
                Side::Client => self.datapath.seal_burst(&mut burst, outlet),
                Side::Gateway => self.datapath.seal_burst_for(self.peer, &mut burst, outlet),
            };
        }
        Ok(())
    }
}

/// The send buffer of the UDP port, as tunnels see it.
struct Outlet<'a>(&'a mut UdpPort);

impl Datagrams for Outlet<'_> {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        match to {
            Carrier::Udp(address) => self.0.room(address, length),
        }
    }

    fn commit(&mut self, length: usize) {
        self.0.commit(length);
    }
}

fn word(name: &str) -> Outcome<String> {
    env::var(name).map_err(|_| format!("`{name}` is missing in the environment").into())
}

fn key(name: &str) -> Outcome<[u8; 32]> {
    let text = word(name)?;
    let bytes: Vec<u8> = (0..32)
        .map(|at| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{name}` is not a key in hexadecimal"))?;
    bytes.try_into().map_err(|_| "a key has 32 bytes".into())
}

/// How much is done in one turn: system calls that receive, and bytes that are read from the device; each packet costs
/// something, however short it is.
const BATCHES: usize = 2;
const BYTES: usize = 1 << 20;
const LEAST: usize = 2_048;
