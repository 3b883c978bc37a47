use std::hint::black_box;
use std::num::NonZeroU16;

use ztna_datapath::{Area, Opened, Sealed, Side};
use ztna_model::Protocol;
use ztna_net::clock::Clock;
use ztna_packet::{Burst, ChecksumDepth, Run, Segments, parse};
use ztna_policy::{Rule, Scope, Via};

use super::aead::{BATCH, Cipher};
use crate::buffer::SendBuffer;
use crate::joined::{Ends, here};
use crate::measure::{Laps, Outcome, measure};
use crate::report::{Goal, Report, Unit};
use crate::rules::{covered, rules, table};
use crate::sample::{HEADERS, segment};
use crate::seed::Seed;
use crate::watch::Watch;

/// What a TUN device with offload hands out, from one end to the other: judged once, cut where it lies and sealed;
/// opened and judged one by one, and joined again.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("burst: 48 segments of 1280 B, 10,000 rules");
    let mut course = Course::new()?;
    let laps: Laps = measure(|watch| course.lap(watch))?;
    report.row("seal at the client, a segment", Unit::Nanoseconds, laps.of("burst")?);
    let share = laps.ratio("seal", "burst")?;
    report.goal("  the cipher's share", Unit::Share, &share, Goal::AtLeast(0.85));
    report.row(
        "  beside cutting elsewhere and sealing one by one",
        Unit::Share,
        &laps.ratio("burst", "piecemeal")?,
    );
    report.row("open at the gateway and join, a segment", Unit::Nanoseconds, laps.of("join")?);
    report.row("  the cipher's share", Unit::Share, &laps.ratio("open", "join")?);
    Ok(())
}

struct Course {
    cipher: Cipher,
    ends: Ends,
    long: Vec<u8>,
    room: Vec<u8>,
    segment: Vec<u8>,
    area: Area,
    nothing: SendBuffer,
}

impl Course {
    fn new() -> Outcome<Self> {
        let mut seed = Seed::new(41);
        let at_client = rules(&mut seed, Scope::DEVICE, Via::SITE)?;
        let ends = Ends::join(|side, peer| {
            let (scope, via) = match side {
                Side::Client => (Scope::DEVICE, Via(peer.number())),
                Side::Gateway => (Scope(peer.number()), Via::SITE),
            };
            table(&at_client.iter().map(|rule| Rule { scope, via, ..rule.clone() }).collect::<Vec<_>>())
        })?;
        let flows = covered(&mut seed, &at_client, BATCH)?;
        let flow = flows.iter().find(|flow| flow.protocol == Protocol::Tcp).ok_or("no flow of TCP")?;
        let long = segment(flow, HEADERS + SEGMENTS * SIZE.get())?;
        Ok(Self {
            cipher: Cipher::new(1_280, SEGMENTS.into())?,
            ends,
            room: long.clone(),
            long,
            segment: vec![0; 1_280],
            area: Area::new(),
            nothing: SendBuffer::new(),
        })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        let pieces = u64::from(SEGMENTS);
        self.cipher.lap(watch, "seal", "open")?;
        watch.time("piecemeal", pieces, || self.seal_one_by_one())?;
        self.room.copy_from_slice(&self.long);
        watch.time("burst", pieces, || self.seal())?;
        watch.time("join", pieces, || self.open())?;
        self.ends.settle();
        Ok(())
    }

    fn seal(&mut self) -> Outcome {
        let Ends { client, up, .. } = &mut self.ends;
        up.clear();
        let _ended = client.begin_batch(Clock.now());
        let length = self.room.len();
        let mut burst = Burst::new(&mut self.room, length, Some(SIZE), ChecksumDepth::PseudoHeader);
        if client.seal_burst(&mut burst, up) != Sealed::Sent {
            return Err("a burst was dropped".into());
        }
        client.finish(up);
        Ok(())
    }

    fn seal_one_by_one(&mut self) -> Outcome {
        let Ends { client, up, .. } = &mut self.ends;
        up.clear();
        let _ended = client.begin_batch(Clock.now());
        let mut segments = Segments::of(&parse(&self.long)?, SIZE).ok_or("nothing to cut")?;
        while let Some(length) = segments.write_next(&mut self.segment)? {
            let packet = self.segment.get(..length).ok_or("too long")?;
            if client.seal(packet, up) != Sealed::Sent {
                return Err("a segment was dropped".into());
            }
        }
        client.finish(up);
        Ok(())
    }

    fn open(&mut self) -> Outcome {
        let Ends { gateway, up, .. } = &mut self.ends;
        let _ended = gateway.begin_batch(Clock.now());
        let (mut rooms, mut run) = (self.area.rooms(), Run::new());
        for datagram in up.iter() {
            let room = rooms.room(datagram.len()).ok_or("a full area")?;
            let opened = gateway.open(datagram, here(), room, &mut self.nothing);
            let Opened::Packet { packet, .. } = opened else { return Err("a packet was dropped".into()) };
            if !run.push(&parse(packet)?) {
                return Err("a segment does not follow".into());
            }
        }
        gateway.finish(&mut self.nothing);
        black_box(run.header(ChecksumDepth::PseudoHeader))
            .map(drop)
            .ok_or_else(|| "nothing was joined".into())
    }
}

/// Bytes of payload in a packet of 1280.
const SIZE: NonZeroU16 = NonZeroU16::new(1_240).unwrap();
const SEGMENTS: u16 = 48;
