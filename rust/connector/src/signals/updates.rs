use ztna_model::{Date, WallTime};

use super::root::Root;
use super::seen::Seen;

/// Days since packages were last updated.
///
/// Only what says *update* counts: that a package list was fetched, or a package was installed or removed,
/// says nothing about the others. One package's update counts like that of all, since no log says which ones
/// wait. Logs hold local dates, so a day may be off by one.
pub(super) fn age(root: &Root, now: WallTime) -> Seen {
    let found = LOGS.iter().filter_map(|log| log.last_update(root)).chain(unattended(root));
    if let Some((date, source)) = found.max() {
        let days = Date::of(now).days_since(date);
        return Seen::number(if days == -1 { 0 } else { days }, source);
    }
    let present = LOGS.iter().find(|log| log.paths.iter().any(|path| root.has(path)));
    match present.and_then(|log| log.paths.first()) {
        _ if root.has(DNF5) => {
            Seen::unknown("This system keeps its updates in a database of dnf, which is not read.", DNF5)
        }
        Some(path) => match root.tail(path) {
            Ok(_) => Seen::unknown(format!("No update is on record in `{path}`."), *path),
            Err(error) => Seen::unreadable(path, &error),
        },
        None => Seen::unknown("No record of updates was found.", "/var/log"),
    }
}

/// How one family of systems writes its log of packages.
struct Log {
    /// The log, then the one before it.
    paths: &'static [&'static str],
    /// The date on a line that tells of an update.
    date: fn(&str) -> Option<Date>,
}

impl Log {
    fn last_update(&self, root: &Root) -> Option<(Date, &'static str)> {
        if self.paths.contains(&DNF) && root.has(DNF5) {
            return None; // what an older system left behind
        }
        self.paths.iter().find_map(|path| {
            let log = root.tail(path).ok()?;
            log.lines().rev().find_map(self.date).map(|date| (date, *path))
        })
    }
}

/// Debian and its relatives also leave a mark when unattended upgrades ran and may have found nothing to do.
fn unattended(root: &Root) -> Option<(Date, &'static str)> {
    root.changed(UNATTENDED).map(|time| (Date::of(time), UNATTENDED))
}

/// dpkg: `2026-11-20 06:12:09 upgrade curl:amd64 8.14.1-2 8.14.1-2+deb13u1`
fn dpkg(line: &str) -> Option<Date> {
    let mut words = line.split(' ');
    let date = words.next()?;
    (words.nth(1)? == "upgrade").then(|| date.parse().ok())?
}

/// dnf 4: `2026-11-20T06:12:09+0100 SUBDEBUG Upgrade: curl-8.11.1-5.el10.x86_64`
fn dnf(line: &str) -> Option<Date> {
    let mut words = line.split(' ');
    let date = words.next()?.split('T').next()?;
    matches!(words.nth(1)?, "Upgrade:" | "Upgraded:").then(|| date.parse().ok())?
}

/// pacman: `[2026-11-20T06:12:09+0100] [ALPM] upgraded curl (8.16.0-1 -> 8.17.0-1)`
fn pacman(line: &str) -> Option<Date> {
    let (time, action) = line.strip_prefix('[')?.split_once("] ")?;
    let date = time.split(['T', ' ']).next()?;
    action.starts_with("[ALPM] upgraded ").then(|| date.parse().ok())?
}

/// zypper: `2026-11-20 06:12:09|command|root@host|'zypper' 'dup'|`
fn zypper(line: &str) -> Option<Date> {
    let mut fields = line.split('|');
    let date = fields.next()?.split(' ').next()?;
    let is_command = fields.next()? == "command";
    let updates = fields.nth(1)?.split(' ').any(|word| ZYPPER.contains(&word));
    (is_command && updates).then(|| date.parse().ok())?
}

const LOGS: [Log; 4] = [
    Log { paths: &["/var/log/dpkg.log", "/var/log/dpkg.log.1"], date: dpkg },
    Log { paths: &[DNF, "/var/log/dnf.rpm.log.1"], date: dnf },
    Log { paths: &["/var/log/pacman.log"], date: pacman },
    Log { paths: &["/var/log/zypp/history"], date: zypper },
];
const UNATTENDED: &str = "/var/lib/apt/periodic/upgrade-stamp";
const DNF: &str = "/var/log/dnf.rpm.log";
const DNF5: &str = "/usr/lib/sysimage/libdnf5";
const ZYPPER: [&str; 6] = ["'up'", "'update'", "'patch'", "'dup'", "'dist-upgrade'", "'--patch'"];

