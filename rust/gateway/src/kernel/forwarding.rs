use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_gate::Reach;
use ztna_model::Cidr;
use ztna_net::fs::{FileError, read_private, write_private};

use super::firewall::{Firewall, FirewallError, Terms};
use super::link::{self, LinkError};
use super::switches::{self, Switch, SwitchError};

/// The kernel forwards for us for as long as this is kept. When it goes, the packet filter and the kernel's settings are
/// as they were; the device and its routes go by themselves.
#[derive(Debug)]
pub(crate) struct Forwarding {
    note: Note,
    path: PathBuf,
    /// Goes last: nothing is forwarded that nobody filters.
    _firewall: Firewall,
}

/// What was changed. It is on disk before anything is, so that after a crash the next start puts it back.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Note {
    table: String,
    switches: Vec<Switch>,
}

/// Why the kernel does not forward.
#[derive(Debug, Error)]
pub enum ForwardingError {
    /// The packet filter.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// A setting of the kernel's.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// The device.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The note of what was changed.
    #[error("the note about what is to be put back: {0}")]
    Note(#[from] FileError),
}

impl Forwarding {
    /// Lets the kernel forward what comes by `device` from `peers`, as far as `reach` goes. What is to be put back is
    /// noted at `path`.
    pub(crate) fn begin(
        device: &str,
        peers: [Cidr; 2],
        reach: &Reach,
        path: &Path,
    ) -> Result<Self, ForwardingError> {
        let note = Note { table: format!("openztna-{device}"), switches: switches::wanted() };
        write_private(path, &serde_json::to_vec(&note).unwrap_or_default())?;
        let alone = switches::not_forwarded();
        let firewall = Firewall::raise(&note.table, &Terms { device, peers, reach, alone })?;
        let forwarding = Self { note, path: path.into(), _firewall: firewall };
        link::route(device, &peers)?;
        switches::switch(&forwarding.note.switches)?;
        Ok(forwarding)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        switches::put_back(&self.note.switches);
        let _ = fs::remove_file(&self.path);
    }
}

/// Puts back what a process before has left behind, if it ended in the middle of its work.
pub(crate) fn put_back(path: &Path) -> Result<(), ForwardingError> {
    let text = match read_private(path) {
        Err(FileError::Missing { .. }) => return Ok(()),
        read => read?,
    };
    let note: Note = serde_json::from_slice(text.expose()).unwrap_or_default();
    tracing::warn!("a process before did not end well: what it changed on this machine is put back");
    switches::put_back(&note.switches);
    Firewall::raze(&note.table)?;
    let _ = fs::remove_file(path);
    Ok(())
}
