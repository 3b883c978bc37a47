use std::env;
use std::fs;

use serde::Serialize;

/// What the numbers depend on besides the code.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    load: String,
    rustc: &'static str,
    profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

impl Machine {
    /// This machine, at this moment.
    pub(crate) fn read() -> Self {
        Self {
            cpu: cpu().unwrap_or_else(|| env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            load: load(),
            rustc: env!("BENCH_RUSTC"),
            profile: env!("BENCH_PROFILE"),
            commit: env::var(COMMIT).ok(),
        }
    }

    /// Prints what the reader of the table must know.
    pub(crate) fn print(&self) {
        let Self { cpu, cores, kernel, load, rustc, profile, commit } = self;
        println!("{cpu}, {cores} cores, Linux {kernel}, load {load}");
        println!("{rustc}, profile {profile}, commit {}", commit.as_deref().unwrap_or("not told"));
    }
}

/// How busy the machine is: the average number of threads that want to run, over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The memory of this process that nobody shares, in bytes.
pub(crate) fn own_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The environment's name for the commit that was built.
const COMMIT: &str = "BENCH_COMMIT";