#[cfg(test)]
mod tests {
    use FactKind::PatchAge;
    use proptest::prelude::*;
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    /// A machine with one log, looked at on 2026-11-23.
    fn check(path: &str, log: &str, expected: &str) {
        Tree::new().file(path, log).shows(PatchAge, expected);
    }

    #[test]
    fn logs_and_their_last_update() {
        let dpkg = "2026-11-01 06:12:09 upgrade curl:amd64 8.14.1-2 8.14.1-3\n\
            2026-11-20 06:12:09 install hello:amd64 <none> 2.10-5\n\
            2026-11-21 06:12:09 status installed hello:amd64 2.10-5\n";
        check("/var/log/dpkg.log", dpkg, "22");
        check("/var/log/dpkg.log.1", dpkg, "22");
        check("/var/log/dpkg.log", "2026-11-24 01:00:00 upgrade curl:amd64 1 2", "0"); // east of UTC
        check("/var/log/dpkg.log", "2026-12-24 01:00:00 upgrade curl:amd64 1 2", "-31"); // a clock went wrong
        check("/var/log/dpkg.log", "2026-11-20 06:12:09 install a b c\n", "unknown: No update is on record");
        check(
            "/var/log/dpkg.log",
            "soon 06:12:09 upgrade curl\n\nupgrade upgrade upgrade",
            "unknown: No update",
        );
        check("/var/log/dnf.rpm.log", "2026-11-13T06:12:09+0100 SUBDEBUG Upgrade: curl-8.el9.x86_64\n", "10");
        check(
            "/var/log/dnf.rpm.log",
            "2026-11-13T06:12:09+0100 SUBDEBUG Installed: curl-8.el9\n",
            "unknown: No",
        );
        check(
            "/var/log/pacman.log",
            "[2026-11-22T21:00:01+0100] [ALPM] upgraded curl (8.1-1 -> 8.2-1)\n",
            "1",
        );
        check("/var/log/pacman.log", "[2016-11-23 21:00] [ALPM] upgraded curl (7-1 -> 8-1)\n", "3652");
        check(
            "/var/log/pacman.log",
            "[2026-11-22T21:00:01+0100] [ALPM] installed curl (8.1-1)\n",
            "unknown: No",
        );
        check("/var/log/zypp/history", "2026-11-23 10:11:12|command|root@host|'zypper' 'dup'|\n", "0");
        check(
            "/var/log/zypp/history",
            "2026-11-23 10:11:12|install|curl|8|x86_64||repo|\n",
            "unknown: No update",
        );
        Tree::new().shows(PatchAge, "unknown: No record of updates was found.");
    }

    #[test]
    fn the_latest_record_counts() {
        let old = "2026-08-01 06:12:09 upgrade curl:amd64 1 2";
        let tree = Tree::new().file("/var/log/dpkg.log", old);
        tree.stamp("/var/lib/apt/periodic/upgrade-stamp", 3).shows(PatchAge, "3");
        let tree =
            Tree::new().file("/var/log/dpkg.log.1", old).stamp("/var/lib/apt/periodic/upgrade-stamp", 300);
        tree.shows(PatchAge, "114");
        // Since dnf 5, the log of dnf 4 tells of the past only.
        let tree =
            Tree::new().file("/var/log/dnf.rpm.log", "2024-11-13T06:12:09Z SUBDEBUG Upgrade: curl-8.fc40\n");
        tree.folder("/usr/lib/sysimage/libdnf5")
            .shows(PatchAge, "unknown: This system keeps its updates in a database");
    }

    const LINES: &str = "\\PC{0,40}|[0-9 \\[\\]T:|-]{0,30}(upgrade|Upgrade:|\\[ALPM\\] upgraded )?\\PC{0,9}";

    proptest! {
        #[test]
        fn any_line_is_read(line in LINES) {
            for log in LOGS {
                (log.date)(&line);
            }
        }
    }
}
