use ztna_model::FactKind;

use super::tree::Tree;

const ANA: &str = "root:x:0:0:root:/root:/bin/bash\nana:x:1000:1000:Ana:/home/ana:/bin/bash\n";
const WAYLAND: &str = "UID=1000\nUSER=ana\nACTIVE=1\nREMOTE=0\nTYPE=wayland\nCLASS=user\n";
const LUKS: &str = "CRYPT-LUKS2-d5c2e1a0b7f84c3e9a6b1d2f3e4c5b6a-luks-d5c2e1a0\n";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const STATUS: &str = "Name:\topenztna\nState:\tR (running)\nTracerPid:\t0\n";

/// Everything that a machine shows, in the order in which people are shown it.
fn check(machine: &Tree, expected: [&str; 12]) {
    for (kind, expected) in FactKind::ALL.into_iter().zip(expected) {
        machine.shows(kind, expected);
    }
}

#[test]
fn a_laptop_with_debian_and_gnome() {
    let machine = Tree::new()
        .file(
            "/usr/lib/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n",
        )
        .link("/etc/os-release", "../usr/lib/os-release")
        .file("/proc/sys/kernel/osrelease", "6.12.57+deb13-amd64\n")
        .file("/boot/vmlinuz-6.12.57+deb13-amd64", "")
        .file("/boot/vmlinuz-6.12.48+deb13-amd64", "")
        .file("/var/log/dpkg.log", "2026-11-18 06:12:09 upgrade curl:amd64 8.14.1-2 8.14.1-2+deb13u1\n")
        .stamp("/var/lib/apt/periodic/upgrade-stamp", 1)
        .file(
            "/proc/self/mountinfo",
            "27 1 254:1 / / rw shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro\n",
        )
        .link("/sys/dev/block/254:1", "../../devices/virtual/block/dm-1")
        .file("/sys/devices/virtual/block/dm-1/dm/uuid", "LVM-kXo3Q1\n")
        .link("/sys/devices/virtual/block/dm-1/slaves/dm-0", "../../dm-0")
        .link("/sys/class/block/dm-0", "../../devices/virtual/block/dm-0")
        .file("/sys/devices/virtual/block/dm-0/dm/uuid", LUKS)
        .file(SECURE_BOOT, [6, 0, 0, 0, 1])
        .file("/sys/class/tpm/tpm0/tpm_version_major", "2\n")
        .file("/etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n")
        .file("/etc/passwd", ANA)
        .file("/run/systemd/sessions/2", format!("{WAYLAND}DESKTOP=gnome\n"))
        .link("/etc/systemd/system/display-manager.service", "/usr/lib/systemd/system/gdm.service")
        .file("/etc/gdm3/daemon.conf", "[daemon]\n#  AutomaticLoginEnable = true\n")
        .file("/proc/self/status", STATUS);
    let running = "6.12.57+deb13-amd64";
    check(&machine, ["debian 13", running, "1", "yes", "yes", "yes", "yes", "yes", "no", "no", "no", "0"]);
}

