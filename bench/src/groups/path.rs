use ztna_datapath::{Opened, Sealed, Side};
use ztna_model::{LeaseId, Match, Protocol, Random as _, Rule as Terms, Time};
use ztna_netstack::{Netstack, Scope as Streaming};
use ztna_policy::{Effect, Rule, Scope, Via};

use super::aead::{BATCH, Cipher};
use crate::joined::{Ends, LONGEST, here, there};
use crate::measure::{Outcome, measure};
use crate::report::{Report, Unit};
use crate::rules::{rules, table};
use crate::seed::Seed;
use crate::streams::{Memory, PORT, RESOURCE, Streams, Way, Wire};
use crate::watch::Watch;

/// What a local proxy's bytes go through, both ends on one core: TCP, flow table, WireGuard; WireGuard, flow table,
/// TCP.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("path: proxy to application without sockets, MTU 1280, 10,000 rules");
    let mut cipher = Cipher::new(1_280, BATCH)?;
    let mut bare = Streams::connect(Memory::new(), 1)?;
    let mut whole = Streams::connect(Tunnel::new()?, 1)?;
    let laps = measure(|watch| {
        cipher.lap(watch, "seal", "open")?;
        lap(watch, &mut bare, Way::Up, ["bare byte", "bare segment"])?;
        lap(watch, &mut whole, Way::Up, ["byte up", "segment up"])?;
        lap(watch, &mut whole, Way::Down, ["byte down", "segment down"])
    })?;
    for (what, byte, segment) in [
        ("to the application", "byte up", "segment up"),
        ("from the application", "byte down", "segment down"),
    ] {
        report.row(what, Unit::Gbits, &laps.each(byte, |pace| 8.0 / pace)?);
        report.row(format!("{what}, a segment"), Unit::Nanoseconds, laps.of(segment)?);
        report.row("  TCP's share", Unit::Share, &laps.ratio("bare segment", segment)?);
        let cipher = laps.both("seal", "open", |seal, open| seal + open)?;
        let share: Vec<f64> =
            cipher.iter().zip(laps.of(segment)?).map(|(cipher, all)| cipher / all).collect();
        report.row("  the cipher's share, acknowledgements aside", Unit::Share, &share);
    }
    Ok(())
}

fn lap<W: Wire>(
    watch: &mut Watch,
    streams: &mut Streams<W>,
    way: Way,
    [byte, segment]: [&'static str; 2],
) -> Outcome {
    let train = [0x5a; 64 * 1_240];
    let (passed, nanos) = Watch::spent(|| streams.pass(way, 1, &train, LAP));
    let passed = passed?;
    watch.add(byte, nanos, passed.bytes);
    watch.add(segment, nanos, passed.segments);
    Ok(())
}

/// Both ends of a tunnel between the netstacks.
struct Tunnel(Ends);

impl Tunnel {
    fn new() -> Outcome<Self> {
        let mut rules = rules(&mut Seed::new(31), Scope::DEVICE, Via::SITE)?;
        rules.push(granted()?);
        let ends = Ends::join(|side, peer| {
            let (scope, via) = match side {
                Side::Client => (Scope::DEVICE, Via(peer.number())),
                Side::Gateway => (Scope(peer.number()), Via::SITE),
            };
            table(&rules.iter().map(|rule| Rule { scope, via, ..rule.clone() }).collect::<Vec<_>>())
        })?;
        Ok(Self(ends))
    }
}

impl Wire for Tunnel {
    fn begin(&mut self, now: Time) -> Outcome {
        let Ends { client, gateway, up, down, .. } = &mut self.0;
        up.clear();
        down.clear();
        let ended = client.begin_batch(now).len() + gateway.begin_batch(now).len();
        if ended == 0 { Ok(()) } else { Err("a rule ended".into()) }
    }

    fn send(&mut self, way: Way, packet: &[u8]) -> Outcome {
        let Ends { client, gateway, to_client, up, down } = &mut self.0;
        let sealed = match way {
            Way::Up => client.seal(packet, up),
            Way::Down => gateway.seal_for(*to_client, packet, down),
        };
        if sealed == Sealed::Sent { Ok(()) } else { Err(format!("{sealed:?}").into()) }
    }

    fn deliver(&mut self, way: Way, to: &mut Netstack, now: Time) -> Outcome {
        let Ends { client, gateway, up, down, .. } = &mut self.0;
        let (sender, sent, receiver, answers, from) = match way {
            Way::Up => (client, up, gateway, down, here()),
            Way::Down => (gateway, down, client, up, there()),
        };
        sender.finish(sent);
        let mut inside = [0; LONGEST];
        for datagram in sent.iter() {
            match receiver.open(datagram, from, &mut inside, answers) {
                Opened::Packet { packet, .. } => to.handle_packet(Streaming(1), packet, now)?,
                Opened::Notice { .. } | Opened::Query { .. } | Opened::Answer { .. } | Opened::Nothing => {}
                Opened::Denied { reason, .. } => return Err(reason.to_string().into()),
            }
        }
        Ok(())
    }
}

/// The rule that the connections live under.
fn granted() -> Outcome<Rule> {
    let terms = Terms {
        resource: "wiki".parse()?,
        protocol: Protocol::Tcp,
        ports: PORT.to_string().parse()?,
        covers: Match::Name { name: "wiki.demo".parse()?, synthetic: RESOURCE },
    };
    let (scope, via, deadline, effect) = (Scope::DEVICE, Via::SITE, Time::MAX, Effect::Allow);
    Ok(Rule { lease: LeaseId(Seed::new(32).array()), scope, via, terms, deadline, flows: 64, effect })
}

/// Bytes in a lap.
const LAP: u64 = 4 << 20;
