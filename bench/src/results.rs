use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use ztna_model::{Date, WallTime};

use crate::machine::{self, Machine};
use crate::measure::{Outcome, SAMPLE, repeats};
use crate::report::Row;

/// One run, as it is kept.
#[derive(Serialize)]
struct Results<'a> {
    begun: String,
    machine: &'a Machine,
    load_at_end: String,
    repeats: usize,
    sample_ms: u64,
    rows: &'a [Row],
}

/// Writes the rows of a run that began at `begun` beside those of earlier runs, and says where.
pub(crate) fn write(begun: WallTime, machine: &Machine, rows: &[Row]) -> Outcome<PathBuf> {
    let results = Results {
        begun: stamp(begun),
        machine,
        load_at_end: machine::load(),
        repeats: repeats(),
        sample_ms: SAMPLE / 1_000_000,
        rows,
    };
    keep(&format!("in-memory-{}.json", results.begun), &results)
}

/// Writes all rounds of tunnels, `seconds` for each load.
pub(crate) fn write_tunnels(
    begun: WallTime,
    machine: &Machine,
    seconds: u64,
    rows: Value,
) -> Outcome<PathBuf> {
    let begun = stamp(begun);
    let name = format!("tunnels-{begun}.json");
    let load_at_end = machine::load();
    keep(
        &name,
        &json!({"begun": begun, "machine": machine, "load_at_end": load_at_end, "seconds": seconds, "tunnels": rows}),
    )
}

fn keep(name: &str, results: &impl Serialize) -> Outcome<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results"));
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    Ok(path)
}

/// Date and time of day in UTC (RFC 3339), without what file names do not like.
fn stamp(time: WallTime) -> String {
    let (day, second) = (Date::of(time), time.as_secs() % 86_400);
    format!("{day}T{:02}{:02}{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_second() {
        assert_eq!(stamp(WallTime::from_secs(0)), "1970-01-01T000000Z");
        assert_eq!(stamp(WallTime::from_secs(86_400 + 3_600 + 125)), "1970-01-02T010205Z");
    }
}
