//! What the data path and the decisions cost, as ratios within one run.

use std::env;
use std::process::ExitCode;

use ztna_net::clock::Clock;

mod watch; // the CPU clock of one thread
mod measure; // laps, samples and their ratios
mod statistics; // what samples come to
mod report; // the table
mod machine; // what it was measured on
mod results; // the table, to be kept

mod seed; // repeatable chance
mod sample; // packets
mod rules; // rules and flows
mod buffer; // where datagrams are sealed into
mod joined; // two ends of a tunnel
mod streams; // two ends of many streams
mod leases; // a broker's and a device's signatures

mod groups; // what is measured: start here
mod tunnels; // and what is measured between two network namespaces

use crate::groups::{ALL, Group};
use crate::machine::Machine;
use crate::measure::Outcome;
use crate::report::Report;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, names)) if first == "tunnels" => tunnels::run(names),
        // What `tunnels` starts.
        Some((first, _)) if first == "end" => tunnels::run_end(),
        Some(_) | None => run(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the groups that are named, or all. A goal that is missed is a number to look at, not a failure.
fn run(words: &[String]) -> Outcome {
    let (flags, names): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| **flag != WRITE) {
        return Err(format!("`{unknown}` is not known: there is `{WRITE}`, and names of groups").into());
    }
    let (begun, machine) = (Clock.wall(), Machine::read());
    machine.print();
    let mut report = Report::default();
    for group in chosen(&names)? {
        (group.run)(&mut report)?;
    }
    report.conclude();
    println!("load at the end {}", machine::load());
    if !flags.is_empty() {
        println!("written to {}", results::write(begun, &machine, report.rows())?.display());
    }
    Ok(())
}

fn chosen(names: &[&String]) -> Outcome<Vec<&'static Group>> {
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|group| group.name != **name)) {
        let known: Vec<&str> = ALL.iter().map(|group| group.name).collect();
        return Err(format!("`{unknown}` is none of: {}", known.join(", ")).into());
    }
    let is_chosen = |group: &&Group| names.is_empty() || names.iter().any(|name| *name == group.name);
    Ok(ALL.iter().filter(is_chosen).collect())
}

/// Keeps the results as JSON.
const WRITE: &str = "--write";
