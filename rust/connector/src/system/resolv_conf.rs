use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ztna_model::Inner;
use ztna_net::link::Links;

use super::journal::{Before, TakenOver};

/// The file in which programs look for their resolvers (resolv.conf(5)), taken over for as long as the tunnel is there.
///
/// Nothing is written through a symbolic link: the link itself gives way to a file, and comes back.
#[derive(Clone, Debug)]
pub(super) struct ResolvConf {
    path: PathBuf,
}

impl ResolvConf {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// What is to be written down before [`ResolvConf::take`]: nothing if the file is ours already.
    pub(super) fn intent(&self, last: Option<&TakenOver>) -> io::Result<Option<TakenOver>> {
        let now = Before::at(&self.path)?;
        if let Some(last) = last
            && last.path == self.path
            && is(&now, &last.ours)
        {
            return Ok(None);
        }
        // Half of what we meant to write, when the power went: what was there before that still counts.
        let before = match last {
            Some(last) if last.path == self.path && is_partly(&now, last) => last.before.clone(),
            Some(_) | None => now,
        };
        let ours = written(&before.text(&self.path));
        Ok(Some(TakenOver { path: self.path.clone(), before, ours: ours.into_bytes() }))
    }

    /// Makes the file ours.
    pub(super) fn take(&self, intent: &TakenOver) -> io::Result<()> {
        let (mode, owner, group) = match intent.before {
            Before::File { mode, owner, group, .. } => (mode, owner, group),
            Before::Nothing | Before::Link(_) => (0o644, 0, 0),
        };
        Before::File { contents: intent.ours.clone(), mode, owner, group }.put(&self.path)
    }

    /// The system's own resolvers, as they were or, behind a link, as they are.
    pub(super) fn upstreams(&self, taken: Option<&TakenOver>) -> Vec<SocketAddr> {
        let text = match taken {
            Some(taken) => taken.before.text(&self.path),
            None => Before::at(&self.path).map(|now| now.text(&self.path)).unwrap_or_default(),
        };
        nameservers(&text)
    }
}

/// Puts back what was there, unless somebody else has written there since: then that stays.
pub(super) fn restore(taken: &TakenOver) -> io::Result<()> {
    let now = Before::at(&taken.path)?;
    if is(&now, &taken.ours) || is_partly(&now, taken) { taken.before.put(&taken.path) } else { Ok(()) }
}

/// Whether this is a file that holds exactly `contents`.
fn is(now: &Before, contents: &[u8]) -> bool {
    matches!(now, Before::File { contents: found, .. } if found == contents)
}

/// Whether a write of ours, of what we wrote or of what we put back, ended too early.
fn is_partly(now: &Before, taken: &TakenOver) -> bool {
    let Before::File { contents: found, .. } = now else { return false };
    let original: &[u8] = match &taken.before {
        Before::File { contents, .. } => contents,
        Before::Nothing | Before::Link(_) => &[],
    };
    // Whoever edits a file ends its last line.
    let is_begun =
        |whole: &[u8]| found.len() < whole.len() && whole.starts_with(found) && !found.ends_with(b"\n");
    is_begun(&taken.ours) || is_begun(original)
}

impl Before {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Nothing),
            other => other?,
        };
        if metadata.is_symlink() {
            return Ok(Self::Link(std::fs::read_link(path)?));
        }
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(io::Error::other("it is not a file of text"));
        }
        let (mode, owner, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        Ok(Self::File { contents: std::fs::read(path)?, mode, owner, group })
    }

    /// The text that a program reads there.
    fn text(&self, path: &Path) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Link(to) => {
                let to = path.parent().unwrap_or(path).join(to);
                std::fs::read_to_string(to).unwrap_or_default()
            }
            Self::File { contents, .. } => String::from_utf8_lossy(contents).into_owned(),
        }
    }

    /// Makes it so at `path`: all at once, but where the file is mounted there by itself.
    fn put(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_file_name(DRAFT);
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        match self {
            Self::Nothing => std::fs::remove_file(path)
                .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?,
            Self::Link(to) => {
                std::os::unix::fs::symlink(to, &draft)?;
                rename(&draft, path)?;
            }
            Self::File { contents, mode, owner, group } => {
                let drafted = write(&draft, contents, *mode, Some((*owner, *group)), true);
                if let Err(error) = drafted.and_then(|()| rename(&draft, path)) {
                    // Containers have the file mounted from outside, in a directory that may be closed.
                    let is_closed = matches!(
                        error.kind(),
                        ErrorKind::ResourceBusy | ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
                    );
                    return if is_closed { write(path, contents, *mode, None, false) } else { Err(error) };
                }
            }
        }
        File::open(path.parent().unwrap_or(path))?.sync_all()
    }
}

fn rename(draft: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(draft, path).inspect_err(|_| {
        let _ = std::fs::remove_file(draft); // the error is told
    })
}

