use ztna_api::device::{Release, Wanted};
use ztna_model::{DenyReason, DomainName, Host, Synthetic};
use ztna_proxy::Verdict;

use crate::lookups::{is_name, is_of};
use crate::output::Output;
use crate::session::Session;
use crate::stream::Stream;

impl Session {
    /// The address that stands in for a name that may be known of; none if the book is full.
    pub(crate) fn stand_in(&mut self, name: &DomainName) -> Option<Synthetic> {
        let address = match self.book.address(name) {
            Ok(address) => address,
            Err(_) => {
                self.thin_out_book();
                self.book.address(name).ok()?
            }
        };
        if !self.is_exactly_known(name) {
            self.note_loose(name);
        }
        Some(address)
    }

    /// Who is meant by an address that an application goes to: one that stands in for a name means the name.
    pub(crate) fn behind(&self, host: &Host) -> Option<Host> {
        match host {
            Host::Address(address) if Synthetic::RANGES.iter().any(|range| range.contains(*address)) => {
                self.book.name_of(*address).cloned().map(Host::Name)
            }
            Host::Address(_) | Host::Name(_) => Some(host.clone()),
        }
    }

    /// What to ask the broker for, to reach `host`.
    pub(crate) fn wanted_for(&mut self, host: &Host) -> Result<Wanted, Verdict> {
        match host {
            Host::Address(address) => Ok(Wanted::Address(*address)),
            Host::Name(name) => {
                let synthetic =
                    self.stand_in(name).ok_or_else(|| Verdict::denied(DenyReason::LimitReached))?;
                Ok(Wanted::Name { name: name.clone(), synthetic })
            }
        }
    }

    /// Notes that a name below a wildcard has an address. The oldest that nobody uses makes room for it.
    fn note_loose(&mut self, name: &DomainName) {
        if self.lookups.loose.contains(name) {
            return;
        }
        self.lookups.loose.push_back(name.clone());
        if self.lookups.loose.len() > MOST_LOOSE {
            let unused = |other: &&DomainName| *other != name && !self.is_in_use(other);
            let unused = self.lookups.loose.iter().find(unused).cloned();
            if let Some(unused) = unused {
                self.forget_name(&unused);
            }
        }
    }

    /// A name below a wildcard does not exist: leases that were taken to find out go back, so that a page full of names
    /// that somebody made up leaves nothing behind.
    pub(crate) fn give_back(&mut self, name: &DomainName) {
        if self.is_exactly_known(name) {
            return;
        }
        let grants = self.resources.grants.values().filter(|grant| is_of(grant, name));
        for lease in grants.map(|grant| grant.lease).collect::<Vec<_>>() {
            if matches!(self.stream, Stream::Open(_)) {
                self.push(Output::Send(Box::new(Release { lease }.into())));
            }
            self.disallow(lease, DenyReason::NotFound);
        }
        self.forget_name(name);
    }

    pub(crate) fn forget_name(&mut self, name: &DomainName) {
        if !self.is_in_use(name) {
            self.lookups.loose.retain(|loose| loose != name);
            self.book.forget(name);
        }
    }

    /// Names that may not be known of any more make room in the book.
    fn thin_out_book(&mut self) {
        let names = self.book.entries().map(|(name, _)| name);
        let unknown: Vec<DomainName> = names.filter(|name| !self.may_know(name)).cloned().collect();
        for name in unknown {
            self.book.forget(&name);
        }
    }

    fn is_in_use(&self, name: &DomainName) -> bool {
        self.is_exactly_known(name) || self.is_leased(name) || self.is_dialled(name)
    }

    /// Whether there is a lease for the name, or one is asked for.
    pub(crate) fn is_leased(&self, name: &DomainName) -> bool {
        self.resources.grants.values().any(|grant| is_of(grant, name))
            || self.lookups.asked.values().any(|asked| is_name(asked, name))
    }
}

/// Names below wildcards that have addresses.
const MOST_LOOSE: usize = 1_024;
