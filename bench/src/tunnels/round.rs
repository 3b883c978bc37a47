use std::time::Duration;

use super::daemon::{Daemon, Size, await_quiet, pause};
use super::kind::{Kind, Standing};
use super::lab::{Lab, Place};
use super::load::{Carried, Load, Pings, put};
use crate::measure::Outcome;

/// How long everything takes.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Seconds of each load.
    pub(crate) seconds: u64,
    /// Seconds without anything to do, in the first round.
    pub(crate) idle: u64,
    /// Seconds that each load waits at most for the machine to have nothing else to do.
    pub(crate) patience: u64,
}

/// What one round says of one tunnel.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    /// Milliseconds until the first answer, the handshake included.
    pub(crate) first: Option<f64>,
    pub(crate) quiet: Option<[f64; 2]>,
    pub(crate) idle: Option<Idle>,
    pub(crate) loads: Vec<(&'static str, Carried)>,
    /// At A and B, after all the load.
    pub(crate) sizes: Vec<Size>,
}

/// Without anything to do.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    /// How often a second A and B were woken.
    pub(crate) wakeups: [f64; 2],
    /// Datagrams that both have sent.
    pub(crate) datagrams: u64,
}

/// Starts a tunnel, measures it, and ends it.
pub(crate) fn measure(lab: &Lab, kind: Kind, pace: Pace, is_first: bool) -> Outcome<Figures> {
    let Standing { daemons, target } =
        kind.start(lab).map_err(|cause| format!("{}: {cause}", kind.name()))?;
    let first = Pings::begin(lab, &target, &["-c", "1", "-W", "5"])?.finish()?;
    let first = Some(first.ok_or_else(|| format!("{}: nothing comes through", kind.name()))?[0]);
    pause(Duration::from_secs(2));
    let idle = if is_first && !daemons.is_empty() { Some(idle(lab, &daemons, pace.idle)?) } else { None };
    await_quiet(pace.patience)?;
    let quiet = Pings::begin(lab, &target, &["-c", "1000", "-i", "0.005"])?.finish()?;
    let mut loads = Vec::new();
    for load in Load::ALL {
        await_quiet(pace.patience)?;
        loads.push((load.name, put(lab, load, &target, &daemons, pace.seconds)?));
    }
    let sizes = daemons.iter().map(Daemon::size).collect::<Outcome<_>>()?;
    Ok(Figures { first, quiet, idle, loads, sizes })
}

fn idle(lab: &Lab, daemons: &[Daemon], seconds: u64) -> Outcome<Idle> {
    let sent = || {
        Ok::<u64, Box<dyn std::error::Error>>(lab.datagrams_sent(Place::A)? + lab.datagrams_sent(Place::B)?)
    };
    // What follows a handshake is over by then.
    pause(Duration::from_secs(12));
    let (before, datagrams) = (sleeps(daemons)?, sent()?);
    pause(Duration::from_secs(seconds));
    let (after, datagrams) = (sleeps(daemons)?, sent()? - datagrams);
    let each = |at: usize| -> f64 {
        let count = |of: &[u64]| of.get(at).copied().unwrap_or(0);
        count(&after).saturating_sub(count(&before)) as f64 / seconds.max(1) as f64
    };
    Ok(Idle { wakeups: [each(0), each(1)], datagrams })
}

fn sleeps(daemons: &[Daemon]) -> Outcome<Vec<u64>> {
    daemons.iter().map(|daemon| daemon.used().map(|used| used.sleeps)).collect()
}
