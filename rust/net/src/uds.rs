//! A Unix socket for the administrator of this machine: the kernel says who calls.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::fs::{FileError, create_private_dir};

/// A Unix socket that only its owner may reach: mode 0600, in a directory of mode 0700. Dropping it removes it; the
/// lock file beside it (`….lock`) stays.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    _lock: File, // held for as long as the socket file is ours; released after it is gone
}

/// Who is at the other end of a Unix socket, by the kernel's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id, where the kernel tells it.
    pub pid: Option<u32>,
}

/// Why a Unix socket could not be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Its directory is not private.
    #[error(transparent)]
    Directory(#[from] FileError),
    /// Another process has it open.
    #[error("another process is listening on `{path}`")]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("`{path}` is in the way: it is not a socket")]
    InTheWay {
        /// Which.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot listen on `{path}`: {cause}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Its words.
        cause: io::Error,
    },
}

/// Why nobody was reached at a Unix socket.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No process has it open.
    #[error("nothing is listening on `{path}`")]
    Nobody {
        /// Which.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("no permission to use `{path}`")]
    Forbidden {
        /// Which.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot connect to `{path}`: {cause}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Its words.
        cause: io::Error,
    },
}

impl LocalListener {
    /// Listens on `path`, whose directory is made if need be. A socket file left by a process that ended is replaced.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        if let Some(parent) = path.parent() {
            create_private_dir(parent)?;
        }
        let refused = |cause| ListenError::Refused { path: path.into(), cause };
        // Whoever holds the lock owns the name, so two that start at once cannot both find a stale socket.
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        let bound = Self { listener, path: path.into(), _lock: lock };
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(refused)?;
        Ok(bound)
    }

    /// The next connection, and who made it.
    pub async fn accept(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.listener.accept().await?;
        let caller = caller(&stream)?;
        Ok((stream, caller))
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // gone already is as well
    }
}

/// Connects to a Unix socket.
pub async fn connect(path: &Path) -> Result<UnixStream, ConnectError> {
    UnixStream::connect(path).await.map_err(|cause| match Errno::from_io_error(&cause) {
        Some(Errno::NOENT | Errno::CONNREFUSED) => ConnectError::Nobody { path: path.into() },
        Some(Errno::ACCESS) => ConnectError::Forbidden { path: path.into() },
        _ => ConnectError::Refused { path: path.into(), cause },
    })
}

/// Who is at the other end of `stream`.
pub fn caller(stream: &UnixStream) -> io::Result<Caller> {
    let credentials = stream.peer_cred()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok(Caller { uid: credentials.uid(), gid: credentials.gid(), pid })
}

fn lock(path: &Path) -> Result<File, ListenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let refused = |cause| ListenError::Refused { path: path.into(), cause };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(name).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ListenError::Taken { path: path.into() }),
        Err(TryLockError::Error(cause)) => Err(refused(cause)),
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let refused = |cause| ListenError::Refused { path: path.into(), cause };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(refused),
        Ok(_) => Err(ListenError::InTheWay { path: path.into() }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(refused(cause)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn p1_5_g02_the_kernel_says_who_calls() {
        let dir = TempDir::new();
        let path = dir.path("run/admin.sock");
        let listener = LocalListener::bind(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

        let mut client = connect(&path).await.unwrap();
        let (mut server, caller) = listener.accept().await.unwrap();
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.gid, rustix::process::getegid().as_raw());
        assert_eq!(caller.pid, Some(std::process::id()));
        client.write_all(b"status\n").await.unwrap();
        let mut question = [0; 7];
        server.read_exact(&mut question).await.unwrap();
        assert_eq!(&question, b"status\n");
    }

    #[tokio::test]
    async fn p1_5_g02_a_socket_has_one_owner_and_goes_with_it() {
        let dir = TempDir::new();
        let path = dir.path("admin.sock");
        let first = LocalListener::bind(&path).unwrap();
        assert!(matches!(LocalListener::bind(&path), Err(ListenError::Taken { .. })));
        connect(&path).await.unwrap(); // the attempt did no harm
        drop(first);
        assert!(!path.exists());
        assert!(matches!(connect(&path).await, Err(ConnectError::Nobody { .. })));
        LocalListener::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = TempDir::new();
        let path = dir.path("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // std leaves the file behind
        assert!(matches!(connect(&path).await, Err(ConnectError::Nobody { .. })));
        drop(LocalListener::bind(&path).unwrap());

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(LocalListener::bind(&path), Err(ListenError::InTheWay { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_directory_open_to_others_is_refused() {
        let dir = TempDir::new();
        std::fs::set_permissions(dir.root(), Permissions::from_mode(0o755)).unwrap();
        let error = LocalListener::bind(&dir.path("admin.sock")).unwrap_err();
        assert!(matches!(error, ListenError::Directory(FileError::Exposed { .. })), "{error}");
    }
}
