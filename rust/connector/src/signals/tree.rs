use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use ztna_model::{FactKind, FactValue, Observed, Reading, WallTime};

use super::root::Root;
use super::{Clocks, Linux, Signals};

/// A small machine made of files in a temporary folder, gone when dropped.
pub(super) struct Tree {
    folder: PathBuf,
    uid: u32,
    desktop: Option<String>,
}

/// 2026-11-23, noon: when tests look.
pub(super) const NOW: WallTime = WallTime::from_secs(1_795_435_200);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Tree {
    /// An empty machine, used by the person with the id 1000.
    pub(super) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ztna-signals-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder, uid: 1000, desktop: None }
    }

    pub(super) fn used_by(mut self, uid: u32) -> Self {
        self.uid = uid;
        self
    }

    pub(super) fn desktop(mut self, name: &str) -> Self {
        self.desktop = Some(name.to_owned());
        self
    }

    pub(super) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.place(path), content).unwrap();
        self
    }

    /// A file that was last changed `days` before [`NOW`].
    pub(super) fn stamp(self, path: &str, days: u64) -> Self {
        let file = fs::File::create(self.place(path)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(NOW.as_secs() - days * 86_400);
        file.set_modified(time).unwrap();
        self
    }

    pub(super) fn folder(self, path: &str) -> Self {
        fs::create_dir_all(self.place(path)).unwrap();
        self
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.place(path)).unwrap();
        self
    }

    pub(super) fn fifo(self, path: &str) -> Self {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, self.place(path), mode).unwrap();
        self
    }

    /// Where a file of this machine really is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    pub(super) fn root(&self) -> Root {
        Root::new(&self.folder)
    }

    /// All readings of this machine at [`NOW`].
    pub(super) fn readings(&self) -> Vec<Reading> {
        let clocks = Clocks { device: NOW, broker: Some(NOW) };
        Linux::below(&self.folder, self.uid, self.desktop.clone()).read(clocks)
    }

    /// Asserts what a look at `kind` finds: a value, or `unknown` or `unsupported` with the beginning of why.
    pub(super) fn shows(&self, kind: FactKind, expected: &str) {
        let reading = self.readings().into_iter().find(|reading| reading.kind == kind).unwrap();
        let found = match &reading.observed {
            Observed::Value(FactValue::Text(text)) => text.clone(),
            Observed::Value(value) => value.to_string(),
            Observed::Unknown(why) => format!("unknown: {why}"),
            Observed::Unsupported(why) => format!("unsupported: {why}"),
        };
        let matches = match reading.observed {
            Observed::Value(_) => found == expected,
            Observed::Unknown(_) | Observed::Unsupported(_) => {
                found.starts_with(expected) && found.ends_with('.')
            }
        };
        assert!(matches, "{kind} from {}: `{found}`, not `{expected}`", reading.source);
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/"))).unwrap();
        place
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}
