use ztna_api::admin::{HoldTarget, Policy, Settings};
use ztna_model::{DenyReason, DomainName, SessionId};

use crate::cedar::{Engine, Known, Rule};
use crate::pdp::Pdp;
use crate::review::Affected;
use crate::rows::{Key, One, Row, Write};
use crate::trust::StartError;

impl Pdp {
    /// Changes the image, and says whose decisions have to be made anew. Nobody who changes a row can forget to ask.
    pub(crate) fn apply(&mut self, writes: &[Write]) -> Affected {
        let mut affected = Affected::default();
        let mut configured = false;
        for write in writes {
            let key = write.key();
            let (before, after) = (self.row(&key), row_of(write));
            self.concerned(&key, before.as_ref(), after, &mut affected);
            if let Some(row) = &before {
                self.index.note(row, false);
            }
            self.rows.apply(write);
            if let Some(row) = after {
                self.index.note(row, true);
            }
            if let Key::Device(device) = &key {
                self.devices.forget_facts_of(device);
            }
            configured |= matches!(key, Key::Organisation(_) | Key::Policy(_) | Key::Resource(_));
        }
        if configured {
            self.reconfigure();
        }
        affected
    }

    pub(crate) fn settings(&self) -> Settings {
        self.rows.organisation.get(&One).map(|row| row.settings.clone()).unwrap_or_default()
    }

    /// Domain names under which everything is the organisation's.
    pub(crate) fn suffixes(&self) -> &[DomainName] {
        self.rows.organisation.get(&One).map_or(&[], |row| &row.settings.suffixes)
    }

    pub(crate) fn read_settings(&mut self) -> Result<(), String> {
        self.requirements = requirements(&self.settings())?;
        self.devices.forget_facts();
        Ok(())
    }

    pub(crate) fn read_policies(&self) -> Result<Engine, StartError> {
        let language = self.engine.language();
        let read = |policy: &Policy| {
            let read_before = self.engine.rules().get(&policy.id).filter(|rule| rule.text() == policy.text);
            let rule = match read_before {
                Some(rule) => Ok(rule.clone()),
                None => Rule::read(&policy.id, &policy.text, language),
            };
            rule.map(|rule| (policy.id.clone(), rule))
                .map_err(|message| StartError::Policy { policy: policy.id.clone(), message })
        };
        let rules = self.rows.policies.values().map(read).collect::<Result<_, _>>()?;
        Ok(Engine::new(language.clone(), rules, self.rows.resources.values()))
    }

    /// What policies may name.
    pub(crate) fn known(&self) -> Known {
        Known {
            groups: self.rows.groups.keys().cloned().collect(),
            sites: self.rows.sites.keys().cloned().collect(),
            resources: self.rows.resources.keys().cloned().collect(),
        }
    }

    fn row(&self, key: &Key) -> Option<Row> {
        match self.rows.as_it_is(key) {
            Write::Put(row) => Some(row),
            Write::Delete(_) => None,
        }
    }

    /// Settings and policies are checked before they are written, so they are read without complaint; were one not,
    /// what was in force before would stay.
    fn reconfigure(&mut self) {
        self.read_settings().ok();
        if let Ok(engine) = self.read_policies() {
            self.engine = engine;
        }
    }

    fn concerned(&self, key: &Key, before: Option<&Row>, after: Option<&Row>, affected: &mut Affected) {
        match key {
            Key::Organisation(_) | Key::Group(_) | Key::Resource(_) | Key::Policy(_) => affected.everybody(),
            Key::Person(person) => {
                if !matches!((before, after), (Some(Row::Person(before)), Some(Row::Person(after)))
                    if before.groups == after.groups && before.claimed == after.claimed)
                {
                    affected.add(self.index.sessions_of(person));
                }
            }
            Key::Device(device) => {
                if !matches!((before, after), (Some(Row::Device(before)), Some(Row::Device(after)))
                    if before.state == after.state && before.received == after.received)
                {
                    affected.add(self.index.sessions_on(device));
                }
            }
            Key::Session(sid) => {
                if let (Some(Row::Session(before)), Some(Row::Session(after))) = (before, after)
                    && before.decides_like(after)
                {
                    return;
                }
                affected.add([*sid]);
                if let Some(Row::Session(after)) = after
                    && !after.is_live()
                {
                    affected.cut(*sid, DenyReason::SessionEnded);
                }
            }
            Key::Hold(_) => {
                if let Some(Row::Hold(hold)) = after.or(before) {
                    self.held(&hold.target, after.is_some(), affected);
                }
            }
            Key::Gateway(gateway) => {
                if let Some(Row::Gateway(after)) = after
                    && after.revoked.is_some()
                {
                    let leases = self.index.leases_at(gateway);
                    let rows = leases.iter().filter_map(|id| self.rows.leases.get(id));
                    affected.add(rows.map(|row| row.lease.sid));
                }
            }
            Key::Invitation(_) | Key::Site(_) | Key::Token(_) | Key::Enrolment(_) | Key::LeaseRow(_) => {}
        }
    }

    fn held(&self, target: &HoldTarget, placed: bool, affected: &mut Affected) {
        if matches!(target, HoldTarget::Resource(_)) {
            return affected.everybody();
        }
        for sid in self.sessions_under(target) {
            affected.add([sid]);
            if placed {
                affected.cut(sid, DenyReason::Held);
            }
        }
    }

    /// The sessions that a hold on `target` would deny everything.
    pub(crate) fn sessions_under(&self, target: &HoldTarget) -> Vec<SessionId> {
        match target {
            HoldTarget::Person(person) => self.index.sessions_of(person).into_iter().collect(),
            HoldTarget::Device(device) => self.index.sessions_on(device).into_iter().collect(),
            HoldTarget::Session(sid) => vec![*sid],
            HoldTarget::Resource(_) => Vec::new(),
        }
    }
}

const fn row_of(write: &Write) -> Option<&Row> {
    match write {
        Write::Put(row) => Some(row),
        Write::Delete(_) => None,
    }
}

/// What the settings measure facts by.
pub(crate) fn requirements(settings: &Settings) -> Result<ztna_posture::Requirements, String> {
    let document = serde_json::Value::Object(settings.requirements.clone());
    serde_json::from_value(document).map_err(|error| error.to_string())
}