#[test]
fn a_workstation_with_fedora_that_waits_for_a_restart() {
    let mounts = "31 1 0:27 /root / rw shared:1 - btrfs /dev/mapper/luks-1 rw,subvol=/root\n\
        44 31 0:27 /home /home rw shared:2 - btrfs /dev/mapper/luks-1 rw,subvol=/home\n";
    let machine = Tree::new()
        .file("/etc/os-release", "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=44\nSUPPORT_END=2027-05-19\n")
        .file("/proc/sys/kernel/osrelease", "6.17.8-300.fc44.x86_64\n")
        .file("/lib/modules/6.17.8-300.fc44.x86_64/vmlinuz", "")
        .file("/lib/modules/6.17.9-300.fc44.x86_64/vmlinuz", "")
        .folder("/usr/lib/sysimage/libdnf5")
        .file("/proc/self/mountinfo", mounts)
        .file("/sys/class/block/dm-0/dm/name", "luks-1\n")
        .file("/sys/class/block/dm-0/dm/uuid", LUKS)
        .folder("/sys/fs/btrfs/features")
        .folder("/sys/fs/btrfs/0a1b2c3d/devices/dm-0")
        .file(SECURE_BOOT, [22, 0, 0, 0, 0])
        .file("/sys/class/tpm/tpm0/tpm_version_major", "2\n")
        .file("/sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs", "1042\n")
        .file("/etc/passwd", ANA)
        .file("/run/systemd/sessions/3", format!("{WAYLAND}DESKTOP=KDE\n"))
        .file("/home/ana/.config/kscreenlockerrc", "[Daemon]\nAutolock=false\n")
        .link("/etc/systemd/system/display-manager.service", "/usr/lib/systemd/system/sddm.service")
        .file("/etc/sddm.conf.d/kde_settings.conf", "[Autologin]\nUser=ana\nSession=plasma\n")
        .file("/proc/self/status", STATUS);
    let kernels = "6.17.8-300.fc44.x86_64 < 6.17.9-300.fc44.x86_64";
    let updates = "unknown: This system keeps its updates in a database of dnf";
    let system = "fedora 44 until 2027-05-19";
    check(&machine, [system, kernels, updates, "yes", "no", "yes", "yes", "no", "yes", "no", "no", "0"]);
}

#[test]
fn a_desktop_with_arch_and_a_window_manager() {
    let machine = Tree::new()
        .file("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n")
        .file("/proc/sys/kernel/osrelease", "6.17.9-arch1-1\n")
        .file("/lib/modules/6.17.9-arch1-1/vmlinuz", "")
        .file("/boot/vmlinuz-linux", "")
        .file("/var/log/pacman.log", "[2026-11-21T20:15:00+0100] [ALPM] upgraded linux (6.17.8 -> 6.17.9)\n")
        .file("/proc/self/mountinfo", "27 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n")
        .link("/sys/dev/block/259:2", "../../class/block/nvme0n1p2")
        .file("/sys/class/block/nvme0n1p2/partition", "2\n")
        .folder("/sys/firmware/memmap")
        .folder("/sys/class/tpm")
        .file(
            "/etc/nftables.conf",
            "table inet filter {\n chain input {\n type filter hook input; policy drop;\n }\n}\n",
        )
        .link(
            "/etc/systemd/system/multi-user.target.wants/nftables.service",
            "/usr/lib/systemd/system/nftables.service",
        )
        .file("/etc/passwd", ANA)
        .file("/run/systemd/sessions/1", format!("{WAYLAND}DESKTOP=sway\n"))
        .file(
            "/etc/systemd/system/getty@tty1.service.d/autologin.conf",
            "[Service]\nExecStart=\nExecStart=-/sbin/agetty -a ana\n",
        )
        .file("/proc/self/status", STATUS);
    let boot = "unsupported: This machine was not started by UEFI firmware.";
    let lock = "unknown: The settings of the desktop `sway` are not read.";
    check(&machine, ["arch", "6.17.9-arch1-1", "2", "no", boot, "no", "yes", lock, "yes", "no", "no", "0"]);
}

#[test]
fn a_container_that_runs_as_root() {
    let machine = Tree::new()
        .used_by(0)
        .file("/.dockerenv", "")
        .file("/etc/os-release", "ID=alpine\nVERSION_ID=3.23.0\n")
        .file("/proc/sys/kernel/osrelease", "6.12.57+deb13-cloud-amd64\n")
        .file("/proc/self/mountinfo", "612 500 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib\n")
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        .file("/proc/self/status", STATUS);
    let kernel = "unknown: Kernel `6.12.57+deb13-cloud-amd64` runs, and no file of it is on this machine.";
    let updates = "unknown: No record of updates was found.";
    let disk = "unknown: `/home` lies on `overlay`, which does not show its disk.";
    let boot = "unknown: A container does not see how its machine was started.";
    let tpm = "unknown: This kernel does not show security chips.";
    let firewall = "unknown: Only an administrator may see the kernel's rules";
    let lock = "unsupported: Nobody sits at a screen of this machine.";
    check(
        &machine,
        ["alpine 3.23.0", kernel, updates, disk, boot, tpm, firewall, lock, "no", "yes", "no", "0"],
    );
}
