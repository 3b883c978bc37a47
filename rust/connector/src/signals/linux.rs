use std::path::PathBuf;

use ztna_model::{FactKind, Reading};

use super::root::Root;
use super::seen::Seen;
use super::{Clocks, Signals, boot, disk, firewall, login, process, screen, system, updates};

/// The signals of a Linux machine.
#[derive(Clone, Debug)]
pub struct Linux {
    root: Root,
    uid: u32,
    desktop: Option<String>,
}

impl Linux {
    /// This machine, as the person sees it who runs this process.
    pub fn here() -> Self {
        let desktop = std::env::var("XDG_CURRENT_DESKTOP").ok().filter(|name| !name.is_empty());
        Self::below("/", rustix::process::geteuid().as_raw(), desktop)
    }

    /// The machine whose files lie below `folder`, used by the person `uid` in `desktop`.
    pub fn below(folder: impl Into<PathBuf>, uid: u32, desktop: Option<String>) -> Self {
        Self { root: Root::new(folder), uid, desktop }
    }

    fn look(&self, kind: FactKind, clocks: Clocks) -> Seen {
        let root = &self.root;
        match kind {
            FactKind::OsSupported => system::release(root),
            FactKind::KernelCurrent => system::kernel(root),
            FactKind::PatchAge => updates::age(root, clocks.device),
            FactKind::DiskEncrypted => disk::encrypted(root, self.uid),
            FactKind::SecureBoot => boot::secure(root),
            FactKind::Tpm => boot::tpm(root),
            FactKind::Firewall => firewall::on(root),
            FactKind::ScreenLock => screen::locks(root, self.uid, self.desktop.as_deref()),
            FactKind::AutomaticLogin => login::automatic(root),
            FactKind::RunningAsRoot => process::root(self.uid),
            FactKind::DebuggerAttached => process::debugged(root),
            FactKind::ClockSkew => process::skew(clocks),
        }
    }
}

impl Signals for Linux {
    fn read(&mut self, clocks: Clocks) -> Vec<Reading> {
        let reading = |kind| {
            let Seen { observed, source } = self.look(kind, clocks);
            Reading { kind, observed, source, age_s: 0, simulated: false }
        };
        FactKind::ALL.into_iter().map(reading).collect()
    }
}

/// Where a person's files are, from the list of accounts. The superuser's own hold nobody's work.
pub(super) fn home(root: &Root, uid: u32) -> String {
    let accounts = root.text("/etc/passwd").unwrap_or_default();
    let home_of = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let of = fields.next()?.parse::<u32>().ok()?;
        (of == uid && uid != 0).then(|| fields.nth(2).map(str::to_owned))?
    };
    accounts.lines().find_map(home_of).unwrap_or_else(|| "/home".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ztna_model::Observed;

    use super::super::tree::{NOW, Tree};
    use super::*;

    /// Every file that a reader opens, where its content alone decides.
    const FILES: [&str; 24] = [
        "/etc/os-release",
        "/proc/sys/kernel/osrelease",
        "/var/log/dpkg.log",
        "/var/log/dnf.rpm.log",
        "/var/log/pacman.log",
        "/var/log/zypp/history",
        "/proc/self/mountinfo",
        "/etc/passwd",
        "/sys/dev/block/254:0/dm/uuid",
        "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "/sys/class/tpm/tpm0/tpm_version_major",
        "/sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs",
        "/etc/ufw/ufw.conf",
        "/etc/nftables.conf",
        "/run/systemd/sessions/1",
        "/home/ana/.config/dconf/user",
        "/home/ana/.config/kscreenlockerrc",
        "/etc/dconf/profile/user",
        "/etc/gdm3/daemon.conf",
        "/etc/sddm.conf",
        "/etc/lightdm/lightdm.conf",
        "/etc/greetd/config.toml",
        "/etc/systemd/system/getty@tty1.service.d/autologin.conf",
        "/proc/self/status",
    ];

    #[test]
    fn an_empty_machine_tells_little_and_says_why() {
        let readings = Tree::new().readings();
        assert!(readings.iter().map(|reading| reading.kind).eq(FactKind::ALL));
        for Reading { kind, observed, source, .. } in readings {
            assert!(!source.is_empty(), "{kind}");
            match observed {
                Observed::Unknown(why) | Observed::Unsupported(why) => assert!(why.ends_with('.'), "{why}"),
                // Two are about this process and its clock; and where nothing logs in, nobody is logged in.
                Observed::Value(_) => assert!(matches!(
                    kind,
                    FactKind::RunningAsRoot | FactKind::ClockSkew | FactKind::AutomaticLogin
                )),
            }
        }
    }

    #[test]
    fn a_real_machine_is_read() {
        let clocks = Clocks { device: NOW, broker: None };
        let readings = Linux::here().read(clocks);
        assert!(readings.iter().map(|reading| reading.kind).eq(FactKind::ALL));
    }

    #[test]
    fn homes() {
        let tree = Tree::new()
            .file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/data/ana:/bin/sh\nx:x\n");
        for (uid, expected) in [(1000, "/data/ana"), (1001, "/home"), (0, "/home")] {
            assert_eq!(home(&tree.root(), uid), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_bytes_in_any_file_give_one_reading_of_each_kind(
            contents in proptest::collection::vec(any_content(), FILES.len()),
            desktop in proptest::sample::select(vec!["GNOME", "KDE", "X-Cinnamon"]),
        ) {
            let tree = FILES.iter().zip(contents).fold(Tree::new().desktop(desktop), |tree, (path, content)| {
                tree.file(path, content)
            });
            prop_assert!(tree.readings().iter().map(|reading| reading.kind).eq(FactKind::ALL));
        }
    }

    /// Noise, and noise made of what readers look for.
    fn any_content() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::sample::select(WORDS.to_vec());
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes()),
        ]
    }

    const WORDS: [&str; 32] = [
        "ID=",
        "VERSION_ID=",
        "12",
        " ",
        " - ",
        "\n",
        "=",
        ":",
        "[",
        "]",
        "/",
        "2026-11-20",
        "upgrade",
        "Upgrade:",
        "[ALPM]",
        "|",
        "command",
        "254:0",
        "btrfs",
        "/dev/mapper/",
        "CRYPT-",
        "6.1.0-9-amd64",
        "hook input",
        "drop",
        "#",
        "TYPE=x11",
        "UID=1000",
        "CLASS=user",
        "GVariant",
        "\0",
        "é",
        "18446744073709551616",
    ];
}
