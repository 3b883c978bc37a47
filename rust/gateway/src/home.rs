use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;
use ztna_model::Secret;
use ztna_net::fs::{FileError, create_private_dir, read_private, write_private};

use crate::certificate::Enrolment;

/// The directory in which a gateway keeps what outlives it: its key, and what it was enrolled as.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

/// Why what a gateway keeps cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// The files themselves.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing yet.
    #[error("`{}` holds no enrolment: run `openztna gateway enrol` with a token first", dir.display())]
    NotEnrolled {
        /// The directory.
        dir: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("`{}` is not understood: {what}", path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Home {
    /// The directory at `dir`, made if need be, for its owner alone.
    pub(crate) fn open(dir: &Path) -> Result<Self, HomeError> {
        create_private_dir(dir)?;
        Ok(Self { dir: dir.into() })
    }

    /// What this gateway was enrolled as, and its key.
    pub(crate) fn load(&self) -> Result<(Enrolment, Secret<Vec<u8>>), HomeError> {
        let path = self.dir.join(ENROLMENT);
        let text = match read_private(&path) {
            Err(FileError::Missing { .. }) => return Err(HomeError::NotEnrolled { dir: self.dir.clone() }),
            read => read?,
        };
        let enrolment = serde_json::from_slice(text.expose())
            .map_err(|error| HomeError::NotUnderstood { path, what: error.to_string() })?;
        Ok((enrolment, read_private(&self.dir.join(KEY))?))
    }

    /// Where it is noted what is to be put back on this machine.
    pub(crate) fn forwarding_note(&self) -> PathBuf {
        self.dir.join(FORWARDING)
    }

    /// Whether a gateway was enrolled here.
    pub(crate) fn is_enrolled(&self) -> bool {
        self.dir.join(ENROLMENT).exists()
    }

    /// Keeps a new key, before anything is certified for it.
    pub(crate) fn keep_key(&self, key: &Secret<Vec<u8>>) -> Result<(), HomeError> {
        Ok(write_private(&self.dir.join(KEY), key.expose())?)
    }

    /// Keeps what this gateway was enrolled as, or renewed as.
    pub(crate) fn keep(&self, enrolment: &Enrolment) -> Result<(), HomeError> {
        self.write(ENROLMENT, enrolment)
    }

    /// Writes down this run's clock, for whoever signs leases into a file.
    pub(crate) fn write_beat(&self, beat: &impl Serialize) -> Result<(), HomeError> {
        self.write(BEAT, beat)
    }

    /// Where the running gateway can be asked how it stands.
    pub(crate) fn status_socket(&self) -> PathBuf {
        status_socket(&self.dir)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), HomeError> {
        let path = self.dir.join(name);
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| HomeError::NotUnderstood { path: path.clone(), what: error.to_string() })?;
        Ok(write_private(&path, &text)?)
    }
}

/// Where the gateway that keeps its files in `dir` can be asked how it stands.
pub(crate) fn status_socket(dir: &Path) -> PathBuf {
    dir.join("status.sock")
}

const FORWARDING: &str = "forwarding.json";
const ENROLMENT: &str = "enrolment.json";
const KEY: &str = "gateway.key";
const BEAT: &str = "beat.json";
