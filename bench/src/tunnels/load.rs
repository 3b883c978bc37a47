use std::process::{Child, Stdio};

use serde::Deserialize;

use super::daemon::{Busy, Daemon, Used};
use super::lab::{Lab, Place};
use crate::measure::Outcome;

/// One way of putting load on a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    streams: u8,
    /// From B to A, over connections that A has opened.
    back: bool,
}

impl Load {
    pub(crate) const ALL: [Self; 4] = [
        Self { name: "1 stream", streams: 1, back: false },
        Self { name: "4 streams", streams: 4, back: false },
        Self { name: "1 stream back", streams: 1, back: true },
        Self { name: "4 streams back", streams: 4, back: true },
    ];
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) gbits: f64,
    /// CPU seconds of the daemons at A and B for each GB that the receiver got.
    pub(crate) cpu_a: f64,
    pub(crate) cpu_b: f64,
    pub(crate) retransmits: u64,
    /// Shares of the machine's cores: of processes that have no part in it, and of the host's other guests.
    pub(crate) foreign: f64,
    pub(crate) stolen: f64,
    /// Milliseconds there and back meanwhile: half of them, and 99 of 100.
    pub(crate) rtt: Option<[f64; 2]>,
}

/// Puts `load` on the tunnel to `target` for some seconds.
pub(crate) fn put(lab: &Lab, load: Load, target: &str, daemons: &[Daemon], seconds: u64) -> Outcome<Carried> {
    let server = serve(lab)?;
    let before = Readings::take(daemons)?;
    let mut client = lab.command(Place::A, "iperf3");
    client.args(["-c", target, "--json", "-t", &seconds.to_string(), "-P", &load.streams.to_string()]);
    if load.back {
        client.arg("-R");
    }
    let client = client.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let pings =
        Pings::begin(lab, target, &["-i", "0.02", "-w", &seconds.saturating_sub(1).max(1).to_string()])?;
    let rtt = pings.finish()?;
    let output = client.wait_with_output()?;
    let after = Readings::take(daemons)?;
    drop(server);
    let report: Report = serde_json::from_slice(&output.stdout)
        .map_err(|cause| format!("iperf3: {cause}: {}", String::from_utf8_lossy(&output.stdout)))?;
    Ok(report.end.carried(&before, &after, rtt, seconds))
}

fn serve(lab: &Lab) -> Outcome<Daemon> {
    let mut server = lab.command(Place::B, "iperf3");
    server.args(["-s", "-1"]);
    let server = Daemon::start(server)?;
    for _ in 0..200 {
        let listening = lab.command(Place::B, "ss").args(["-Htln", "sport", "=", "5201"]).output()?;
        if !listening.stdout.is_empty() {
            return Ok(server);
        }
        super::daemon::pause(std::time::Duration::from_millis(10));
    }
    Err("iperf3 does not listen".into())
}

/// What everybody had used up to a moment.
struct Readings {
    daemons: Vec<Used>,
    machine: Busy,
}

impl Readings {
    fn take(daemons: &[Daemon]) -> Outcome<Self> {
        Ok(Self {
            daemons: daemons.iter().map(Daemon::used).collect::<Outcome<_>>()?,
            machine: Busy::read()?,
        })
    }
}

/// `iperf3 --json`, as far as it matters.
#[derive(Deserialize)]
struct Report {
    end: End,
}

#[derive(Deserialize)]
struct End {
    sum_sent: Sum,
    sum_received: Sum,
    cpu_utilization_percent: Utilization,
}

#[derive(Deserialize)]
struct Sum {
    bytes: f64,
    bits_per_second: f64,
    #[serde(default)]
    retransmits: u64,
}

#[derive(Deserialize)]
struct Utilization {
    host_user: f64,
    remote_user: f64,
}

impl End {
    fn carried(&self, before: &Readings, after: &Readings, rtt: Option<[f64; 2]>, seconds: u64) -> Carried {
        let gigabytes = self.sum_received.bytes / 1e9;
        let daemons: Vec<(f64, f64)> = before
            .daemons
            .iter()
            .zip(&after.daemons)
            .map(|(before, after)| (after.cpu - before.cpu, after.user - before.user))
            .collect();
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let all = seconds as f64 * cores;
        let Utilization { host_user, remote_user } = self.cpu_utilization_percent;
        let ours = daemons.iter().map(|(_, user)| user).sum::<f64>()
            + (host_user + remote_user) / 100.0 * seconds as f64;
        let cpu = |at: usize| daemons.get(at).map_or(0.0, |(cpu, _)| cpu / gigabytes);
        Carried {
            gbits: self.sum_received.bits_per_second / 1e9,
            cpu_a: cpu(0),
            cpu_b: cpu(1),
            retransmits: self.sum_sent.retransmits,
            foreign: ((after.machine.user - before.machine.user - ours) / all).max(0.0),
            stolen: (after.machine.stolen - before.machine.stolen) / all,
            rtt,
        }
    }
}

/// Pings from A that are under way.
pub(crate) struct Pings(Child);

impl Pings {
    pub(crate) fn begin(lab: &Lab, target: &str, how: &[&str]) -> Outcome<Self> {
        let mut ping = lab.command(Place::A, "ping");
        ping.args(["-n"]).args(how).arg(target);
        Ok(Self(ping.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?))
    }

    /// Milliseconds there and back: half of the answers came in the first, 99 of 100 in the second.
    pub(crate) fn finish(self) -> Outcome<Option<[f64; 2]>> {
        let output = self.0.wait_with_output()?;
        let mut times: Vec<f64> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok())
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            times.get(((times.len() as f64 * share) as usize).min(times.len().max(1) - 1)).copied()
        };
        Ok(at(0.5).zip(at(0.99)).map(|(half, most)| [half, most]))
    }
}
