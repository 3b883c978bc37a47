use std::hint::black_box;
use std::num::NonZeroU16;

use ztna_datapath::Datagrams as _;
use ztna_model::{Flow, Protocol};
use ztna_packet::{ChecksumDepth, Run, Segments, parse, rewrite};

use super::aead::{BATCH, Cipher};
use crate::buffer::SendBuffer;
use crate::measure::{Outcome, measure};
use crate::report::{Report, Unit};
use crate::sample::{HEADERS, segment};
use crate::watch::Watch;

/// Everything that is done to a packet besides sealing it.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("packet: 1280 B of TCP over IPv4");
    let mut course = Course::new()?;
    let laps = measure(|watch| course.lap(watch))?;
    for (what, part) in [
        ("read", "parse"),
        ("verify its checksums", "checksums"),
        ("move to another flow", "rewrite"),
        ("cut off a long one", "cut"),
        ("join to a long one", "join"),
    ] {
        report.row(what, Unit::Nanoseconds, laps.of(part)?);
        report.row(format!("  {what}: of what it costs to seal it"), Unit::Share, &laps.ratio(part, "seal")?);
    }
    Ok(())
}

struct Course {
    cipher: Cipher,
    packets: Vec<Vec<u8>>,
    there: Flow,
    elsewhere: Flow,
    /// As a TUN device with offload hands it out.
    long: Vec<u8>,
    cut: SendBuffer,
}

impl Course {
    fn new() -> Outcome<Self> {
        let flow = |text: &str| -> Outcome<Flow> {
            let source = "198.19.0.1:50000".parse::<std::net::SocketAddr>()?.into();
            let destination = text.parse::<std::net::SocketAddr>()?.into();
            Ok(Flow { protocol: Protocol::Tcp, source, destination })
        };
        let (there, elsewhere) = (flow("198.18.0.7:443")?, flow("10.1.2.3:8443")?);
        Ok(Self {
            cipher: Cipher::new(1_280, BATCH)?,
            packets: vec![segment(&there, 1_280)?; BATCH],
            there,
            elsewhere,
            long: segment(&there, HEADERS + SEGMENTS * SIZE.get())?,
            cut: SendBuffer::new(),
        })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        let batch = BATCH as u64;
        self.cipher.lap(watch, "seal", "open")?;
        watch.time("parse", PARSES * batch, || (0..PARSES).try_for_each(|_| self.parse()))?;
        watch.time("checksums", batch, || self.verify())?;
        let (there, elsewhere) = (self.there, self.elsewhere);
        watch.time("rewrite", 2 * batch, || {
            self.rewrite(elsewhere)?;
            self.rewrite(there)
        })?;
        watch.time("cut", SEGMENTS.into(), || self.cut())?;
        watch.time("join", SEGMENTS.into(), || self.join())
    }

    fn parse(&self) -> Outcome {
        for packet in &self.packets {
            black_box(parse(black_box(packet))?.flow());
        }
        Ok(())
    }

    fn verify(&self) -> Outcome {
        let hold =
            self.packets.iter().all(|packet| parse(packet).is_ok_and(|packet| packet.checksums_hold()));
        if hold { Ok(()) } else { Err("a checksum is wrong".into()) }
    }

    fn rewrite(&mut self, to: Flow) -> Outcome {
        self.packets.iter_mut().try_for_each(|packet| Ok(rewrite(packet, to)?))
    }

    fn cut(&mut self) -> Outcome {
        let packet = parse(&self.long)?;
        let mut segments = Segments::of(&packet, SIZE).ok_or("nothing to cut")?;
        self.cut.clear();
        while let Some(length) = segments.write_next(self.cut.free())? {
            self.cut.commit(length);
        }
        Ok(())
    }

    fn join(&self) -> Outcome {
        let mut run = Run::new();
        for segment in self.cut.iter() {
            if !run.push(&parse(segment)?) {
                return Err("a segment does not follow".into());
            }
        }
        black_box(run.header(ChecksumDepth::Whole)).map(drop).ok_or_else(|| "nothing was joined".into())
    }
}

/// Bytes of payload in a packet of 1280.
const SIZE: NonZeroU16 = NonZeroU16::new(1_240).unwrap();
const SEGMENTS: u16 = 48;
/// Reading a packet is too quick to be timed once.
const PARSES: u64 = 16;
