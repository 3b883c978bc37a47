use std::collections::BTreeSet;

use ztna_api::admin::{Group, Policy, Settings, Site};
use ztna_model::{
    FactKind, FactValue, Incarnation, Observed, PersonId, Pseudonym, PublicKey, Reading, Resource, WallTime,
};

use super::org;
use crate::rows::{Gateway, One, Organisation, Person, Rows};

pub(crate) const ISSUER: &str = "https://idp.acme.example";
pub(crate) const START: WallTime = WallTime::from_secs(1_795_435_200); // 2026-11-23, a Monday, noon UTC

pub(crate) const SEE: &str = r#"permit(principal in Group::"staff", action == Action::"see", resource in Site::"hq")
    unless { resource == Resource::"ledger" };"#;
pub(crate) const WIKI: &str =
    r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;
pub(crate) const PAYROLL: &str = r#"permit(principal in Group::"staff", action == Action::"connect",
    resource == Resource::"payroll") when { context.device.disk_encrypted.state == "pass" };"#;

pub(crate) fn person(subject: &str) -> PersonId {
    PersonId { issuer: ISSUER.into(), subject: subject.into() }
}

pub(crate) fn resource(id: &str, address: &str) -> Resource {
    let kind = if address.contains('/') { "prefix" } else { "name" };
    let wire = serde_json::json!({
        "id": id, "title": id, "site": "hq", "address": {kind: address}, "protocol": "tcp", "ports": "80",
    });
    serde_json::from_value(wire).unwrap()
}

/// Ana and Bo are staff; the wiki is open to them, payroll to those with an encrypted disk, the ledger to nobody.
pub(super) fn rows(gateway_key: PublicKey) -> Rows {
    let mut rows = Rows::new(org());
    let settings = Settings {
        requirements: serde_json::from_str(r#"{"tier": 0, "simulated": true}"#).unwrap(),
        ..Settings::default()
    };
    rows.organisation.insert(One, Organisation { incarnation: Incarnation([9; 16]), settings });
    rows.groups.insert(
        "staff".parse().unwrap(),
        Group { id: "staff".parse().unwrap(), title: "Staff".into(), claims: BTreeSet::new() },
    );
    for (n, name) in ["ana", "bo"].into_iter().enumerate() {
        let row = Person {
            id: person(name),
            name: name.into(),
            email: None,
            pseudonym: Pseudonym([u8::try_from(n).unwrap() + 1; 16]),
            groups: ["staff".parse().unwrap()].into(),
            claimed: BTreeSet::new(),
            roles: BTreeSet::new(),
            since: None,
            not_before: WallTime::EPOCH,
        };
        rows.people.insert(row.id.clone(), row);
    }
    rows.sites.insert("hq".parse().unwrap(), Site { id: "hq".parse().unwrap(), title: "HQ".into() });
    for id in ["wiki", "payroll", "ledger"] {
        rows.resources.insert(id.parse().unwrap(), resource(id, &format!("{id}.demo")));
    }
    for (id, text) in [("see", SEE), ("wiki", WIKI), ("payroll", PAYROLL)] {
        let row = Policy { id: id.parse().unwrap(), text: text.into(), version: 1, changed: START };
        rows.policies.insert(row.id.clone(), row);
    }
    let gateway = Gateway {
        id: "gw-1".parse().unwrap(),
        site: "hq".parse().unwrap(),
        key: Some(gateway_key),
        revoked: None,
    };
    rows.gateways.insert(gateway.id.clone(), gateway);
    rows
}

/// A reading that is in order, or is not.
pub(crate) fn reading(kind: FactKind, good: bool) -> Reading {
    use FactKind::*;
    let value = match kind {
        OsSupported => FactValue::Text(if good { "debian 13" } else { "debian 8" }.into()),
        KernelCurrent => FactValue::Text(if good { "6.1" } else { "6.1 < 6.2" }.into()),
        PatchAge => FactValue::Number(if good { 1 } else { 400 }),
        ClockSkew => FactValue::Number(if good { 0 } else { 200 }),
        DiskEncrypted | SecureBoot | Tpm | Firewall | ScreenLock => FactValue::Bool(good),
        AutomaticLogin | RunningAsRoot | DebuggerAttached => FactValue::Bool(!good),
    };
    Reading { kind, observed: Observed::Value(value), source: "test".into(), age_s: 0, simulated: false }
}
