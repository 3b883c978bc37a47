//! What the operating system does for the tunnel: routes that lead into it, and names that are asked inside it.
//!
//! ```text
//!  Network ──▶ System ─┬─ Routes: a table of ours, and a rule before `main`   ──▶ rtnetlink
//!   (wish)             └─ Dns: systemd-resolved, else resolvconf, else resolv.conf
//!                           └─ Journal: written before a file is changed, undone by `recover`
//! ```
//!
//! Only what is wished for is touched, each call makes the machine be as the last wish says, and everything is as before
//! after `close`; after a power cut, after the next `recover`. Until then addresses of the organisation lead nowhere
//! rather than past the tunnel.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::Cidr;
use ztna_net::link::LinkError;
use ztna_session::Network;

mod routes; // what leads into the tunnel
use routes::Routes;
pub use routes::{Clash, MARK};

mod dns; // which questions do
use dns::Dns;
pub use dns::DnsPath;
mod resolved; // by systemd-resolved
mod resolvconf; // by resolvconf
mod resolv_conf; // by a file

mod bypass; // what hides names nevertheless
pub use bypass::Bypass;

mod forwarder; // names that are not ours
pub use forwarder::{ForwardError, Forwarder};

mod journal; // what a process that was killed leaves to be undone
use journal::Journal;
mod lock; // one at a time
use lock::Lock;

/// How a wish was met.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Applied {
    /// Granted addresses that this machine's own networks use.
    pub clashes: Vec<Clash>,
    /// Prefixes that no organisation can ask for: everything, or what means something on every machine.
    pub refused: Vec<Cidr>,
    /// How names are found.
    pub dns: DnsPath,
    /// What hides names from some programs, each with its remedy.
    pub bypasses: Vec<Bypass>,
}

/// Where things are on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// `resolv.conf`.
    pub resolv_conf: PathBuf,
    /// `nsswitch.conf`.
    pub nsswitch: PathBuf,
    /// Where programs of the system are.
    pub programs: Vec<PathBuf>,
    /// The D-Bus on which systemd-resolved is, if it is not the system's.
    pub bus: Option<String>,
    /// For what does not outlive a restart of the machine.
    pub run_dir: PathBuf,
}

/// Why the machine's network cannot be readied.
#[derive(Debug, Error)]
pub enum SystemError {
    /// Two would undo each other's work.
    #[error("another connector looks after this machine's routes already")]
    Busy,
    /// The kernel.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// There is no sign that nobody else is at it.
    #[error("cannot lock this machine's routes: {0}")]
    Lock(io::Error),
    /// What was changed before cannot be undone.
    #[error("this machine's resolvers cannot be restored: {0}")]
    Restore(String),
}

/// The tunnel's part of this machine's network, for as long as this value lives.
#[derive(Debug)]
pub struct System {
    routes: Routes,
    dns: Dns,
    is_open: bool,
    _lock: Lock,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            nsswitch: "/etc/nsswitch.conf".into(),
            programs: dns::program_dirs(),
            bus: None,
            run_dir: "/run".into(),
        }
    }
}

impl System {
    /// Undoes what a process that was killed has left behind; nothing, if none has, or while another one is at work.
    pub fn recover(state_dir: &Path, places: &Places) -> Result<(), SystemError> {
        match Lock::take(&places.run_dir) {
            Ok(Some(_lock)) => undo_all(&Journal::in_dir(state_dir)),
            Ok(None) => Ok(()),
            // Who may not do this has left nothing either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(SystemError::Lock(error)),
        }
    }

    /// Readies `device`, the tunnel's. Nothing is routed to it, and nobody asks there. Needs CAP_NET_ADMIN.
    pub async fn open(device: &str, state_dir: &Path, places: &Places) -> Result<Self, SystemError> {
        let lock = Lock::take(&places.run_dir).map_err(SystemError::Lock)?.ok_or(SystemError::Busy)?;
        let journal = Journal::in_dir(state_dir);
        undo_all(&journal)?;
        let routes = Routes::open(device)?;
        let dns = Dns::new(routes.device(), places.clone(), journal);
        Ok(Self { routes, dns, is_open: true, _lock: lock })
    }

    /// Makes the machine be as `wish` says, and says how far it is. To be called again after each change of the
    /// machine's own networks: they decide what clashes, and may have written their resolvers over ours.
    pub async fn apply(&mut self, wish: &Network) -> Result<Applied, SystemError> {
        let plan = self.routes.apply(&wish.routes)?;
        let (dns, bypasses) = self.dns.apply(&wish.domains).await;
        Ok(Applied { clashes: plan.clashes, refused: plan.refused, dns, bypasses })
    }

    /// The system's own resolvers, where all of the machine's questions come into the tunnel; else none.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.dns.upstreams()
    }

    /// Makes everything as it was.
    pub async fn close(mut self) -> Result<(), SystemError> {
        self.is_open = false;
        let resolvers = self.dns.undo().await.map_err(SystemError::Restore);
        routes::remove_all()?;
        resolvers
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if self.is_open {
            let outcome = self.dns.undo_files().map_err(SystemError::Restore);
            if let Err(error) = outcome.and(routes::remove_all().map_err(Into::into)) {
                tracing::error!(%error, "the machine's network is not as it was: the next start tries again");
            }
        }
    }
}

fn undo_all(journal: &Journal) -> Result<(), SystemError> {
    let resolvers = dns::recover(journal).map_err(SystemError::Restore);
    routes::remove_all()?;
    resolvers
}
