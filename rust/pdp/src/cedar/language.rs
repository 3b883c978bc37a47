use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, Validator};
use ztna_model::{DeviceId, FactKind, GroupId, OrgId, PersonId, ResourceId, SiteId};

use crate::trust::StartError;

/// The schema, and the names of things within it. Ids carry the organisation's, so that no policy can mean another's.
pub(crate) struct Language {
    pub(super) validator: Validator,
    pub(super) see: EntityUid,
    pub(super) connect: EntityUid,
    pub(super) person: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) device: EntityTypeName,
    pub(super) site: EntityTypeName,
    pub(super) resource: EntityTypeName,
    org: OrgId,
}

impl Language {
    pub(crate) fn new(org: &OrgId) -> Result<Self, StartError> {
        let broken = |error: &dyn ToString| StartError::Schema(error.to_string());
        let (schema, _) = Schema::from_cedarschema_str(&schema()).map_err(|error| broken(&error))?;
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|error| broken(&error));
        let action = |text: &str| text.parse::<EntityUid>().map_err(|error| broken(&error));
        Ok(Self {
            validator: Validator::new(schema),
            see: action(r#"Action::"see""#)?,
            connect: action(r#"Action::"connect""#)?,
            person: name("Person")?,
            group: name("Group")?,
            device: name("Device")?,
            site: name("Site")?,
            resource: name("Resource")?,
            org: org.clone(),
        })
    }

    pub(super) fn person(&self, id: &PersonId) -> EntityUid {
        self.uid(&self.person, &format!("{} {}", id.issuer, id.subject))
    }

    pub(super) fn group(&self, id: &GroupId) -> EntityUid {
        self.uid(&self.group, id.as_str())
    }

    pub(super) fn device(&self, id: DeviceId) -> EntityUid {
        self.uid(&self.device, &id.to_string())
    }

    pub(super) fn site(&self, id: &SiteId) -> EntityUid {
        self.uid(&self.site, id.as_str())
    }

    pub(super) fn resource(&self, id: &ResourceId) -> EntityUid {
        self.uid(&self.resource, id.as_str())
    }

    /// What stands before every id.
    pub(super) fn uid_prefix(&self) -> String {
        format!("{}/", self.org)
    }

    /// The name of `id` among all organisations' things.
    pub(super) fn uid(&self, kind: &EntityTypeName, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(format!("{}/{id}", self.org)))
    }
}

/// What policies can be about, as a Cedar schema: made from the kinds of facts there are.
pub fn schema() -> String {
    let facts = FactKind::ALL.map(|kind| format!("    {kind}: {},\n", fact(kind))).concat();
    format!(
        r#"// In policies, ids stand without the organisation: Group::"staff", Resource::"wiki".
entity Group;
entity Person in [Group] {{ issuer: String }};
entity Device;
entity Site;
entity Resource in [Site] {{ protocol: String }};

// Who may know of a resource: by person and group alone, so its context is empty.
action see appliesTo {{ principal: Person, resource: Resource }};

// Who may reach it. A fact's state is "pass", "fail", "unknown" or "unsupported"; it has a value where it passes or fails.
action connect appliesTo {{ principal: Person, resource: Resource, context: {{
  auth: {{ acr: String, amr: Set<String>, age_s: Long }},
  device: {{
    id: Device,
{facts}  }},
  net: {{ ip?: ipaddr }},
  time: {{ weekday: Long, minute: Long }},
}} }};
"#
    )
}

fn fact(kind: FactKind) -> String {
    let value = match kind {
        FactKind::OsSupported | FactKind::KernelCurrent => "String",
        FactKind::PatchAge | FactKind::ClockSkew => "Long",
        FactKind::DiskEncrypted
        | FactKind::SecureBoot
        | FactKind::Tpm
        | FactKind::Firewall
        | FactKind::ScreenLock
        | FactKind::AutomaticLogin
        | FactKind::RunningAsRoot
        | FactKind::DebuggerAttached => "Bool",
    };
    format!("{{ state: String, tier: Long, age_s: Long, value?: {value}, simulated: Bool }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_1_the_schema_holds_a_required_record_for_each_fact() {
        let language = Language::new(&"https://acme.example".parse().unwrap()).unwrap();
        assert_eq!(language.group(&"staff".parse().unwrap()).id().unescaped(), "https://acme.example/staff");
        for kind in FactKind::ALL {
            assert!(schema().contains(&format!("{kind}: {{ state: String")), "{kind}");
        }
    }
}
