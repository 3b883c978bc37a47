//! Whole tunnels between two network namespaces: ours beside its rivals, taking turns within each round.

use std::env;

use ztna_net::clock::Clock;

mod lab; // two namespaces and a cable
mod keys; // of both ends, as each program writes them
mod daemon; // a process that carries packets, and what it uses
mod kind; // what is compared, and how each is started
mod load; // what is sent through it
mod round; // what is measured of one tunnel
mod table; // all rounds beside one another
mod end; // the path of the product by itself

pub(crate) use end::run as run_end;

use crate::machine::Machine;
use crate::measure::Outcome;
use crate::results;
use kind::Kind;
use lab::Lab;
use round::{Figures, Pace};
use table::Table;

/// Measures the kinds that are named, or all that this machine has, and keeps the figures.
pub(crate) fn run(names: &[String]) -> Outcome {
    let (begun, machine) = (Clock.wall(), Machine::read());
    machine.print();
    let pace = Pace {
        seconds: number("BENCH_SECONDS", 10)?,
        idle: number("BENCH_IDLE", 10)?,
        patience: number("BENCH_PATIENCE", 60)?,
    };
    let rounds = number("BENCH_ROUNDS", 3)?;
    kind::check_tools()?;
    let lab = Lab::build()?;
    let kinds = Kind::chosen(names)?;
    let mut table = Table::default();
    for round in 1..=rounds {
        for kind in &kinds {
            eprintln!("round {round} of {rounds}: {}", kind.name());
            let figures: Figures = round::measure(&lab, *kind, pace, round == 1)?;
            table.add(*kind, figures);
        }
    }
    table.print();
    let kept = results::write_tunnels(begun, &machine, pace.seconds, table.rows())?;
    println!("written to {}", kept.display());
    Ok(())
}

fn number(name: &str, otherwise: u64) -> Outcome<u64> {
    match env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("`{name}` is not a number: `{text}`").into()),
        Err(_) => Ok(otherwise),
    }
}
