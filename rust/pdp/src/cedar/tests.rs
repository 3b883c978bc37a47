#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ztna_model::{
    Decision, DenyReason, DeviceId, Fact, FactKind, FactState, FactValue, Fix, PersonId, PolicyId, Resource,
    Tier, WallTime, minutes, secs,
};

use super::scene::Person;
use super::*;

const NOW: WallTime = WallTime::from_secs(1_795_435_200); // 2026-11-23, a Monday, noon UTC

static LANGUAGE: LazyLock<Arc<Language>> =
    LazyLock::new(|| Arc::new(Language::new(&"https://acme.example".parse().unwrap()).unwrap()));

fn language() -> Arc<Language> {
    LANGUAGE.clone()
}

fn resource(id: &str, site: &str) -> Resource {
    let wire = serde_json::json!({
        "id": id, "title": id, "site": site, "address": {"name": format!("{id}.demo")},
        "protocol": "tcp", "ports": "80",
    });
    serde_json::from_value(wire).unwrap()
}

fn known() -> Known {
    Known {
        groups: ["staff", "contractors"].map(|id| id.parse().unwrap()).into(),
        sites: ["hq", "lab"].map(|id| id.parse().unwrap()).into(),
        resources: ["wiki", "payroll", "robot"].map(|id| id.parse().unwrap()).into(),
    }
}

pub(super) fn resources() -> Vec<Resource> {
    vec![resource("wiki", "hq"), resource("payroll", "hq"), resource("robot", "lab")]
}

fn rule(text: &str) -> Result<Rule, String> {
    Rule::read(&"p".parse().unwrap(), text, &language())
}

pub(super) fn engine(policies: &[&str]) -> Engine {
    let language = language();
    let rules: BTreeMap<PolicyId, Rule> = policies
        .iter()
        .enumerate()
        .map(|(n, text)| {
            let id: PolicyId = format!("p{n}").parse().unwrap();
            (id.clone(), Rule::read(&id, text, &language).unwrap())
        })
        .collect();
    Engine::new(language, rules, &resources())
}

pub(super) fn person(groups: &[&str]) -> Person {
    let id = PersonId { issuer: "https://idp.example".into(), subject: "ana".into() };
    Person { id, groups: groups.iter().map(|id| id.parse().unwrap()).collect() }
}

pub(super) fn fact(kind: FactKind, state: FactState) -> Fact {
    let decided = matches!(state, FactState::Pass | FactState::Fail);
    let value = match kind {
        FactKind::OsSupported | FactKind::KernelCurrent => FactValue::Text("debian 13".into()),
        FactKind::PatchAge | FactKind::ClockSkew => FactValue::Number(3),
        _ => FactValue::Bool(true),
    };
    Fact {
        kind,
        state,
        tier: Tier::ProvenApp,
        value: decided.then_some(value),
        source: String::new(),
        why: String::new(),
        as_of: NOW,
        simulated: false,
    }
}

/// A device on which everything passes but what is named.
pub(super) fn surroundings(weak: &[(FactKind, FactState)]) -> Surroundings {
    let state =
        |kind| weak.iter().find(|(weak, _)| *weak == kind).map_or(FactState::Pass, |(_, state)| *state);
    Surroundings {
        sign: Sign { acr: None, amr: vec!["pwd".into()], age: minutes(1) },
        device: DeviceId([1; 16]),
        facts: FactKind::ALL.map(|kind| fact(kind, state(kind))).into(),
        from: None,
        at: NOW,
        utc_offset_minutes: 0,
    }
}

pub(super) fn judge(policies: &[&str], groups: &[&str], surroundings: Surroundings) -> Judged {
    let engine = engine(policies);
    let scene = Scene::new(&person(groups), surroundings, engine.language());
    engine.judge(&scene, &"wiki".parse().unwrap())
}

const STAFF: &str =
    r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;
const STAFF_DISK: &str = r#"permit(principal in Group::"staff", action == Action::"connect", resource in Site::"hq")
    when { context.device.disk_encrypted.state == "pass" };"#;
const NO_ROOT: &str = r#"forbid(principal, action == Action::"connect", resource)
    unless { context.device.running_as_root.state == "pass" };"#;

