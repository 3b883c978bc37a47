use super::Clocks;
use super::root::Root;
use super::seen::Seen;

/// Whether this process has all rights.
pub(super) fn root(uid: u32) -> Seen {
    Seen::flag(uid == 0, "geteuid")
}

/// Whether another process traces this one.
pub(super) fn debugged(root: &Root) -> Seen {
    let status = match root.text(STATUS) {
        Ok(text) => text,
        Err(error) => return Seen::unreadable(STATUS, &error),
    };
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse::<u32>().ok());
    match tracer {
        Some(process) => Seen::flag(process != 0, STATUS),
        None => Seen::unknown(format!("`{STATUS}` does not name a tracer."), STATUS),
    }
}

/// How far this device's clock is ahead of the broker's, in seconds.
pub(super) fn skew(clocks: Clocks) -> Seen {
    let Some(broker) = clocks.broker else {
        return Seen::unknown("The organisation's clock was not heard yet.", SKEW);
    };
    let ahead = clocks.device.since(broker).as_secs();
    let behind = broker.since(clocks.device).as_secs();
    let seconds = i64::try_from(ahead).unwrap_or(i64::MAX) - i64::try_from(behind).unwrap_or(i64::MAX);
    Seen::number(seconds, SKEW)
}

const STATUS: &str = "/proc/self/status";
const SKEW: &str = "the broker's time, and this clock";

#[cfg(test)]
mod tests {
    use FactKind::{DebuggerAttached, RunningAsRoot};
    use ztna_model::{FactKind, FactValue, Observed, WallTime};

    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn processes() {
        Tree::new().shows(RunningAsRoot, "no");
        Tree::new().used_by(0).shows(RunningAsRoot, "yes");
        let status = |text| Tree::new().file(STATUS, text);
        status("Name:\topenztna\nTracerPid:\t0\nUid:\t1000\n").shows(DebuggerAttached, "no");
        status("Name:\topenztna\nTracerPid:\t812\n").shows(DebuggerAttached, "yes");
        status("Name:\topenztna\n")
            .shows(DebuggerAttached, "unknown: `/proc/self/status` does not name a tracer.");
        status("TracerPid:\tmany\n").shows(DebuggerAttached, "unknown: `/proc/self/status` does not name");
        Tree::new().shows(DebuggerAttached, "unknown: There is no `/proc/self/status`.");
    }

    #[test]
    fn clocks() {
        let rows = [
            (1_000, 1_000, 0),
            (1_120, 1_000, 120),
            (1_000, 1_120, -120),
            (u64::MAX, 0, 18_446_744_073_709_551),
        ];
        for (device, broker, expected) in rows {
            let [device, broker] = [device, broker].map(WallTime::from_secs);
            let seen = skew(Clocks { device, broker: Some(broker) });
            assert_eq!(seen.observed, Observed::Value(FactValue::Number(expected)), "{device:?} {broker:?}");
        }
        let seen = skew(Clocks { device: WallTime::EPOCH, broker: None });
        assert!(
            matches!(seen.observed, Observed::Unknown(why) if why.starts_with("The organisation's clock"))
        );
    }
}
