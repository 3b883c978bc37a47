use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::Outcome;

/// A process that is ended with the measurement.
pub(crate) struct Daemon(Child);

/// What a process has used since it began.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    /// CPU seconds, its own and the kernel's on its behalf.
    pub(crate) cpu: f64,
    /// Of these, its own.
    pub(crate) user: f64,
    /// How often any of its threads went to sleep.
    pub(crate) sleeps: u64,
}

/// What a process is made of at a moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    /// KiB of memory, and of those that no file backs.
    pub(crate) resident: u64,
    pub(crate) anonymous: u64,
    /// The most so far.
    pub(crate) peak: u64,
    pub(crate) threads: u64,
}

impl Daemon {
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Fails if it has ended.
    pub(crate) fn lives(&mut self) -> Outcome {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("it ended: {status}").into()),
        }
    }

    pub(crate) fn used(&self) -> Outcome<Used> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown form of /proc/PID/stat")?;
        let ticks = |at: usize| -> Outcome<f64> { Ok(fields.split(' ').nth(at).ok_or("short")?.parse()?) };
        let (user, system) = (ticks(11)? / TICKS, ticks(12)? / TICKS);
        Ok(Used { cpu: user + system, user, sleeps: self.sleeps()? })
    }

    pub(crate) fn size(&self) -> Outcome<Size> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = |name: &str| line(&status, name);
        Ok(Size {
            resident: line("VmRSS:"),
            anonymous: line("RssAnon:"),
            peak: line("VmHWM:"),
            threads: line("Threads:"),
        })
    }

    fn sleeps(&self) -> Outcome<u64> {
        let mut sleeps = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let status = fs::read_to_string(thread?.path().join("status"));
            sleeps += status.map_or(0, |status| line(&status, "voluntary_ctxt_switches:"));
        }
        Ok(sleeps)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine's CPU seconds so far: of processes themselves, of all kinds but idle, and stolen.
#[derive(Clone, Copy)]
pub(crate) struct Busy {
    pub(crate) user: f64,
    pub(crate) all: f64,
    pub(crate) stolen: f64,
}

impl Busy {
    pub(crate) fn read() -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().ok_or("an empty /proc/stat")?;
        let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / TICKS;
        let all = [0, 1, 2, 5, 6, 7].into_iter().map(at).sum();
        Ok(Self { user: at(0) + at(1), all, stolen: at(7) })
    }
}

/// Waits until the machine has next to nothing to do for two seconds, or has had its chance.
pub(crate) fn await_quiet(patience: u64) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    for _ in 0..patience / 2 {
        let before = Busy::read()?;
        pause(Duration::from_secs(2));
        if (Busy::read()?.all - before.all) / 2.0 / cores < 0.1 {
            return Ok(());
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "to let time pass is part of measuring")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn line(text: &str, name: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Ticks a second in /proc, on every machine there is.
const TICKS: f64 = 100.0;
