use std::cmp::Ordering;

use ztna_model::Date;

use super::root::Root;
use super::seen::Seen;
use super::settings::Settings;

/// Which system runs: `ID [VERSION_ID] [until SUPPORT_END]` of os-release(5).
pub(super) fn release(root: &Root) -> Seen {
    let path = if root.has(OS_RELEASE) { OS_RELEASE } else { OS_RELEASE_OF_THE_MAKER };
    let text = match root.text(path) {
        Ok(text) => text,
        Err(error) => return Seen::unreadable(path, &error),
    };
    let settings = Settings::parse(&text);
    let Some(id) = settings.value("", "ID").filter(|id| !id.is_empty()) else {
        return Seen::unknown(format!("`{path}` does not name the system."), path);
    };
    let mut release = id.to_owned();
    if let Some(version) = settings.value("", "VERSION_ID").filter(|version| !version.is_empty()) {
        release.extend([" ", version]);
    }
    if let Some(end) = settings.value("", "SUPPORT_END").filter(|end| end.parse::<Date>().is_ok()) {
        release.extend([" until ", end]);
    }
    Seen::text(release, path)
}

/// Whether the running kernel is the newest installed of its kind.
pub(super) fn kernel(root: &Root) -> Seen {
    let running = match root.text(RUNNING) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => return Seen::unreadable(RUNNING, &error),
    };
    let newest = installed(root)
        .into_iter()
        .filter(|release| flavour(release) == flavour(&running))
        .max_by(|one, other| by_version(one, other));
    let source = format!("{RUNNING}, {MODULES}, {BOOT}");
    match newest {
        None => {
            Seen::unknown(format!("Kernel `{running}` runs, and no file of it is on this machine."), source)
        }
        Some(newest) if by_version(&running, &newest) == Ordering::Less => {
            Seen::text(format!("{running} < {newest}"), source)
        }
        Some(_) => Seen::text(running, source),
    }
}

