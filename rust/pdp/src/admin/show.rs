use ztna_api::admin::{
    Answer, Device, DeviceState, Gateway, GatewayState, Hold, Invitation, Person, Session, Status,
};
use ztna_model::{DeviceId, PersonId, Tier};

use crate::pdp::Pdp;
use crate::rows;

impl Pdp {
    pub(super) fn people(&self) -> Answer {
        let person = |row: &rows::Person| Person {
            id: row.id.clone(),
            name: row.name.clone(),
            email: row.email.as_ref().map(ToString::to_string),
            pseudonym: row.pseudonym,
            groups: self.groups_of(row),
            roles: row.roles.clone(),
            since: row.since,
        };
        let invitation = |row: &rows::Invitation| Invitation {
            email: row.email.to_string(),
            name: row.name.clone(),
            groups: row.groups.clone(),
            invited: row.invited,
        };
        Answer::People {
            people: self.rows.people.values().map(person).collect(),
            invitations: self.rows.invitations.values().map(invitation).collect(),
        }
    }

    pub(super) fn groups(&self) -> Answer {
        Answer::Groups { groups: self.rows.groups.values().cloned().collect() }
    }

    pub(super) fn device_list(&self, person: Option<&PersonId>) -> Answer {
        let theirs = |device: &&rows::Device| person.is_none_or(|person| device.owner == *person);
        let devices = self.rows.devices.values().filter(theirs).map(|row| self.device_shown(row)).collect();
        Answer::Devices { devices }
    }

    fn device_shown(&self, row: &rows::Device) -> Device {
        Device {
            id: row.id,
            name: row.name.clone(),
            owner: row.owner.clone(),
            state: match &row.state {
                rows::DeviceState::Waiting { code, .. } => DeviceState::Waiting { code: code.clone() },
                rows::DeviceState::Admitted { since, by } => DeviceState::Admitted { since: *since, by: *by },
                rows::DeviceState::Ended { since } => DeviceState::Ended { since: *since },
            },
            platform: row.platform.clone(),
            seen: row.seen,
            facts: self.facts_shown(&row.id),
        }
    }

    fn facts_shown(&self, device: &DeviceId) -> Vec<ztna_model::Fact> {
        let received = self.rows.devices.get(device).is_some_and(|row| row.received.is_some());
        if received { self.facts_at(device, self.clock.wall()) } else { Vec::new() }
    }

    pub(super) fn resources(&self) -> Answer {
        Answer::Resources { resources: self.rows.resources.values().cloned().collect() }
    }

    pub(super) fn sites(&self) -> Answer {
        Answer::Sites { sites: self.rows.sites.values().cloned().collect() }
    }

    pub(super) fn gateway_list(&self) -> Answer {
        Answer::Gateways { gateways: self.gateways_shown() }
    }

    fn gateways_shown(&self) -> Vec<Gateway> {
        let shown = |row: &rows::Gateway| {
            let state = if row.revoked.is_some() {
                GatewayState::Revoked
            } else if row.key.is_none() {
                GatewayState::Expected
            } else if self.gateways.stream(&row.id).is_some() {
                GatewayState::Up
            } else {
                GatewayState::Away
            };
            let leases = count(self.index.leases_at(&row.id).len());
            Gateway { id: row.id.clone(), site: row.site.clone(), state, leases }
        };
        self.rows.gateways.values().map(shown).collect()
    }

    pub(super) fn policies(&self) -> Answer {
        Answer::Policies { policies: self.rows.policies.values().cloned().collect() }
    }

    pub(super) fn sessions(&self) -> Answer {
        let live = self.rows.sessions.values().filter(|session| session.is_live());
        let shown = |row: &rows::Session| Session {
            sid: row.sid,
            person: row.person.clone(),
            name: self.rows.people.get(&row.person).map(|person| person.name.clone()).unwrap_or_default(),
            device: row.device,
            pending: !row.is_open(),
            connected: self.devices.told_stream(&row.sid).is_some(),
            leases: count(self.index.leases_of(&row.sid).len()),
            opened: row.opened,
            expires: self.ends_at(row),
        };
        Answer::Sessions { sessions: live.map(shown).collect() }
    }

    pub(super) fn holds(&self) -> Answer {
        let shown = |row: &rows::Hold| Hold {
            id: row.id,
            target: row.target.clone(),
            reason: row.reason.clone(),
            placed: row.placed,
            until: row.until,
            reach: self.reach(&self.cut_by(&row.id)),
        };
        Answer::Holds { holds: self.rows.holds.values().map(shown).collect() }
    }

    pub(super) fn status(&self) -> Answer {
        Answer::Status(Status {
            org: self.rows.org.clone(),
            incarnation: self.incarnation(),
            store: self.store_is_up(),
            sessions: count(self.rows.sessions.values().filter(|session| session.is_live()).count()),
            connected: count(self.devices.connected()),
            leases: count(self.rows.leases.len()),
            renewals: self.grants.renewals(),
            gateways: self.gateways_shown(),
            outstanding: self.outstanding(),
            warnings: self.warnings(),
        })
    }

    /// Settings under which a broker keeps less than it could.
    fn warnings(&self) -> Vec<String> {
        let settings = self.settings();
        let warnings = [
            (self.requirements.simulated, "made-up facts count: only a demonstration wants that"),
            (
                self.requirements.tier == Tier::Unproven,
                "facts of tier 0 count: whoever controls a device controls what it says of itself",
            ),
            (settings.first_device, "a person's first device admits itself"),
        ];
        warnings.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
