use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use rustix::fs::OFlags;
use ztna_model::WallTime;

/// The files below `/`, or below a test's folder. Paths are written as on a real machine, from `/` on.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// A whole file. One that is longer than any that is looked for is refused: half of it could mislead.
    pub(super) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if read as u64 <= MOST_BYTES { Ok(bytes) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }

    /// A whole file as text; what is not UTF-8 becomes U+FFFD.
    pub(super) fn text(&self, path: &str) -> io::Result<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of a file as text: where a log has its latest lines.
    pub(super) fn tail(&self, path: &str) -> io::Result<String> {
        let mut file = self.open(path)?;
        let start = file.metadata()?.len().saturating_sub(MOST_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, in order.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path(path))?.take(MOST_NAMES);
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is something at `path`, even a link to nowhere.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// When a file was last changed.
    pub(super) fn changed(&self, path: &str) -> Option<WallTime> {
        let since = fs::metadata(self.path(path)).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(WallTime::EPOCH + since)
    }

    /// The last part of the path that a link points to.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.path(path)).ok()?.file_name()?.to_str().map(str::to_owned)
    }

    /// What says that this is a container, and so not the whole machine.
    pub(super) fn container(&self) -> Option<&'static str> {
        ["/run/.containerenv", "/run/systemd/container", "/.dockerenv"]
            .into_iter()
            .find(|path| self.has(path))
    }

    /// Opens a regular file, and nothing that could keep the reader waiting.
    fn open(&self, path: &str) -> io::Result<File> {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(self.path(path))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

const MOST_BYTES: u64 = 1 << 20;
const MOST_NAMES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let tree = Tree::new().folder("/etc/folder").link("/etc/nowhere", "gone").fifo("/run/pipe");
        for path in ["/etc/folder", "/etc/nowhere", "/etc/missing", "/run/pipe"] {
            assert!(tree.root().bytes(path).is_err(), "{path}");
        }
        assert!(tree.root().has("/etc/nowhere"));
    }

    #[test]
    fn of_a_long_file_the_end_is_read_or_nothing() {
        let fits = "x".repeat(1 << 20);
        let tree =
            Tree::new().file("/var/log/fits", &fits).file("/var/log/long", format!("first\n{fits}last"));
        assert_eq!(tree.root().text("/var/log/fits").unwrap(), fits);
        assert!(tree.root().text("/var/log/long").is_err());
        let tail = tree.root().tail("/var/log/long").unwrap();
        assert!(tail.ends_with("last") && !tail.starts_with("first") && tail.len() == 1 << 20);
    }
}
