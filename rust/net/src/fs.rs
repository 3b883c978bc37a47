//! Files that nobody else may read: written whole or not at all, and refused when others could have read them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use thiserror::Error;
use ztna_model::Secret;

/// Why a private file or directory cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is not there.
    #[error("`{path}` does not exist")]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// The operating system refused to read or make it.
    #[error("cannot use `{path}`: {cause}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Its words.
        cause: io::Error,
    },
    /// Others may read or change it.
    #[error("`{path}` is private but others may use it (mode {mode:04o}): run `chmod {wanted:o} {path}`")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it needs.
        wanted: u32,
    },
    /// Another user owns it, and so may change it.
    #[error("`{path}` belongs to user {owner}, but this process runs as user {user}")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// A directory, a device or a pipe where a file belongs, or a file where a directory belongs.
    #[error("`{path}` is not a {expected}")]
    OtherKind {
        /// Which.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
    },
    /// Too long for what it should be.
    #[error("`{path}` is longer than {LIMIT} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

/// Writes a file that only its owner may read, so that after a crash either the old or the new one is there, whole.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let draft = draft_of(path);
    let written = write_new(&draft, contents)
        .and_then(|()| std::fs::rename(&draft, path))
        .and_then(|()| File::open(parent(path))?.sync_all());
    written.map_err(|cause| {
        let _ = std::fs::remove_file(&draft); // already renamed, or never made
        refused(path, cause)
    })
}

/// Reads a file that holds a secret, unless others may read or change it.
pub fn read_private(path: &Path) -> Result<Secret<Vec<u8>>, FileError> {
    // Opening a pipe would wait for its other end.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|cause| refused(path, cause))?;
    // Asked of the open file, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(|cause| refused(path, cause))?;
    if !metadata.is_file() {
        return Err(FileError::OtherKind { path: path.into(), expected: "regular file" });
    }
    check_private(path, Standing::of(&metadata), FILE_MODE)?;
    read_limited(file, metadata.len()).map_err(|cause| refused(path, cause))?.ok_or_else(too_long(path))
}

/// Makes a directory, and those above it, that only their owner may enter; one that is there must be so already.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path).map_err(|cause| refused(path, cause))?;
    let found = std::fs::metadata(path).map_err(|cause| refused(path, cause))?;
    check_private(path, Standing::of(&found), DIR_MODE)
}

/// Makes an empty file that only its owner may read; one that is there must be so already, and keeps what it holds.
pub fn create_private_file(path: &Path) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    let found = file.and_then(|file| file.metadata()).map_err(|cause| refused(path, cause))?;
    if !found.is_file() {
        return Err(FileError::OtherKind { path: path.into(), expected: "regular file" });
    }
    check_private(path, Standing::of(&found), FILE_MODE)
}

