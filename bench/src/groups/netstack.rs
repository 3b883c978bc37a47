use crate::measure::{Outcome, measure};
use crate::report::{Goal, Report, Unit};
use crate::streams::{Memory, Passed, Streams, Way};
use crate::watch::Watch;

/// Streams through user-space TCP at both ends, and nothing between them.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("netstack: both ends, MTU 1280");
    let (mut one, mut few, mut many) = (connected(1)?, connected(64)?, connected(5_000)?);
    let laps = measure(|watch| {
        lap(watch, ONE, &mut one, 1, 64)?;
        lap(watch, FEW, &mut few, 64, 1)?;
        lap(watch, MANY, &mut many, 64, 1)
    })?;
    report.row("1 flow, a segment", Unit::Nanoseconds, laps.of(ONE.segment)?);
    report.row("1 flow", Unit::Gbits, &laps.each(ONE.byte, |pace| 8.0 / pace)?);
    report.row("64 flows, one segment each in turn, a segment", Unit::Nanoseconds, laps.of(FEW.segment)?);
    report.row("5,000 flows, one segment each in turn, a segment", Unit::Nanoseconds, laps.of(MANY.segment)?);
    report.row("5,000 flows", Unit::Gbits, &laps.each(MANY.byte, |pace| 8.0 / pace)?);
    let packets = laps.ratio(MANY.packet, ONE.packet)?;
    report.goal("a packet of 5,000 flows against one of 1 flow", Unit::Times, &packets, Goal::AtMost(2.0));
    report.row(
        "a segment of 5,000 flows against one of 1 flow",
        Unit::Times,
        &laps.ratio(MANY.segment, ONE.segment)?,
    );
    report.row(
        "a segment of 5,000 flows against one of 64",
        Unit::Times,
        &laps.ratio(MANY.segment, FEW.segment)?,
    );
    Ok(())
}

/// The names of what is timed at once, by what is counted.
#[derive(Clone, Copy)]
struct Names {
    byte: &'static str,
    segment: &'static str,
    packet: &'static str,
}

fn connected(number: u16) -> Outcome<Streams<Memory>> {
    Streams::connect(Memory::new(), number)
}

fn lap(
    watch: &mut Watch,
    names: Names,
    streams: &mut Streams<Memory>,
    flows: usize,
    segments: usize,
) -> Outcome {
    let train = vec![0x5a; segments * SEGMENT];
    let (passed, nanos) = Watch::spent(|| streams.pass(Way::Up, flows, &train, LAP));
    let Passed { bytes, segments, packets } = passed?;
    watch.add(names.byte, nanos, bytes);
    watch.add(names.segment, nanos, segments);
    watch.add(names.packet, nanos, packets);
    Ok(())
}

const ONE: Names = Names { byte: "byte of 1", segment: "segment of 1", packet: "packet of 1" };
const FEW: Names = Names { byte: "byte of 64", segment: "segment of 64", packet: "packet of 64" };
const MANY: Names = Names { byte: "byte of 5,000", segment: "segment of 5,000", packet: "packet of 5,000" };
/// Bytes of payload in a packet of 1280.
const SEGMENT: usize = 1_240;
/// Bytes in a lap: every flow has its turn.
const LAP: u64 = 5_000 * SEGMENT as u64;