fn denied(reason: DenyReason, facts: &[FactKind]) -> Decision {
    Decision::Denied { reason, fixes: facts.iter().map(|fact| Fix::Device { fact: *fact }).collect() }
}

#[test]
fn p4_1_p4_2_answers_and_what_would_help() {
    use FactKind::*;
    use FactState::*;
    let ask = |reason| Decision::Denied { reason, fixes: vec![Fix::AskAdministrator] };
    let granted = Decision::Granted;
    let step_up = |acr: &str| Decision::StepUp { acr: Some(acr.into()), max_age: None };
    let fit: &[(FactKind, FactState)] = &[];
    let mfa = &format!("@step_up_acr(\"mfa\") {STAFF}");
    let fresh = r#"permit(principal in Group::"staff", action, resource) when { context has auth };"#;
    let by_tpm = STAFF_DISK.replace("disk_encrypted", "tpm");
    let fresh_sign_in = r#"permit(principal in Group::"staff", action == Action::"connect", resource)
        when { context.auth.age_s < 30 };"#;
    let night = r#"permit(principal, action == Action::"connect", resource)
        when { context.time.weekday == 1 && context.time.minute == 720 };"#;
    let patched = r#"permit(principal, action == Action::"connect", resource) when {
        context.device.patch_age.state == "pass" && context.device.patch_age has value
            && context.device.patch_age.value < 7 };"#;
    let overflow = r#"forbid(principal, action == Action::"connect", resource)
        when { context.auth.age_s * 9223372036854775807 < 0 };"#;
    assert!(rule(fresh).is_err());

    // (policies, groups, what is weak on the device, the answer)
    type Row<'a> = (Vec<&'a str>, &'a [&'a str], &'a [(FactKind, FactState)], Decision);
    let rows: Vec<Row<'_>> = vec![
        (vec![], &["staff"], fit, ask(DenyReason::NotEntitled)),
        (vec![STAFF], &["staff"], fit, granted.clone()),
        (vec![STAFF], &["contractors"], fit, ask(DenyReason::NotEntitled)),
        (vec![STAFF], &[], fit, ask(DenyReason::NotEntitled)),
        (vec![STAFF_DISK], &["staff"], fit, granted.clone()),
        (
            vec![STAFF_DISK],
            &["staff"],
            &[(DiskEncrypted, Fail)],
            denied(DenyReason::DeviceUnfit, &[DiskEncrypted]),
        ),
        (
            vec![STAFF_DISK],
            &["staff"],
            &[(DiskEncrypted, Unknown)],
            denied(DenyReason::DeviceUnproven, &[DiskEncrypted]),
        ),
        (
            vec![STAFF_DISK],
            &["staff"],
            &[(DiskEncrypted, Unsupported)],
            denied(DenyReason::DeviceUnproven, &[DiskEncrypted]),
        ),
        (vec![STAFF_DISK], &["staff"], &[(Tpm, Fail)], granted.clone()), // no rule reads it
        (
            vec![STAFF, NO_ROOT],
            &["staff"],
            &[(RunningAsRoot, Unknown)],
            denied(DenyReason::DeviceUnproven, &[RunningAsRoot]),
        ),
        (
            vec![STAFF_DISK, NO_ROOT],
            &["staff"],
            &[(RunningAsRoot, Fail), (DiskEncrypted, Unknown), (Tpm, Fail)],
            denied(DenyReason::DeviceUnfit, &[DiskEncrypted, RunningAsRoot]),
        ),
        // Two ways in: bringing one fact in order is enough, and only that one is suggested.
        (
            vec![STAFF_DISK, &by_tpm],
            &["staff"],
            &[(DiskEncrypted, Fail), (Tpm, Fail)],
            denied(DenyReason::DeviceUnfit, &[Tpm]),
        ),
        (vec![STAFF_DISK], &["contractors"], &[(DiskEncrypted, Fail)], ask(DenyReason::NotEntitled)),
        (vec![STAFF, "forbid(principal, action, resource);"], &["staff"], fit, ask(DenyReason::Forbidden)),
        (vec![mfa], &["staff"], fit, step_up("mfa")),
        (vec![mfa, STAFF], &["staff"], fit, granted.clone()), // another way in without it
        (
            vec![fresh_sign_in],
            &["staff"],
            fit,
            Decision::Denied { reason: DenyReason::EvidenceTooOld, fixes: vec![Fix::SignIn] },
        ),
        (vec![night], &[], fit, granted.clone()),
        (vec![patched], &[], fit, granted.clone()),
        (vec![STAFF, overflow], &["staff"], fit, ask(DenyReason::PolicyError)),
    ];
    for (policies, groups, weak, expected) in rows {
        let judged = judge(&policies, groups, surroundings(weak));
        assert_eq!(judged.decision, expected, "{policies:?} {groups:?} {weak:?}");
    }
}

