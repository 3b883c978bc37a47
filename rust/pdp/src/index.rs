use std::collections::{BTreeMap, BTreeSet};

use ztna_model::{DeviceId, GatewayId, Jkt, LeaseId, PersonId, SessionId};

use crate::rows::{Row, Rows, TokenHash};

/// Rows by what they belong to. Follows every change, so it is never looked up in vain.
#[derive(Debug, Default)]
pub(crate) struct Index {
    devices_of: Many<PersonId, DeviceId>,
    device_by_key: BTreeMap<Jkt, DeviceId>,
    sessions_of: Many<PersonId, SessionId>,
    sessions_on: Many<DeviceId, SessionId>,
    tokens_of: Many<SessionId, TokenHash>,
    leases_of: Many<SessionId, LeaseId>,
    leases_at: Many<GatewayId, LeaseId>,
}

impl Index {
    pub(crate) fn of(rows: &Rows) -> Self {
        let mut index = Self::default();
        rows.devices.values().for_each(|row| index.note(&row.clone().into(), true));
        rows.sessions.values().for_each(|row| index.note(&row.clone().into(), true));
        rows.tokens.values().for_each(|row| index.note(&row.clone().into(), true));
        rows.leases.values().for_each(|row| index.note(&row.clone().into(), true));
        index
    }

    /// A row came or went.
    pub(crate) fn note(&mut self, row: &Row, here: bool) {
        match row {
            Row::Device(row) => {
                self.devices_of.note(&row.owner, row.id, here);
                if here {
                    self.device_by_key.insert(row.jkt, row.id);
                } else {
                    self.device_by_key.remove(&row.jkt);
                }
            }
            Row::Session(row) => {
                self.sessions_of.note(&row.person, row.sid, here);
                self.sessions_on.note(&row.device, row.sid, here);
            }
            Row::Token(row) => self.tokens_of.note(&row.sid, row.hash, here),
            Row::LeaseRow(row) => {
                self.leases_of.note(&row.lease.sid, row.lease.id, here);
                self.leases_at.note(&row.lease.gw, row.lease.id, here);
            }
            Row::Organisation(_)
            | Row::Person(_)
            | Row::Invitation(_)
            | Row::Group(_)
            | Row::Resource(_)
            | Row::Site(_)
            | Row::Gateway(_)
            | Row::Policy(_)
            | Row::Enrolment(_)
            | Row::Hold(_) => {}
        }
    }

    pub(crate) fn devices_of(&self, person: &PersonId) -> BTreeSet<DeviceId> {
        self.devices_of.of(person)
    }

    pub(crate) fn device_with(&self, key: &Jkt) -> Option<DeviceId> {
        self.device_by_key.get(key).copied()
    }

    pub(crate) fn sessions_of(&self, person: &PersonId) -> BTreeSet<SessionId> {
        self.sessions_of.of(person)
    }

    pub(crate) fn sessions_on(&self, device: &DeviceId) -> BTreeSet<SessionId> {
        self.sessions_on.of(device)
    }

    pub(crate) fn tokens_of(&self, sid: &SessionId) -> BTreeSet<TokenHash> {
        self.tokens_of.of(sid)
    }

    pub(crate) fn leases_of(&self, sid: &SessionId) -> BTreeSet<LeaseId> {
        self.leases_of.of(sid)
    }

    pub(crate) fn leases_at(&self, gateway: &GatewayId) -> BTreeSet<LeaseId> {
        self.leases_at.of(gateway)
    }
}

/// One to many.
#[derive(Debug)]
struct Many<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Many<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Ord + Copy> Many<K, V> {
    fn note(&mut self, key: &K, value: V, here: bool) {
        if here {
            self.0.entry(key.clone()).or_default().insert(value);
            return;
        }
        if let Some(values) = self.0.get_mut(key) {
            values.remove(&value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn of(&self, key: &K) -> BTreeSet<V> {
        self.0.get(key).cloned().unwrap_or_default()
    }
}