fn write(path: &Path, contents: &[u8], mode: u32, owner: Option<(u32, u32)>, is_new: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode).create_new(is_new).truncate(!is_new);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    if let Some((owner, group)) = owner {
        std::os::unix::fs::fchown(&file, Some(owner), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// The file as we want it: our resolver alone, so that no other is asked for a name of ours, and all else as before.
fn written(before: &str) -> String {
    let mut text = format!("{MARK}\nnameserver {}\n", Inner::RESOLVER.v4);
    for line in before.lines().filter(|line| KEPT.iter().any(|word| line.starts_with(word))) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The resolvers of a resolv.conf(5), without ours; of those of link-local addresses, those whose device is there.
pub(super) fn nameservers(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let named: Vec<&str> = words.collect();
    let found: Vec<SocketAddr> = named.iter().filter_map(|word| address(word)).collect();
    let found: Vec<SocketAddr> = found.into_iter().filter(|at| !Inner::RESOLVER.has(at.ip())).collect();
    // Where none is named, it is this machine's own (resolv.conf(5)).
    if named.is_empty() { vec![(Ipv4Addr::LOCALHOST, PORT).into()] } else { found }
}

fn address(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|address| (address, PORT).into());
    };
    let index = zone.parse().ok().or_else(|| Some(Links::open().ok()?.device(zone).ok()??.0))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, index).into())
}

const MARK: &str = "# Written by the OpenZTNA Connector. What was here before comes back when it ends.";
const KEPT: [&str; 4] = ["search", "domain", "options", "sortlist"];
const DRAFT: &str = ".resolv.conf.openztna";
const PORT: u16 = 53;
const LONGEST: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_system_s_resolvers() {
        let rows = [
            ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", &["192.0.2.1:53", "[2001:db8::1]:53"][..]),
            ("  nameserver\t192.0.2.1 # office", &["192.0.2.1:53"]),
            ("nameserver 198.19.0.53\nnameserver 192.0.2.1", &["192.0.2.1:53"]),
            ("nameserver 198.19.0.53", &[]),
            ("nameserver fe80::1%1", &["[fe80::1%1]:53"]),
            ("nameserver fe80::1%no-such-device", &[]),
            ("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\nsearch a.example", &["127.0.0.1:53"]),
            ("", &["127.0.0.1:53"]),
        ];
        for (text, expected) in rows {
            let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn only_the_resolvers_are_others() {
        let before = "# office\nnameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 edns0";
        let expected =
            format!("{MARK}\nnameserver 198.19.0.53\nsearch a.example b.example\noptions ndots:2 edns0\n");
        assert_eq!(written(before), expected);
    }

    /// A directory with a resolv.conf in it: the directory, the file, its words before.
    fn dir(name: &str) -> (PathBuf, ResolvConf) {
        let dir = std::env::temp_dir().join(format!("openztna-resolv-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir); // from a run that was stopped
        std::fs::create_dir(&dir).unwrap();
        let file = ResolvConf::at(&dir.join("resolv.conf"));
        (dir, file)
    }

    fn taken(file: &ResolvConf, last: Option<&TakenOver>) -> TakenOver {
        let intent = file.intent(last).unwrap().expect("the file is not ours");
        file.take(&intent).unwrap();
        assert_eq!(std::fs::read(&file.path).unwrap(), intent.ours);
        intent
    }

    #[test]
    fn what_was_there_comes_back() {
        let (dir, file) = dir("back");
        std::fs::write(dir.join("managed"), "nameserver 192.0.2.9\n").unwrap();
        for before in ["nothing", "link", "file"] {
            match before {
                "link" => symlink("managed", &file.path).unwrap(),
                "file" => {
                    std::fs::write(&file.path, b"nameserver 192.0.2.1\n# \xff\xfe no text\n").unwrap();
                    std::fs::set_permissions(&file.path, Permissions::from_mode(0o640)).unwrap();
                }
                _ => {}
            }
            let was = Before::at(&file.path).unwrap();
            let record = taken(&file, None);
            assert!(file.intent(Some(&record)).unwrap().is_none(), "it is ours already");
            restore(&record).unwrap();
            assert_eq!(Before::at(&file.path).unwrap(), was, "{before}");
            restore(&record).unwrap(); // twice is once
            assert_eq!(Before::at(&file.path).unwrap(), was, "{before}");
            let _ = std::fs::remove_file(&file.path); // there may have been nothing
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_others_write_meanwhile_stays_and_is_taken_over_in_its_turn() {
        let (dir, file) = dir("foreign");
        std::fs::write(&file.path, "nameserver 192.0.2.1\n").unwrap();
        let record = taken(&file, None);
        std::fs::write(&file.path, "nameserver 192.0.2.2\n").unwrap();
        restore(&record).unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "nameserver 192.0.2.2\n");
        let record = taken(&file, Some(&record));
        assert_eq!(file.upstreams(Some(&record)), ["192.0.2.2:53".parse().unwrap()]);
        restore(&record).unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "nameserver 192.0.2.2\n");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_write_that_ended_halfway_is_undone() {
        let (dir, file) = dir("half");
        let original = "nameserver 192.0.2.1\nsearch a.example\n";
        std::fs::write(&file.path, original).unwrap();
        let record = taken(&file, None);
        for torn in [record.ours.get(..20).unwrap(), b"", &original.as_bytes()[..9]] {
            std::fs::write(&file.path, torn).unwrap();
            let again = taken(&file, Some(&record));
            assert_eq!(again, record, "what was there first still counts");
            std::fs::write(&file.path, torn).unwrap();
            restore(&record).unwrap();
            assert_eq!(std::fs::read_to_string(&file.path).unwrap(), original);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
