//! What stays on this device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use ztna_model::{OrgId, Random as _, Secret};
use ztna_net::fs::{self, FileError};
use ztna_net::keys::{KeyError, P256Key};
use ztna_net::random::SystemRandom;
use ztna_session::{Saved, SavedError};

/// What is kept on this device, in files that only this user can read.
#[derive(Clone, Debug)]
pub struct Keep {
    dir: PathBuf,
}

/// Why something could not be kept or read.
#[derive(Debug, Error)]
pub enum KeepError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error("{}: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeyError,
    },
    /// The session.
    #[error("{}: {cause}", path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: SavedError,
    },
}

impl Keep {
    /// What is kept in `dir`, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Self, KeepError> {
        fs::create_private_dir(dir)?;
        Ok(Self { dir: dir.into() })
    }

    /// Where the connector answers to commands.
    pub fn socket(&self) -> PathBuf {
        Self::socket_in(&self.dir)
    }

    /// Where a connector that keeps its things in `dir` answers to commands.
    pub fn socket_in(dir: &Path) -> PathBuf {
        dir.join("connector.sock")
    }

    /// The device key for `org`: each organisation has its own. Made at first use.
    pub fn device_key(&self, org: &OrgId) -> Result<Arc<P256Key>, KeepError> {
        let path = self.dir.join(format!("device-{}.key", print(org)));
        let key = |cause| KeepError::Key { path: path.clone(), cause };
        let document = match read(&path)? {
            Some(document) => document,
            None => {
                let document = P256Key::generate().map_err(key)?;
                fs::write_private(&path, document.expose())?;
                document
            }
        };
        P256Key::from_pkcs8(&document).map(Arc::new).map_err(key)
    }

    /// The secret by which `org`'s names get their stand-in addresses. Made at first use.
    pub fn book_secret(&self, org: &OrgId) -> Result<Secret<[u8; 32]>, KeepError> {
        let path = self.dir.join(format!("names-{}.key", print(org)));
        if let Some(kept) = read(&path)?
            && let Ok(bytes) = <[u8; 32]>::try_from(kept.expose().as_slice())
        {
            return Ok(Secret::new(bytes));
        }
        let bytes: [u8; 32] = SystemRandom::new().array();
        fs::write_private(&path, &bytes)?;
        Ok(Secret::new(bytes))
    }

    /// The session, if there is one.
    pub fn saved(&self) -> Result<Option<Saved>, KeepError> {
        let Some(bytes) = read(&self.session())? else { return Ok(None) };
        let text = Secret::new(String::from_utf8_lossy(bytes.expose()).into_owned());
        Saved::read(&text).map(Some).map_err(|cause| KeepError::Saved { path: self.session(), cause })
    }

    /// Keeps the session: on disk when this returns.
    pub fn save(&self, saved: &Saved) -> Result<(), KeepError> {
        Ok(fs::write_private(&self.session(), saved.write().expose().as_bytes())?)
    }

    /// Removes the session. The device key stays: a new sign-in is by the same device.
    pub fn erase(&self) -> Result<(), KeepError> {
        match std::fs::remove_file(self.session()) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::Refused { path: self.session(), cause }.into())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn session(&self) -> PathBuf {
        self.dir.join("session.json")
    }
}

fn read(path: &Path) -> Result<Option<Secret<Vec<u8>>>, KeepError> {
    match fs::read_private(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(FileError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file name's worth of an organisation.
fn print(org: &OrgId) -> String {
    let hash = ztna_api::key::sha256(org.as_str().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
