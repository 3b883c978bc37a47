use super::linux::home;
use super::root::Root;
use super::seen::Seen;

/// Whether the disk under the person's files is encrypted by this system.
///
/// Seen are device-mapper's crypt targets (LUKS and its relatives) below any stack of volumes, and eCryptfs.
/// Not seen, and so told as not encrypted: drives that encrypt by themselves, hosts that encrypt below a
/// virtual disk, and single folders that their file system encrypts (fscrypt).
pub(super) fn encrypted(root: &Root, uid: u32) -> Seen {
    let mounts = match root.text(MOUNTS) {
        Ok(text) => text,
        Err(error) => return Seen::unreadable(MOUNTS, &error),
    };
    let home = home(root, uid);
    let Some(mount) =
        mounts.lines().filter_map(Mount::parse).filter(|mount| mount.holds(&home)).reduce(deeper)
    else {
        return Seen::unknown(format!("No mounted disk holds `{home}`."), MOUNTS);
    };
    if mount.kind == "ecryptfs" {
        return Seen::flag(true, MOUNTS);
    }
    let Some(folder) = mount.device(root) else {
        let why = format!("`{home}` lies on `{}`, which does not show its disk.", mount.kind);
        return Seen::unknown(why, MOUNTS);
    };
    let folders = siblings(root, &folder).unwrap_or_else(|| vec![folder.clone()]);
    match all(folders.iter().map(|folder| is_encrypted(root, folder, 0))) {
        Some(yes) => Seen::flag(yes, format!("{folder}/dm/uuid")),
        None => {
            Seen::unknown(format!("The disk that holds `{home}` does not show what it is made of."), folder)
        }
    }
}

/// One line of `/proc/self/mountinfo`, see proc(5).
struct Mount<'a> {
    device: &'a str,
    point: String,
    kind: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let mut after = after.split(' ');
        let (device, point) = (before.next()?, before.nth(1)?);
        Some(Self { device, point: point.replace("\\040", " "), kind: after.next()?, source: after.next()? })
    }

    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The folder in `/sys` of the block device below. Some file systems number themselves, and only their
    /// source tells the device.
    fn device(&self, root: &Root) -> Option<String> {
        if !self.device.starts_with("0:") {
            return Some(format!("/sys/dev/block/{}", self.device));
        }
        let folder = match self.source.strip_prefix("/dev/mapper/") {
            Some(name) => {
                let devices = root.names(BLOCK).ok()?;
                let named = |device: &&String| {
                    root.text(&format!("{BLOCK}/{device}/dm/name")).is_ok_and(|found| found.trim() == name)
                };
                format!("{BLOCK}/{}", devices.iter().find(named)?)
            }
            None => format!("{BLOCK}/{}", self.source.strip_prefix("/dev/")?),
        };
        root.has(&folder).then_some(folder)
    }
}

/// Of two mounts, the one that hides the other: the longer path, or the later line.
fn deeper<'a>(one: Mount<'a>, later: Mount<'a>) -> Mount<'a> {
    if later.point.len() >= one.point.len() { later } else { one }
}

/// Every device of a btrfs file system that `folder` is a device of.
fn siblings(root: &Root, folder: &str) -> Option<Vec<String>> {
    let device = folder.strip_prefix(BLOCK)?.trim_start_matches('/');
    let systems = root.names(BTRFS).ok()?;
    let devices = systems.iter().filter_map(|id| root.names(&format!("{BTRFS}/{id}/devices")).ok());
    let of_this = devices.into_iter().find(|devices| devices.iter().any(|name| name == device))?;
    Some(of_this.iter().map(|name| format!("{BLOCK}/{name}")).collect())
}

/// Whether a device is a crypt target, or rests on such alone; nothing if it cannot be seen what it rests on.
fn is_encrypted(root: &Root, folder: &str, depth: u8) -> Option<bool> {
    if depth > DEEPEST || !root.has(folder) || root.has(&format!("{folder}/loop")) {
        return None;
    }
    let uuid = root.text(&format!("{folder}/dm/uuid")).unwrap_or_default();
    let only_checks = ["CRYPT-VERITY-", "CRYPT-INTEGRITY-"].iter().any(|prefix| uuid.starts_with(prefix));
    if uuid.starts_with("CRYPT-") && !only_checks {
        return Some(true);
    }
    let below = root.names(&format!("{folder}/slaves")).unwrap_or_default();
    if below.is_empty() {
        return Some(false);
    }
    all(below.iter().map(|name| is_encrypted(root, &format!("{BLOCK}/{name}"), depth + 1)))
}

/// Whether all are true. One that is false decides; one that is not known spoils a yes.
fn all(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    answers.reduce(|one, other| match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (None, _) | (_, None) => None,
        (Some(true), Some(true)) => Some(true),
    })?
}

const MOUNTS: &str = "/proc/self/mountinfo";
const BLOCK: &str = "/sys/class/block";
const BTRFS: &str = "/sys/fs/btrfs";
const DEEPEST: u8 = 8;

#[cfg(test)]
mod tests {
    use FactKind::DiskEncrypted;
    use proptest::prelude::*;
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    const LUKS: &str = "CRYPT-LUKS2-d5c2e1a0b7f84c3e9a6b1d2f3e4c5b6a-luks-d5c2e1a0\n";
    const PLAIN: &str =
        "27 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n22 27 0:21 / /proc rw - proc proc rw\n";
    const MAPPED: &str = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw\n";
    const BTRFS_MAPPED: &str = "27 1 0:27 /root / rw shared:1 - btrfs /dev/mapper/luks-1 rw,subvol=/root\n\
        41 27 0:27 /home /home rw shared:2 - btrfs /dev/mapper/luks-1 rw,subvol=/home\n";