#[test]
fn p4_1_the_request_fits_the_strict_schema() {
    let language = language();
    let weak = [(FactKind::Tpm, FactState::Unknown), (FactKind::ClockSkew, FactState::Fail)];
    let at_home = Surroundings { from: Some("::ffff:192.0.2.1".parse().unwrap()), ..surroundings(&weak) };
    let scene = Scene::new(&person(&["staff"]), at_home, &language);
    let resource = language.resource(&"wiki".parse().unwrap());
    let request = cedar_policy::Request::new(
        scene.principal.clone(),
        language.connect.clone(),
        resource,
        scene.context.clone().unwrap(),
        Some(language.validator.schema()),
    );
    request.unwrap();
    cedar_policy::Entities::from_entities([scene.person], Some(language.validator.schema())).unwrap();
}

#[test]
fn p4_2_obligations_shorten_a_lease_and_each_permit_is_a_way_in_of_its_own() {
    let short = format!("@max_ttl(\"10s\") {STAFF}");
    let longer = format!("@max_ttl(\"1m\") {STAFF}");
    let ttl = |policies: &[&str]| judge(policies, &["staff"], surroundings(&[])).max_ttl;
    assert_eq!(ttl(&[STAFF]), None);
    assert_eq!(ttl(&[&short]), Some(secs(10)));
    assert_eq!(ttl(&[&short, &longer]), Some(minutes(1)));
    assert_eq!(ttl(&[&short, STAFF]), None);
}