fn write_new(draft: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// A name beside `path`, taken by no other writer on this machine.
fn draft_of(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{number}", process::id()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whose a file is, who asks, and what others may do with it.
#[derive(Clone, Copy)]
struct Standing {
    owner: u32,
    user: u32,
    mode: u32,
}

impl Standing {
    fn of(metadata: &Metadata) -> Self {
        Self { owner: metadata.uid(), user: geteuid().as_raw(), mode: metadata.mode() & 0o7777 }
    }
}

fn check_private(path: &Path, standing: Standing, wanted: u32) -> Result<(), FileError> {
    let Standing { owner, user, mode } = standing;
    if owner != user && owner != ROOT && user != ROOT {
        return Err(FileError::Foreign { path: path.into(), owner, user });
    }
    if mode & OTHERS != 0 {
        return Err(FileError::Exposed { path: path.into(), mode, wanted });
    }
    Ok(())
}

/// The whole file, or nothing if it is too long. The buffer never moves, so no copy of the secret stays behind.
fn read_limited(file: File, length: u64) -> io::Result<Option<Secret<Vec<u8>>>> {
    let room = usize::try_from(length.min(LIMIT)).unwrap_or(0);
    let mut bytes = vec![0; room];
    let mut file = file.take(LIMIT + 1);
    let read = file.read_exact(&mut bytes).and_then(|()| file.read(&mut [0]));
    let contents = Secret::new(bytes);
    Ok((read? == 0).then_some(contents))
}

fn refused(path: &Path, cause: io::Error) -> FileError {
    let path = path.into();
    if cause.kind() == io::ErrorKind::NotFound {
        FileError::Missing { path }
    } else {
        FileError::Refused { path, cause }
    }
}

fn too_long(path: &Path) -> impl FnOnce() -> FileError {
    let path = path.into();
    || FileError::TooLong { path }
}

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
const OTHERS: u32 = 0o077;
const ROOT: u32 = 0;
const LIMIT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, metadata, read_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::testing::TempDir;

    fn mode(path: &Path) -> u32 {
        metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_private_and_keeps_what_it_holds() {
        let dir = TempDir::new();
        let path = dir.path("store");
        create_private_file(&path).unwrap();
        assert_eq!((mode(&path), metadata(&path).unwrap().len()), (0o600, 0));
        write(&path, "rows").unwrap();
        create_private_file(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"rows");
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(create_private_file(&path), Err(FileError::Exposed { .. })));
        assert!(matches!(create_private_file(dir.root()), Err(FileError::Refused { .. })));
    }

    #[test]
    fn what_is_written_is_private_and_reads_back() {
        let dir = TempDir::new();
        let path = dir.path("key");
        for contents in [&b"first"[..], b"", b"the third is longer"] {
            write_private(&path, contents).unwrap();
            assert_eq!(read_private(&path).unwrap().expose(), contents);
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(read_dir(dir.root()).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn writing_replaces_a_link_and_leaves_alone_what_it_leads_to() {
        let dir = TempDir::new();
        let (target, path) = (dir.path("target"), dir.path("key"));
        write(&target, "old").unwrap();
        symlink(&target, &path).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(read_private(&path).unwrap().expose(), b"new");
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let dir = TempDir::new();
        let path = dir.path("key");
        create_dir(&path).unwrap();
        assert!(matches!(write_private(&path, b"secret"), Err(FileError::Refused { .. })));
        assert_eq!(read_dir(dir.root()).unwrap().count(), 1);
        assert!(matches!(write_private(&dir.path("no/key"), b""), Err(FileError::Missing { .. })));
    }

    #[test]
    fn secrets_that_others_may_read_are_refused() {
        let dir = TempDir::new();
        let path = dir.path("key");
        write_private(&path, b"secret").unwrap();
        for bits in [0o640, 0o604, 0o660, 0o602, 0o610, 0o644] {
            set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            let error = read_private(&path).unwrap_err();
            assert!(matches!(error, FileError::Exposed { mode, .. } if mode == bits), "{bits:o}");
            let text = error.to_string();
            assert!(text.contains("chmod 600") && text.contains(&format!("{bits:04o}")), "{text}");
        }
        set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn files_of_other_users_are_refused() {
        let check = |owner, user, accepted| {
            let standing = Standing { owner, user, mode: 0o600 };
            let outcome = check_private(Path::new("key"), standing, FILE_MODE);
            assert_eq!(outcome.is_ok(), accepted, "{owner} {user}");
            assert!(!matches!(outcome, Err(FileError::Exposed { .. })));
        };
        check(1000, 1000, true);
        check(ROOT, 1000, true); // placed there by the administrator
        check(1000, ROOT, true);
        check(1001, 1000, false);
    }

    #[test]
    fn only_regular_files_of_a_reasonable_length_are_read() {
        let dir = TempDir::new();
        assert!(matches!(read_private(&dir.path("none")), Err(FileError::Missing { .. })));
        assert!(matches!(read_private(dir.root()), Err(FileError::OtherKind { .. })));
        let pipe = dir.path("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert!(matches!(read_private(&pipe), Err(FileError::OtherKind { .. })));
        let long = dir.path("long");
        for (length, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            write_private(&long, &vec![7; usize::try_from(length).unwrap()]).unwrap();
            assert_eq!(read_private(&long).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn private_directories() {
        let dir = TempDir::new();
        let path = dir.path("a/b");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        assert_eq!((mode(&path), mode(&dir.path("a"))), (0o700, 0o700));
        set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            create_private_dir(&path),
            Err(FileError::Exposed { mode: 0o750, wanted: 0o700, .. })
        ));
        let file = dir.path("file");
        write(&file, "").unwrap();
        assert!(matches!(create_private_dir(&file), Err(FileError::Refused { .. })));
    }
}