    fn machine(mounts: &str) -> Tree {
        Tree::new().file("/proc/self/mountinfo", mounts)
    }

    #[test]
    fn disks() {
        // Debian, unencrypted: a partition.
        machine(PLAIN).file("/sys/dev/block/8:2/partition", "2\n").shows(DiskEncrypted, "no");
        // LUKS below the file system.
        machine(MAPPED).file("/sys/dev/block/254:0/dm/uuid", LUKS).shows(DiskEncrypted, "yes");
        // LVM on LUKS, as Debian's installer makes it.
        let lvm = || {
            machine(MAPPED)
                .file("/sys/dev/block/254:0/dm/uuid", "LVM-kXo3Q1\n")
                .folder("/sys/dev/block/254:0/slaves/dm-1")
        };
        lvm().file("/sys/class/block/dm-1/dm/uuid", LUKS).shows(DiskEncrypted, "yes");
        lvm().file("/sys/class/block/dm-1/dm/uuid", "LVM-other\n").shows(DiskEncrypted, "no");
        lvm().shows(DiskEncrypted, "unknown: The disk that holds `/home` does not show what it is made of.");
        // A volume over two disks, of which one is plain.
        lvm()
            .folder("/sys/dev/block/254:0/slaves/sdb1")
            .file("/sys/class/block/dm-1/dm/uuid", LUKS)
            .file("/sys/class/block/sdb1/partition", "1\n")
            .shows(DiskEncrypted, "no");
        // Verity and integrity check what is read; they hide nothing.
        machine(MAPPED)
            .file("/sys/dev/block/254:0/dm/uuid", "CRYPT-VERITY-ab-usr\n")
            .shows(DiskEncrypted, "no");
        machine(MAPPED)
            .file("/sys/dev/block/254:0/dm/uuid", "CRYPT-INTEGRITY-x\n")
            .shows(DiskEncrypted, "no");
    }

    #[test]
    fn file_systems_that_number_themselves() {
        // Fedora: btrfs on LUKS.
        let fedora = || {
            machine(BTRFS_MAPPED)
                .file("/sys/class/block/dm-0/dm/name", "luks-1\n")
                .file("/sys/class/block/dm-0/dm/uuid", LUKS)
        };
        fedora().shows(DiskEncrypted, "yes");
        // The same with a second disk, added later and plain.
        fedora()
            .folder("/sys/fs/btrfs/0a1b/devices/dm-0")
            .folder("/sys/fs/btrfs/0a1b/devices/sdb")
            .folder("/sys/class/block/sdb")
            .shows(DiskEncrypted, "no");
        machine("27 1 0:27 / / rw - btrfs /dev/sda3 rw\n")
            .folder("/sys/class/block/sda3")
            .shows(DiskEncrypted, "no");
        machine("27 1 0:52 / / rw - overlay overlay rw,lowerdir=/a\n")
            .shows(DiskEncrypted, "unknown: `/home` lies on `overlay`, which does not show its disk.");
        machine("27 1 0:30 / / rw - zfs rpool/root rw\n")
            .shows(DiskEncrypted, "unknown: `/home` lies on `zfs`");
        machine("27 1 0:50 / /home rw - nfs4 files:/home rw\n")
            .shows(DiskEncrypted, "unknown: `/home` lies on `nfs4`");
    }

    #[test]
    fn the_mount_that_holds_the_persons_files_counts() {
        let passwd = "ana:x:1000:1000::/home/ana:/bin/sh\n";
        let mounts = format!(
            "{MAPPED}30 27 8:3 / /home rw - ext4 /dev/sda3 rw\n31 27 8:4 / /homes rw - ext4 /dev/sda4 rw\n"
        );
        let tree = || machine(&mounts).file("/etc/passwd", passwd).file("/sys/dev/block/254:0/dm/uuid", LUKS);
        tree().folder("/sys/dev/block/8:3").shows(DiskEncrypted, "no");
        tree().used_by(7).folder("/sys/dev/block/8:3").shows(DiskEncrypted, "no");
        let private = format!("{mounts}35 30 0:44 / /home/ana rw - ecryptfs /home/.ecryptfs/ana rw\n");
        machine(&private).file("/etc/passwd", passwd).shows(DiskEncrypted, "yes");
        machine("").shows(DiskEncrypted, "unknown: No mounted disk holds `/home`.");
        Tree::new().shows(DiskEncrypted, "unknown: There is no `/proc/self/mountinfo`.");
    }

    #[test]
    fn a_stack_without_end_is_unknown() {
        let tree = machine(MAPPED)
            .folder("/sys/dev/block/254:0/slaves/dm-1")
            .folder("/sys/class/block/dm-1/slaves/dm-1");
        tree.shows(DiskEncrypted, "unknown: The disk that holds `/home`");
    }

    const LINES: &str = "\\PC{0,60}|([0-9]:[0-9]|/| - |[a-z]{1,3}| ){0,20}";

    proptest! {
        #[test]
        fn any_line_is_read(line in LINES, path in "(/[a-z]{0,2}){0,3}") {
            if let Some(mount) = Mount::parse(&line) {
                mount.holds(&path);
            }
        }
    }
}
