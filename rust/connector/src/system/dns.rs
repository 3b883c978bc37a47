use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ztna_model::DomainName;
use ztna_net::link::DeviceIndex;

use super::Places;
use super::bypass::{Bypass, HostsLine};
use super::journal::{Journal, Record};
use super::resolv_conf::{self, ResolvConf, nameservers};
use super::resolvconf::{self, Resolvconf};
use super::resolved::Resolved;

/// How the organisation's names find the resolver inside the tunnel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsPath {
    /// There are no names to find.
    #[default]
    Idle,
    /// systemd-resolved sends them there, and only them.
    Resolved,
    /// `resolvconf` sends all questions there: what is not the organisation's is forwarded.
    Resolvconf,
    /// `resolv.conf` sends all questions there: what is not the organisation's is forwarded.
    ResolvConf,
    /// They don't: the local proxy is the way.
    Failed {
        /// Why.
        why: String,
    },
}

#[derive(Debug)]
pub(super) struct Dns {
    device: DeviceIndex,
    places: Places,
    journal: Journal,
    record: Record,
    way: Way,
    others: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Way {
    None,
    Resolved(Resolved),
    Resolvconf(Resolvconf),
    File,
}

impl Dns {
    pub(super) fn new(device: DeviceIndex, places: Places, journal: Journal) -> Self {
        Self { device, places, journal, record: Record::default(), way: Way::None, others: Vec::new() }
    }

    /// Brings it about that `domains`, and all names below them, are asked inside the tunnel.
    pub(super) async fn apply(&mut self, domains: &[DomainName]) -> (DnsPath, Vec<Bypass>) {
        if domains.is_empty() {
            let path = self.undo().await.map_or_else(failed, |()| DnsPath::Idle);
            return (path, Vec::new());
        }
        let hosts = HostsLine::read(&std::fs::read_to_string(&self.places.nsswitch).unwrap_or_default());
        let mut bypasses: Vec<Bypass> = hosts.hides(domains).collect();
        self.choose(hosts).await;
        let done = match &self.way {
            Way::Resolved(resolved) => match resolved.apply(domains).await {
                Ok(is_plain) => {
                    bypasses.extend((!is_plain).then_some(Bypass::StrictTls));
                    bypasses.extend((!self.is_stub()).then_some(Bypass::ResolvConfElsewhere));
                    Ok(DnsPath::Resolved)
                }
                Err(error) => Err(error.to_string()),
            },
            Way::Resolvconf(program) => self.by_program(program.clone()).await.map(|()| DnsPath::Resolvconf),
            Way::File | Way::None => self.by_file().map(|()| DnsPath::ResolvConf),
        };
        (done.unwrap_or_else(failed), bypasses)
    }

    /// The system's own resolvers, for what is not the organisation's, where all questions come to us.
    pub(super) fn upstreams(&self) -> Vec<SocketAddr> {
        match self.way {
            Way::None | Way::Resolved(_) => Vec::new(),
            Way::Resolvconf(_) => self.others.clone(),
            Way::File => ResolvConf::at(&self.places.resolv_conf).upstreams(self.record.file.as_ref()),
        }
    }

    /// Makes everything as it was.
    pub(super) async fn undo(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.way, Way::None) {
            Way::Resolved(resolved) => {
                let _ = resolved.revert().await; // it does by itself when the device is gone
            }
            Way::Resolvconf(program) => {
                program.release().await.map_err(|error| error.to_string())?;
                self.journal.write(&Record::default()).map_err(|error| error.to_string())?;
            }
            Way::None | Way::File => {}
        }
        self.undo_files()
    }

    /// As much of it as can be done without waiting.
    pub(super) fn undo_files(&mut self) -> Result<(), String> {
        self.record = Record::default();
        recover(&self.journal)
    }

    /// Once there is a way, it stays, unless whoever it leads through has gone.
    async fn choose(&mut self, hosts: HostsLine) {
        match &self.way {
            Way::Resolved(resolved) if resolved.is_there().await => return,
            Way::Resolvconf(_) | Way::File => return,
            Way::Resolved(_) | Way::None => {}
        }
        self.way = Way::File;
        if self.is_stub() || hosts.has_resolve {
            if let Ok(resolved) = Resolved::find(self.places.bus.as_deref(), self.device).await {
                self.way = Way::Resolved(resolved);
            }
        } else if let Some(program) = Resolvconf::find(&self.places.resolv_conf, &self.places.programs) {
            self.way = Way::Resolvconf(program);
        }
    }

    /// Whether programs that read resolv.conf ask systemd-resolved.
    fn is_stub(&self) -> bool {
        let text = std::fs::read_to_string(&self.places.resolv_conf).unwrap_or_default();
        nameservers(&text).iter().any(|at| STUBS.contains(&at.ip().to_string().as_str()))
    }

    async fn by_program(&mut self, program: Resolvconf) -> Result<(), String> {
        if self.record.resolvconf.is_none() {
            let text = std::fs::read_to_string(&self.places.resolv_conf).unwrap_or_default();
            self.others = nameservers(&text);
            self.record.resolvconf = Some(program.program());
            self.journal.write(&self.record).map_err(|error| error.to_string())?;
        }
        program.take().await.map_err(|error| error.to_string())?;
        if let Some(others) = program.others().await {
            self.others = others;
        }
        Ok(())
    }

    fn by_file(&mut self) -> Result<(), String> {
        let file = ResolvConf::at(&self.places.resolv_conf);
        let told = |error: std::io::Error| format!("{}: {error}", self.places.resolv_conf.display());
        let Some(intent) = file.intent(self.record.file.as_ref()).map_err(told)? else { return Ok(()) };
        let record = Record { file: Some(intent.clone()), ..self.record.clone() };
        self.journal.write(&record).map_err(|error| error.to_string())?;
        self.record = record;
        file.take(&intent).map_err(told)
    }
}

/// Undoes what the journal holds, whichever process wrote it.
pub(super) fn recover(journal: &Journal) -> Result<(), String> {
    let record = journal.read().map_err(|error| error.to_string())?;
    if let Some(taken) = &record.file {
        resolv_conf::restore(taken).map_err(|error| format!("{}: {error}", taken.path.display()))?;
    }
    if let Some(program) = &record.resolvconf {
        resolvconf::release_after_crash(program).map_err(|error| error.to_string())?;
    }
    journal.write(&Record::default()).map_err(|error| error.to_string())
}

fn failed(why: String) -> DnsPath {
    DnsPath::Failed { why }
}

/// Where systemd-resolved listens for programs that read resolv.conf.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

/// Where programs are looked for: a service's search path may lack these.
pub(super) fn program_dirs() -> Vec<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin"].map(PathBuf::from).into()
}
