use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ztna_net::fs::{self, FileError};

/// What was changed on this machine and outlives the process: written before the change, so that whoever comes after a
/// power cut can undo it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// A file that was taken over.
    pub(super) file: Option<TakenOver>,
    /// The name under which `resolvconf` knows of us.
    pub(super) resolvconf: Option<String>,
}

/// A file that was taken over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct TakenOver {
    pub(super) path: PathBuf,
    /// What was there.
    pub(super) before: Before,
    /// What we wrote.
    pub(super) ours: Vec<u8>,
}

/// What stood at a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Before {
    Nothing,
    Link(PathBuf),
    File { contents: Vec<u8>, mode: u32, owner: u32, group: u32 },
}

/// The record, on the disk.
#[derive(Clone, Debug)]
pub(super) struct Journal(PathBuf);

impl Journal {
    pub(super) fn in_dir(state_dir: &Path) -> Self {
        Self(state_dir.join("system.json"))
    }

    /// What is to be undone. A record that cannot be read is none: it was being written when nothing was changed yet.
    pub(super) fn read(&self) -> Result<Record, FileError> {
        match fs::read_private(&self.0) {
            Ok(bytes) => Ok(serde_json::from_slice(bytes.expose()).unwrap_or_default()),
            Err(FileError::Missing { .. }) => Ok(Record::default()),
            Err(error) => Err(error),
        }
    }

    /// On the disk when this returns.
    pub(super) fn write(&self, record: &Record) -> Result<(), FileError> {
        if *record == Record::default() {
            return match std::fs::remove_file(&self.0) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    Err(FileError::Refused { path: self.0.clone(), cause })
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        // A record is text and numbers: this does not fail.
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        fs::write_private(&self.0, &bytes)
    }
}
