use ztna_datapath::Datagrams as _;
use ztna_model::{Flow, Protocol, Random as _, Secret, Time, WgPublic};
use ztna_net::clock::Clock;
use ztna_tunnel::{Encapsulated, PeerId, Role, Tunnel};

use super::aead::{BATCH, Cipher};
use crate::buffer::SendBuffer;
use crate::joined::{LONGEST, Tunnels, here, there};
use crate::measure::{Outcome, measure};
use crate::report::{Goal, Report, Unit};
use crate::sample::segment;
use crate::seed::Seed;
use crate::watch::Watch;

/// WireGuard alone, both ends joined in memory.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("tunnel: WireGuard");
    for length in [64, 1_280, 1_420] {
        packets(report, length)?;
    }
    handshakes(report)
}

fn packets(report: &mut Report, length: u16) -> Outcome {
    let mut course = Packets::new(length)?;
    let laps = measure(|watch| course.lap(watch))?;
    for (part, bare) in [("encapsulate", "seal"), ("decapsulate", "open")] {
        report.row(format!("{part}, {length} B"), Unit::Nanoseconds, laps.of(part)?);
        report.row(format!("  the cipher's share, {length} B"), Unit::Share, &laps.ratio(bare, part)?);
    }
    Ok(())
}

/// A batch of packets through a tunnel, and the same bytes through the cipher alone.
struct Packets {
    cipher: Cipher,
    tunnels: Tunnels,
    packets: Vec<Vec<u8>>,
    sealed: SendBuffer,
}

impl Packets {
    fn new(length: u16) -> Outcome<Self> {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().map(Into::into);
        let (source, destination) = (end("198.19.0.1:50000")?, end("198.18.0.7:443")?);
        let packet = segment(&Flow { protocol: Protocol::Tcp, source, destination }, length)?;
        Ok(Self {
            cipher: Cipher::new(length.into(), BATCH)?,
            tunnels: Tunnels::join(1_420, Clock.now())?,
            packets: vec![packet; BATCH],
            sealed: SendBuffer::new(),
        })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        self.cipher.lap(watch, "seal", "open")?;
        let now = Clock.now();
        watch.time("encapsulate", BATCH as u64, || self.encapsulate(now))?;
        watch.time("decapsulate", BATCH as u64, || self.decapsulate(now))?;
        self.tunnels.settle(now)
    }

    fn encapsulate(&mut self, now: Time) -> Outcome {
        let Self { tunnels: Tunnels { client, to_gateway, .. }, sealed, .. } = self;
        sealed.clear();
        for packet in &self.packets {
            match client.encapsulate(*to_gateway, packet, sealed.free(), now)? {
                Encapsulated::Sealed { length, .. } => sealed.commit(length),
                Encapsulated::Queued => return Err("there is no session".into()),
            }
        }
        Ok(())
    }

    fn decapsulate(&mut self, now: Time) -> Outcome {
        let mut inside = [0; LONGEST];
        for datagram in self.sealed.iter() {
            self.tunnels.gateway.decapsulate(datagram, here(), &mut inside, now)?;
        }
        Ok(())
    }
}

fn handshakes(report: &mut Report) -> Outcome {
    let mut seed = Seed::new(3);
    let laps = measure(|watch| Handshakes::new(&mut seed)?.lap(watch))?;
    let both = laps.both("client", "gateway", |client, gateway| client + gateway)?;
    report.row("handshake, both ends", Unit::Nanoseconds, &both);
    report.row("handshake, at the client", Unit::Nanoseconds, laps.of("client")?);
    report.row("handshake, at the gateway", Unit::Nanoseconds, laps.of("gateway")?);
    let rate = laps.each("gateway", |pace| 1e9 / pace)?;
    report.goal("handshakes that a gateway answers", Unit::PerSecond, &rate, Goal::AtLeast(4_000.0));
    report.row(
        "handshakes refused for want of a known key",
        Unit::PerSecond,
        &laps.each("stranger", |pace| 1e9 / pace)?,
    );
    report.row("adding a peer", Unit::Nanoseconds, laps.of("add a peer")?);
    Ok(())
}