#[test]
fn p4_2_the_deciding_policies_are_named() {
    let decided = |policies: &[&str], weak| {
        let judged = judge(policies, &["staff"], surroundings(weak));
        judged.policies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(decided(&[STAFF_DISK, STAFF, NO_ROOT], &[]), ["p0", "p1"]);
    assert_eq!(decided(&[STAFF, NO_ROOT], &[(FactKind::RunningAsRoot, FactState::Fail)]), ["p1"]);
    assert_eq!(decided(&[], &[]), Vec::<String>::new());
}

#[test]
fn p4_1_policies_that_are_refused_when_written() {
    let on = |effect: &str, clauses: &str| {
        format!(r#"{effect}(principal, action == Action::"connect", resource) {clauses};"#)
    };
    let disk = "context.device.disk_encrypted";
    let accepted = [
        on("forbid", &format!("unless {{ {disk}.state == \"pass\" }}")),
        on(
            "forbid",
            &format!("unless {{ \"pass\" == {disk}.state && context.device.tpm.state == \"pass\" }}"),
        ),
        on(
            "forbid",
            &format!("unless {{ {disk}.state == \"pass\" && ({disk}.tier > 1 || {disk}.age_s < 60) }}"),
        ),
        on("forbid", &format!("when {{ context.auth.age_s > 60 }} unless {{ {disk}.state == \"pass\" }}")),
        on("forbid", "unless { context.device.id == Device::\"d\" } when { context.time.minute > 3 }"),
        on("permit", &format!("when {{ {disk}.state == \"pass\" && {disk} has value && {disk}.value }}")),
        on("permit", &format!("when {{ {disk}.state == \"pass\" }} when {{ {disk}.tier >= 2 }}")),
        on("permit", "unless { context.net has ip && context.net.ip.isLoopback() }"),
    ];
    for text in &accepted {
        assert!(rule(text).is_ok(), "{text}: {}", rule(text).unwrap_err());
    }
    let refused = [
        // A forbid that some state but pass escapes.
        (on("forbid", &format!("when {{ {disk}.state == \"fail\" }}")), "unless"),
        (on("forbid", &format!("when {{ {disk}.state != \"pass\" }}")), "unless"),
        (on("forbid", &format!("unless {{ {disk}.state == \"unknown\" }}")), "unless"),
        (on("forbid", &format!("unless {{ {disk}.state == \"pass\" || {disk}.tier > 1 }}")), "unless"),
        (
            on("forbid", &format!("unless {{ {disk}.state == \"pass\" || principal.issuer == \"x\" }}")),
            "unless",
        ),
        (on("forbid", &format!("unless {{ !({disk}.state == \"fail\") }}")), "unless"),
        (
            on("forbid", &format!("unless {{ if {disk}.state == \"pass\" then true else {disk}.tier > 1 }}")),
            "unless",
        ),
        (on("forbid", &format!("unless {{ {disk}.tier > 1 }}")), "unless"),
        (on("forbid", &format!("when {{ {disk} has value && {disk}.value == false }}")), "unless"),
        (
            on(
                "forbid",
                &format!(
                    "unless {{ {disk}.state == \"pass\" }} unless {{ context.device.tpm.state == \"pass\" }}"
                ),
            ),
            "one `unless`",
        ),
        (on("forbid", &format!("unless {{ [{disk}.state].contains(\"pass\") }}")), "unless"),
        (on("forbid", "unless { [context.device].contains(context.device) }"), "unless"),
        (on("forbid", "unless { context == context }"), "unless"),
        // A permit that something but pass satisfies.
        (on("permit", &format!("when {{ {disk}.state != \"fail\" }}")), "when"),
        (on("permit", &format!("unless {{ {disk}.state == \"fail\" }}")), "when"),
        (on("permit", &format!("when {{ {disk}.tier > 1 }}")), "when"),
        (
            on("permit", &format!("when {{ {disk}.state == \"pass\" || {disk}.state == \"unknown\" }}")),
            "when",
        ),
        // What Cedar itself refuses.
        ("permit(principal, action, resource)".into(), "not a Cedar policy"),
        (format!("{STAFF}{STAFF}"), "not a Cedar policy"),
        ("permit(principal == ?principal, action, resource);".into(), "not a Cedar policy"),
        (on("permit", "when { context.device.disk.state == \"pass\" }"), "disk"),
        (on("permit", &format!("when {{ {disk}.state == \"pass\" && {disk}.value }}")), "value"),
        (on("permit", "when { context.auth.age_s }"), "expected"),
        (on("permit", "when { false }"), "impossible"),
        // `see` is decided on person and group alone.
        (
            r#"permit(principal, action == Action::"see", resource) when { context.time.minute > 3 };"#
                .into(),
            "time",
        ),
        ("permit(principal, action, resource) when { context.auth.age_s < 9 };".into(), "auth"),
        // Annotations that were meant to do something.
        (format!("@max_ttl(\"10\") {STAFF}"), "span"),
        (format!("@maxttl(\"10s\") {STAFF}"), "not known"),
        (format!("@max_ttl(\"10s\") {NO_ROOT}"), "forbid"),
    ];
    for (text, why) in &refused {
        let error = rule(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn p4_1_a_policy_names_only_what_there_is() {
    let stranger = |text: &str| rule(text).unwrap().stranger(&known(), &language());
    assert_eq!(stranger(STAFF), None);
    assert_eq!(stranger(&STAFF.replace("staff", "stuff")), Some("Group::\"stuff\"".into()));
    assert_eq!(stranger(&STAFF.replace("wiki", "wikki")), Some("Resource::\"wikki\"".into()));
    assert_eq!(stranger(&STAFF_DISK.replace("hq", "head")), Some("Site::\"head\"".into()));
}

#[test]
fn p1_1_b04_a_policy_means_its_own_organisation_alone() {
    let other = Arc::new(Language::new(&"https://other.example".parse().unwrap()).unwrap());
    let id: PolicyId = "p".parse().unwrap();
    let rules = [(id.clone(), Rule::read(&id, STAFF, &other).unwrap())].into();
    let engine = Engine::new(language(), rules, &resources());
    let scene = Scene::new(&person(&["staff"]), surroundings(&[]), engine.language());
    assert!(!engine.judge(&scene, &"wiki".parse().unwrap()).decision.is_granted());
}

#[test]
fn p4_3_seeing_depends_on_person_and_group_alone() {
    let see =
        r#"permit(principal in Group::"staff", action == Action::"see", resource == Resource::"payroll");"#;
    let engine = engine(&[STAFF, see]);
    let sees = |groups: &[&str], weak: &[(FactKind, FactState)], resource: &str| {
        let scene = Scene::new(&person(groups), surroundings(weak), engine.language());
        engine.sees(&scene, &resource.parse().unwrap())
    };
    let broken = FactKind::ALL.map(|kind| (kind, FactState::Fail));
    assert!(sees(&["staff"], &[], "payroll"));
    assert!(sees(&["staff"], &broken, "payroll"));
    assert!(!sees(&["contractors"], &[], "payroll"));
    assert!(!sees(&["staff"], &[], "wiki"));
    assert!(!sees(&["staff"], &[], "nothing"));
}

#[test]
fn p4_2_the_time_of_day_is_the_organisation_s() {
    let at = |weekday: i64, minute: i64| {
        let text = format!(
            "permit(principal, action == Action::\"connect\", resource) when {{ context.time.weekday == {weekday} \
             && context.time.minute == {minute} }};"
        );
        move |wall: WallTime, offset| {
            let surroundings = Surroundings { at: wall, utc_offset_minutes: offset, ..surroundings(&[]) };
            judge(&[&text], &[], surroundings).decision.is_granted()
        }
    };
    assert!(at(1, 720)(NOW, 0));
    assert!(at(1, 780)(NOW, 60));
    assert!(at(7, 1_380)(NOW, -780));
    assert!(at(4, 0)(WallTime::EPOCH, 0));
    assert!(at(3, 1_439)(WallTime::EPOCH, -1));
}

/// The corpus holds policies by what they are: each is accepted or refused as its name says.
#[test]
fn policies_of_the_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/pdp");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let known = |rule: &Rule| rule.stranger(&known(), &language()).is_none();
        let accepted = rule(&text).is_ok_and(|rule| known(&rule));
        assert_eq!(accepted, name.starts_with("accepted-"), "{name}: {:?}", rule(&text).err());
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn f03_a_policy_as_deep_as_may_be_is_read_and_judged_and_a_deeper_one_is_refused() {
    // As much room as the program gives its threads; a build without optimisation needs nearly half of it.
    let room = std::thread::Builder::new().stack_size(8 << 20);
    room.spawn(check_depths).unwrap().join().unwrap();
}

fn check_depths() {
    type Shape = fn(usize) -> String;
    let shapes: [Shape; 7] = [
        |n| format!("{}true{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}true{}", "!(".repeat(2 * n), ")".repeat(2 * n)),
        |n| format!("principal in Group::\"staff\"{}", " && principal in Group::\"staff\"".repeat(n)),
        |n| format!("principal in Group::\"staff\"{}", " || principal in Group::\"contractors\"".repeat(n)),
        |n| format!("{}true{}", "if principal in Group::\"staff\" then ".repeat(n), " else false".repeat(n)),
        |n| format!("1{} == 1", " + 1 - 1".repeat(n)),
        |n| format!("[1].contains({}1{})", "if 1 == 1 then (".repeat(n), ") else 1".repeat(n)),
    ];
    for shape in shapes {
        let policy = |n| format!("permit (principal, action, resource) when {{ {} }};", shape(n));
        let deepest = (1..).take_while(|n| !depth::is_too_deep(&policy(*n))).last().unwrap();
        let judged = judge(&[&policy(deepest)], &["staff"], surroundings(&[]));
        assert_eq!(judged.decision, Decision::Granted, "{}", shape(2));
        for n in [deepest + 1, 3_000] {
            assert!(rule(&policy(n)).unwrap_err().starts_with("it nests too deep"), "{}", shape(2));
        }
    }
}
