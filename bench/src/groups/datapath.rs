use std::hint::black_box;

use ztna_datapath::{Datapath, Opened, Sealed, Side};
use ztna_model::{Flow, Protocol};
use ztna_net::clock::Clock;
use ztna_packet::parse;
use ztna_policy::{Rule, Scope, Table, Verdict, Via};

use super::aead::{BATCH, Cipher};
use crate::buffer::SendBuffer;
use crate::joined::{Ends, LONGEST, here, there};
use crate::measure::{Laps, Outcome, measure};
use crate::report::{Goal, Report, Unit};
use crate::rules::{covered, rules, table};
use crate::sample::segment;
use crate::seed::Seed;
use crate::watch::Watch;

/// A packet from one end to the other: read, judged, sealed into the send buffer; opened, read, judged.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("datapath: 1280 B, 10,000 rules");
    // One flow at full speed, and the worst case: no two packets of a batch belong together.
    for flows in [1, BATCH] {
        let mut course = Course::new(flows)?;
        let laps = measure(|watch| course.lap(watch))?;
        path(report, &laps, flows)?;
        judgement(report, &laps, flows)?;
    }
    Ok(())
}

fn path(report: &mut Report, laps: &Laps, flows: usize) -> Outcome {
    for (what, part, bare) in [
        ("seal at the client", "client seals", "seal"),
        ("open at the gateway", "gateway opens", "open"),
        ("seal at the gateway", "gateway seals", "seal"),
        ("open at the client", "client opens", "open"),
    ] {
        report.row(format!("{flows} in turn: {what}"), Unit::Nanoseconds, laps.of(part)?);
        let share = laps.ratio(bare, part)?;
        report.goal("  the cipher's share", Unit::Share, &share, Goal::AtLeast(0.85));
    }
    report.row("  of all this, to begin and to finish a batch", Unit::Nanoseconds, laps.of("nothing")?);
    Ok(())
}

fn judgement(report: &mut Report, laps: &Laps, flows: usize) -> Outcome {
    report.row(format!("{flows} in turn: look-up in the flow table"), Unit::Nanoseconds, laps.of("lookup")?);
    let share = laps.ratio("lookup", "client seals")?;
    report.goal("  its share of sealing at the client", Unit::Share, &share, Goal::AtMost(0.03));
    report.row("  and reading the packet", Unit::Nanoseconds, laps.of("judge")?);
    report.row("  their share of sealing at the client", Unit::Share, &laps.ratio("judge", "client seals")?);
    Ok(())
}

struct Course {
    cipher: Cipher,
    ends: Ends,
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    flows: Vec<Flow>,
    /// What a client answers to what it opens.
    nothing: SendBuffer,
}

impl Course {
    fn new(number: usize) -> Outcome<Self> {
        let mut seed = Seed::new(21);
        let at_client = rules(&mut seed, Scope::DEVICE, Via::SITE)?;
        let ends = Ends::join(|side, peer| {
            let (scope, via) = match side {
                Side::Client => (Scope::DEVICE, Via(peer.number())),
                Side::Gateway => (Scope(peer.number()), Via::SITE),
            };
            table(&at_client.iter().map(|rule| Rule { scope, via, ..rule.clone() }).collect::<Vec<_>>())
        })?;
        let covered = covered(&mut seed, &at_client, 8 * BATCH)?;
        let tcp = covered.iter().filter(|flow| flow.protocol == Protocol::Tcp).take(number);
        let flows: Vec<Flow> = tcp.cycle().take(BATCH).copied().collect();
        Ok(Self {
            cipher: Cipher::new(LENGTH.into(), BATCH)?,
            ends,
            up: flows.iter().map(|flow| segment(flow, LENGTH)).collect::<Outcome<_>>()?,
            down: flows.iter().map(|flow| segment(&flow.reversed(), LENGTH)).collect::<Outcome<_>>()?,
            flows,
            nothing: SendBuffer::new(),
        })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        let batch = BATCH as u64;
        self.cipher.lap(watch, "seal", "open")?;
        let Self { ends: Ends { client, gateway, to_client, up, down }, .. } = self;
        let mut inside = [0; LONGEST];
        up.clear();
        down.clear();
        watch.time("client seals", batch, || {
            handle(client, &self.up, up, |client, packet, up| client.seal(packet, up) == Sealed::Sent)
        })?;
        let sealed: Vec<&[u8]> = up.iter().collect();
        watch.time("gateway opens", batch, || {
            handle(gateway, &sealed, down, |gateway, datagram, down| {
                let opened = gateway.open(datagram, here(), &mut inside, down);
                matches!(opened, Opened::Packet { .. })
            })
        })?;
        down.clear();
        watch.time("gateway seals", batch, || {
            handle(gateway, &self.down, down, |gateway, packet, down| {
                gateway.seal_for(*to_client, packet, down) == Sealed::Sent
            })
        })?;
        let sealed: Vec<&[u8]> = down.iter().collect();
        watch.time("client opens", batch, || {
            handle(client, &sealed, &mut self.nothing, |client, datagram, nothing| {
                let opened = client.open(datagram, there(), &mut inside, nothing);
                matches!(opened, Opened::Packet { .. })
            })
        })?;
        watch.time("nothing", batch, || handle(client, &[[]; 0], &mut self.nothing, |_, _, _| true))?;
        watch.time("lookup", TURNS * batch, || {
            (0..TURNS).for_each(|_| look_up(&mut client.table, &self.flows));
        });
        watch.time("judge", TURNS * batch, || (0..TURNS).for_each(|_| judge(&mut client.table, &self.up)));
        self.ends.settle();
        Ok(())
    }
}

/// Handles a batch as a data thread does: the clock is read once, and what the tunnel has to say is sent with it.
fn handle<P: AsRef<[u8]>>(
    end: &mut Datapath,
    packets: &[P],
    out: &mut SendBuffer,
    mut handle: impl FnMut(&mut Datapath, &[u8], &mut SendBuffer) -> bool,
) -> Outcome {
    if !end.begin_batch(Clock.now()).is_empty() {
        return Err("a rule ended".into());
    }
    if !packets.iter().all(|packet| handle(end, packet.as_ref(), out)) {
        return Err("a packet was dropped".into());
    }
    end.finish(out);
    Ok(())
}

#[inline(never)]
fn look_up(table: &mut Table, flows: &[Flow]) {
    for flow in flows {
        let _: Verdict = black_box(table.outgoing(Scope::DEVICE, black_box(flow), LENGTH.into()));
    }
}

#[inline(never)]
fn judge(table: &mut Table, packets: &[Vec<u8>]) {
    for packet in packets {
        let flow = parse(black_box(packet)).ok().and_then(|packet| packet.flow());
        let judged = flow.map(|flow| table.outgoing(Scope::DEVICE, &flow, packet.len()));
        let _: Option<Verdict> = black_box(judged);
    }
}

const LENGTH: u16 = 1_280;
/// A lookup is too quick to be timed once.
const TURNS: u64 = 16;