/// Clients that all shake hands with one gateway, which knows half of them.
struct Handshakes {
    gateway: Tunnel,
    clients: Vec<(Tunnel, PeerId)>,
    strangers: Vec<(Tunnel, PeerId)>,
    keys: Vec<WgPublic>,
}

impl Handshakes {
    fn new(seed: &mut Seed) -> Outcome<Self> {
        let theirs = Secret::new(seed.array());
        let gateway = Tunnel::new(&theirs, Tunnel::DEFAULT_MTU, Clock.now());
        let mut client = || client(seed, &gateway);
        let clients = (0..HANDSHAKES).map(|_| client()).collect::<Outcome<Vec<_>>>()?;
        let strangers = (0..HANDSHAKES).map(|_| client()).collect::<Outcome<Vec<_>>>()?;
        let keys = clients.iter().map(|(client, _)| client.public()).collect();
        Ok(Self { gateway, clients, strangers, keys })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        let (now, each) = (Clock.now(), HANDSHAKES as u64);
        watch.time("add a peer", each, || self.add_peers(now))?;
        let mut up = SendBuffer::new();
        watch.time("client", each, || self.initiate(&mut up, now))?;
        let mut down = SendBuffer::new();
        watch.time("gateway", each, || answer(&mut self.gateway, &up, &mut down, now))?;
        up.clear();
        watch.time("client", 0, || self.finish(&down, &mut up, now))?;
        down.clear();
        watch.time("gateway", 0, || answer(&mut self.gateway, &up, &mut down, now))?;
        let mut unasked = SendBuffer::new();
        announce(&mut self.strangers, &mut unasked, now)?;
        watch.time("stranger", each, || refuse(&mut self.gateway, &unasked, now))
    }

    fn add_peers(&mut self, now: Time) -> Outcome {
        let mut seed = Seed::new(4);
        for key in &self.keys {
            self.gateway.add_peer(*key, None, Role::Responder, &mut seed, now)?;
        }
        Ok(())
    }

    fn initiate(&mut self, up: &mut SendBuffer, now: Time) -> Outcome {
        announce(&mut self.clients, up, now)
    }

    fn finish(&mut self, down: &SendBuffer, up: &mut SendBuffer, now: Time) -> Outcome {
        if down.count() != self.clients.len() {
            return Err(format!("the gateway answered {} of {}", down.count(), self.clients.len()).into());
        }
        for ((client, _), response) in self.clients.iter_mut().zip(down.iter()) {
            client.decapsulate(response, there(), &mut [0; LONGEST], now)?;
            drain(client, up, now);
        }
        Ok(())
    }
}

fn client(seed: &mut Seed, gateway: &Tunnel) -> Outcome<(Tunnel, PeerId)> {
    let now = Clock.now();
    let mut client = Tunnel::new(&Secret::new(seed.array()), Tunnel::DEFAULT_MTU, now);
    let peer = client.add_peer(gateway.public(), None, Role::Initiator, seed, now)?;
    client.set_carriers(peer, &[there()]);
    Ok((client, peer))
}

fn announce(clients: &mut [(Tunnel, PeerId)], up: &mut SendBuffer, now: Time) -> Outcome {
    for (client, gateway) in clients {
        client.announce(*gateway, now)?;
        drain(client, up, now);
    }
    Ok(())
}

fn answer(gateway: &mut Tunnel, up: &SendBuffer, down: &mut SendBuffer, now: Time) -> Outcome {
    for datagram in up.iter() {
        gateway.decapsulate(datagram, here(), &mut [0; LONGEST], now)?;
        drain(gateway, down, now);
    }
    Ok(())
}

fn refuse(gateway: &mut Tunnel, up: &SendBuffer, now: Time) -> Outcome {
    for datagram in up.iter() {
        if gateway.decapsulate(datagram, here(), &mut [0; LONGEST], now).is_ok() {
            return Err("a stranger was let in".into());
        }
    }
    Ok(())
}

fn drain(tunnel: &mut Tunnel, out: &mut SendBuffer, now: Time) {
    while let Some(sent) = tunnel.poll(out.free(), now) {
        out.commit(sent.length);
    }
}

/// In one lap: few enough that no cookie is asked for.
const HANDSHAKES: usize = 50;