/// The releases that could be started. A folder of modules alone may be left over from a removed one.
fn installed(root: &Root) -> Vec<String> {
    let images = root.names(BOOT).unwrap_or_default();
    let in_boot = images.iter().filter_map(|name| name.strip_prefix("vmlinuz-"));
    let in_modules = root.names(MODULES).unwrap_or_default();
    let in_modules = in_modules.iter().filter(|release| root.has(&format!("{MODULES}/{release}/vmlinuz")));
    let releases = in_boot.chain(in_modules.map(String::as_str));
    releases.filter(|release| release.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
}

/// What tells kernels apart that are installed side by side on purpose: `lts`, `cloud-amd64`, `generic`. It
/// is what follows the numbers; `6.12.1-arch2-1` and `6.12.3-arch1-1` are both `arch`.
fn flavour(release: &str) -> String {
    let words = release.split('-').filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
    let words: Vec<&str> = words.map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    words.join("-")
}

/// Compares releases as people read them: number by number, word by word.
fn by_version(one: &str, other: &str) -> Ordering {
    parts(one).cmp(parts(other))
}

/// The runs of digits and of letters: whether it is a number, how long that is, and what it says. So a number
/// comes after a word, and a longer number after a shorter one.
fn parts(release: &str) -> impl Iterator<Item = (bool, usize, &[u8])> {
    let same_kind = |one: &u8, next: &u8| {
        one.is_ascii_digit() == next.is_ascii_digit()
            && one.is_ascii_alphabetic() == next.is_ascii_alphabetic()
    };
    release.as_bytes().chunk_by(same_kind).filter_map(|run| match run.first()? {
        b'0'..=b'9' => {
            let zeros = run.iter().take_while(|digit| **digit == b'0').count();
            let number = run.get(zeros..)?;
            Some((true, number.len(), number))
        }
        b'a'..=b'z' | b'A'..=b'Z' => Some((false, 0, run)),
        _ => None, // what stands between
    })
}

const OS_RELEASE: &str = "/etc/os-release";
const OS_RELEASE_OF_THE_MAKER: &str = "/usr/lib/os-release";
const RUNNING: &str = "/proc/sys/kernel/osrelease";
const MODULES: &str = "/lib/modules";
const BOOT: &str = "/boot";

#[cfg(test)]
mod tests {
    use FactKind::{KernelCurrent, OsSupported};
    use proptest::prelude::*;
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn releases() {
        let rows = [
            ("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n", "debian 13"),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n", "ubuntu 24.04"),
            ("ID=fedora\nVERSION_ID=44\nSUPPORT_END=2027-05-19\n", "fedora 44 until 2027-05-19"),
            ("ID=fedora\nVERSION_ID=44\nSUPPORT_END=soon\n", "fedora 44"),
            ("ID=\"rhel\"\nVERSION_ID=\"9.6\"\n", "rhel 9.6"),
            ("NAME='Arch Linux'\nID=arch\nBUILD_ID=rolling\n", "arch"),
            ("ID=alpine\nVERSION_ID=3.23.0", "alpine 3.23.0"),
            ("NAME=Linux\n", "unknown: `/etc/os-release` does not name the system."),
            ("", "unknown: `/etc/os-release` does not name the system."),
        ];
        for (text, expected) in rows {
            Tree::new().file("/etc/os-release", text).shows(OsSupported, expected);
        }
        Tree::new().file("/usr/lib/os-release", "ID=arch").shows(OsSupported, "arch");
        Tree::new().shows(OsSupported, "unknown: There is no `/usr/lib/os-release`.");
    }

    /// A machine that runs one release and has others installed.
    fn check(running: &str, installed: &[&str], expected: &str) {
        let tree = Tree::new().file("/proc/sys/kernel/osrelease", format!("{running}\n"));
        installed.iter().fold(tree, |tree, path| tree.file(path, "")).shows(KernelCurrent, expected);
    }

    #[test]
    fn kernels() {
        // Debian: images in /boot; a folder of modules may stay behind.
        let debian = [
            "/boot/vmlinuz-6.12.9-amd64",
            "/boot/vmlinuz-6.12.57+deb13-amd64",
            "/lib/modules/7.0-amd64/dkms",
        ];
        check("6.12.57+deb13-amd64", &debian, "6.12.57+deb13-amd64");
        check("6.12.9-amd64", &debian, "6.12.9-amd64 < 6.12.57+deb13-amd64");
        check("6.1.0-9-amd64", &["/boot/vmlinuz-6.1.0-10-amd64"], "6.1.0-9-amd64 < 6.1.0-10-amd64");
        let real_time = ["/boot/vmlinuz-6.1.0-9-amd64", "/boot/vmlinuz-6.9.0-1-rt-amd64"];
        check("6.1.0-9-amd64", &real_time, "6.1.0-9-amd64");
        // Fedora: images beside the modules too, and one for rescue.
        let fedora = ["/lib/modules/6.17.9-300.fc44.x86_64/vmlinuz", "/boot/vmlinuz-0-rescue-5d3f0c2a"];
        check("6.17.8-300.fc44.x86_64", &fedora, "6.17.8-300.fc44.x86_64 < 6.17.9-300.fc44.x86_64");
        check("6.17.9-300.fc44.x86_64", &fedora, "6.17.9-300.fc44.x86_64");
        // Arch: the modules of the running kernel go with its update; another line is no newer one.
        let arch = [
            "/lib/modules/6.17.9-arch1-1/vmlinuz",
            "/lib/modules/6.12.60-1-lts/vmlinuz",
            "/boot/vmlinuz-linux",
        ];
        check("6.17.8-arch1-1", &arch, "6.17.8-arch1-1 < 6.17.9-arch1-1");
        check("6.12.60-1-lts", &arch, "6.12.60-1-lts");
        // A container: the kernel is somebody else's.
        check("6.18.44", &[], "unknown: Kernel `6.18.44` runs, and no file of it is on this machine.");
        check("6.18.44", &["/boot/vmlinuz-6.1.0-9-amd64"], "unknown: Kernel `6.18.44` runs");
        Tree::new().shows(KernelCurrent, "unknown: There is no `/proc/sys/kernel/osrelease`.");
    }

    #[test]
    fn versions() {
        let ordered =
            ["5.9", "5.10", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.12.9", "6.12.57+deb13", "6.17-300", "10"];
        for (older, newer) in ordered.iter().zip(ordered.iter().skip(1)) {
            assert_eq!(by_version(older, newer), Ordering::Less, "{older} {newer}");
        }
        assert_eq!(by_version("6.01", "6.1"), Ordering::Equal);
    }

    const VERSION: &str = "[0-9a-z.+-]{0,9}|[0-9.]{0,6}|\\PC{0,6}";

    proptest! {
        #[test]
        fn comparing_is_an_order([one, other, third] in [VERSION; 3]) {
            prop_assert_eq!(by_version(&one, &other), by_version(&other, &one).reverse());
            prop_assert_eq!(by_version(&one, &one), Ordering::Equal);
            let mut all = [&one, &other, &third];
            all.sort_by(|one, other| by_version(one, other));
            let [first, _, last] = all;
            prop_assert_ne!(by_version(first, last), Ordering::Greater);
        }
    }
}
