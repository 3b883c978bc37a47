#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::collections::BTreeSet;

use ztna_api::admin::{
    AdminError, Answer, GatewayState, Group, HoldTarget, Invited, Op, PolicyChange, Preview, Right, Role,
    Settings, Site, Verdict,
};
use ztna_model::{
    Decision, DenyReason, DeviceId, FactKind, FactState, Fix, HoldId, PublicKey, Resource, Signer, minutes,
    secs,
};

use crate::audit::{By, Event};
use crate::testing::{Bench, Store, p256, person, resource};
use crate::{ClaimKind, Enrol, EnrolError, EnrolledGateway, Input, Output, RenewCertificate, RequestId};

fn token(answer: Result<Answer, AdminError>) -> String {
    match answer.unwrap() {
        Answer::Token { token, .. } => token.expose().clone(),
        other => panic!("{other:?}"),
    }
}

fn message(answer: Result<Answer, AdminError>) -> String {
    answer.expect_err("a refusal").to_string()
}

#[test]
fn p1_4_the_first_owner_is_made_by_a_single_use_token() {
    let (mut bench, _) = Bench::new();
    let set_up = |bench: &mut Bench, token: &str| {
        let op = Op::SetUp { token: token.to_owned().into(), person: person("root"), name: "Root".into() };
        bench.admin(op)
    };
    assert_eq!(set_up(&mut bench, "guessed"), Err(AdminError::BadToken));
    let late = token(bench.admin(Op::SetUpToken {}));
    bench.after(minutes(30));
    assert_eq!(set_up(&mut bench, &late), Err(AdminError::BadToken));
    let good = token(bench.admin(Op::SetUpToken {}));
    set_up(&mut bench, &good).unwrap();
    assert!(bench.stored.people[&person("root")].roles.contains(&Role::Owner));
    assert_eq!(set_up(&mut bench, &good), Err(AdminError::BadToken));
    assert!(matches!(bench.admin(Op::SetUpToken {}), Err(AdminError::Exists { .. })));
    assert!(bench.events().iter().any(|event| matches!(event, Event::OwnerMade { .. })));
}

#[test]
fn p1_5_the_last_owner_stays() {
    let (mut bench, _) = Bench::new();
    let owner = token(bench.admin(Op::SetUpToken {}));
    let op = Op::SetUp { token: owner.into(), person: person("ana"), name: String::new() };
    bench.admin(op).unwrap();
    let roles = |roles: &[Role]| roles.iter().copied().collect::<BTreeSet<_>>();
    let set = |name: &str, list: &[Role]| Op::PersonRoles { person: person(name), roles: roles(list) };
    assert_eq!(bench.admin(set("ana", &[Role::Auditor])), Err(AdminError::LastOwner));
    assert_eq!(bench.admin(Op::PersonRemove { person: person("ana") }), Err(AdminError::LastOwner));
    bench.admin(set("bo", &[Role::Owner])).unwrap();
    // Both at once: the second has to wait and see that it would be the last.
    bench.store = Store::Slow;
    let requests = ["ana", "bo"].map(|name| {
        let request = RequestId(bench.number());
        bench.handle(Input::Admin(crate::Admin { request, uid: 0, op: set(name, &[]) }));
        request
    });
    bench.flush();
    let answers = requests.map(|request| bench.admin_answer(request).unwrap());
    assert_eq!(answers, [Ok(Answer::Done {}), Err(AdminError::LastOwner)]);
}

#[test]
fn removing_a_person_ends_all_that_is_theirs() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    assert!(matches!(bench.admin(Op::PersonRemove { person: person("ana") }), Ok(Answer::Revoked(_))));
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
    assert!(!bench.session(&device.tokens.sid).is_live());
    assert!(!bench.device_row(&device.tokens.device).is_theirs());
    assert!(bench.sign_in("ana", &p256()).is_err());
    // Invited again, their next device is not their first.
    let who = Invited::Person(person("ana"));
    bench.admin(Op::PersonInvite { who, name: "Ana".into(), groups: BTreeSet::new() }).unwrap();
    let tokens = bench.sign_in("ana", &p256()).unwrap();
    assert_eq!(tokens.state, ztna_api::token::Admission::Pending);
}

#[test]
fn p6_5_prefixes_that_overlap_between_sites_are_refused() {
    let (mut bench, _) = Bench::new();
    bench.admin(Op::SitePut { site: Site { id: "lab".parse().unwrap(), title: "Lab".into() } }).unwrap();
    let put = |bench: &mut Bench, id: &str, site: &str, address: &str| {
        let mut resource = resource(id, address);
        resource.site = site.parse().unwrap();
        bench.admin(Op::ResourcePut { resource })
    };
    put(&mut bench, "plant", "hq", "10.1.0.0/16").unwrap();
    put(&mut bench, "plc", "hq", "10.1.2.0/24").unwrap();
    assert!(message(put(&mut bench, "robot", "lab", "10.0.0.0/8")).contains("overlaps the resource"));
    put(&mut bench, "robot", "lab", "10.2.0.0/16").unwrap();
    put(&mut bench, "robot", "lab", "10.2.0.0/17").unwrap();
    for ours in ["198.18.0.0/24", "198.19.0.1/32", "198.0.0.0/8", "2001:2::/64", "2001:2:0:1::/64"] {
        assert!(message(put(&mut bench, "bad", "hq", ours)).contains("stand in"), "{ours}");
    }
    assert!(message(put(&mut bench, "bad", "nowhere", "10.9.0.0/16")).contains("no site"));
}

#[test]
fn nothing_that_is_used_is_removed() {
    let (mut bench, _) = Bench::new();
    let group = Op::GroupRemove { group: "staff".parse().unwrap() };
    assert!(message(bench.admin(group.clone())).contains("people are in the group"));
    for name in ["ana", "bo"] {
        bench.admin(Op::PersonGroups { person: person(name), groups: BTreeSet::new() }).unwrap();
    }
    assert!(message(bench.admin(group)).contains("names Group::\"staff\""));
    let wiki = Op::ResourceRemove { resource: "wiki".parse().unwrap() };
    assert!(message(bench.admin(wiki)).contains("the policy `wiki` names Resource::\"wiki\""));
    let site = Op::SiteRemove { site: "hq".parse().unwrap() };
    assert!(message(bench.admin(site)).contains("lives there"));
}

#[test]
fn p4_1_a_policy_is_checked_when_it_is_written() {
    let (mut bench, _) = Bench::new();
    let put = |bench: &mut Bench, text: &str| {
        bench.admin(Op::PolicyPut { policy: "new".parse().unwrap(), text: text.into() })
    };
    let rows = [
        ("permit(principal, action, resource)", "not a Cedar policy"),
        (
            r#"permit(principal in Group::"stuff", action, resource);"#,
            r#"names Group::"stuff", which does not exist"#,
        ),
        (
            r#"forbid(principal, action == Action::"connect", resource)
                when { context.device.tpm.state == "fail" };"#,
            "unless",
        ),
    ];
    for (text, why) in rows {
        let error = message(put(&mut bench, text));
        assert!(error.contains(why), "{error}");
    }
    put(&mut bench, crate::testing::WIKI).unwrap();
    put(&mut bench, crate::testing::PAYROLL).unwrap();
    assert_eq!(bench.stored.policies[&"new".parse().unwrap()].version, 2);
    assert!(bench.events().iter().any(|event| matches!(event, Event::PolicyPut { version: 2, .. })));
}

fn test(bench: &mut Bench, name: &str, resource: &str) -> Vec<Verdict> {
    let op = Op::PolicyTest { person: person(name), device: None, resource: resource.parse().unwrap() };
    match bench.admin(op).unwrap() {
        Answer::Tested { verdicts } => verdicts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn may_ana_reach_it_now_and_why() {
    let (mut bench, _) = Bench::new();
    // Nobody is signed in: the answer is for a fit device.
    let [verdict] = test(&mut bench, "ana", "payroll").try_into().unwrap();
    assert_eq!((verdict.device, verdict.decision), (None, Decision::Granted));
    assert_eq!(verdict.policies, ["payroll".parse().unwrap()].into());
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[FactKind::DiskEncrypted]);
    let [verdict] = test(&mut bench, "ana", "payroll").try_into().unwrap();
    assert_eq!(verdict.device, Some(device.tokens.device));
    let fixes = vec![Fix::Device { fact: FactKind::DiskEncrypted }];
    assert_eq!(verdict.decision, Decision::Denied { reason: DenyReason::DeviceUnfit, fixes });
    assert_eq!(verdict.facts, [(FactKind::DiskEncrypted, FactState::Fail)]);
    assert!(verdict.visible);
    let [hidden] = test(&mut bench, "ana", "ledger").try_into().unwrap();
    assert!(!hidden.visible);
    let nobody = Op::PolicyTest { person: person("eve"), device: None, resource: "wiki".parse().unwrap() };
    assert!(bench.admin(nobody).is_err());
    let device = Some(DeviceId([0; 16]));
    let elsewhere = Op::PolicyTest { person: person("ana"), device, resource: "wiki".parse().unwrap() };
    assert!(bench.admin(elsewhere).is_err());
}

fn preview(bench: &mut Bench, change: PolicyChange) -> Preview {
    match bench.admin(Op::PolicyPreview { change }).unwrap() {
        Answer::Preview(preview) => preview,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_preview_says_who_gains_and_who_loses_and_changes_nothing() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[FactKind::Tpm]);
    bench.granted(&device, &mut gate, "wiki.demo");
    let put =
        |policy: &str, text: &str| PolicyChange::Put { policy: policy.parse().unwrap(), text: text.into() };
    let names = |shifts: &[ztna_api::admin::Shift]| -> Vec<(String, String, Right, usize)> {
        let row = |shift: &ztna_api::admin::Shift| {
            let (person, resource) = (shift.person.subject.clone(), shift.resource.to_string());
            (person, resource, shift.right, shift.sessions.len())
        };
        shifts.iter().map(row).collect()
    };
    let before = bench.pdp.rows().clone();
    let open =
        preview(&mut bench, put("open", r#"permit(principal, action, resource == Resource::"ledger");"#));
    let both = |right, sessions| {
        ["ana", "bo"]
            .map(|name| (name.to_owned(), "ledger".to_owned(), right, usize::from(sessions && name == "ana")))
    };
    let mut expected: Vec<_> =
        both(Right::Connect, true).into_iter().chain(both(Right::See, false)).collect();
    let mut gains = names(&open.gains);
    expected.sort();
    gains.sort();
    assert_eq!((gains, open.losses), (expected, vec![]));
    // Everybody with a fit device keeps the wiki; Ana's session, which has no TPM, loses it.
    let text = r#"forbid(principal, action == Action::"connect", resource)
        unless { context.device.tpm.state == "pass" };"#;
    let closed = preview(&mut bench, put("tpm", text));
    assert_eq!(names(&closed.losses)[0], ("ana".into(), "payroll".into(), Right::Connect, 1));
    assert!(closed.gains.is_empty() && closed.losses.iter().all(|shift| shift.person == person("ana")));
    let removed = preview(&mut bench, PolicyChange::Remove { policy: "wiki".parse().unwrap() });
    assert_eq!(removed.losses.len(), 2);
    assert_eq!(*bench.pdp.rows(), before);
    assert_eq!(gate.leases.len(), 1);
    assert!(bench.admin(Op::PolicyPreview { change: put("x", "nonsense") }).is_err());
}

fn enrol(bench: &mut Bench, token: &str, key: PublicKey) -> Result<EnrolledGateway, EnrolError> {
    let request = RequestId(bench.number());
    bench.handle(Input::Enrol(Enrol { request, token: token.to_owned().into(), key }));
    bench
        .find(|output| match output {
            Output::Enrolled(answered, answer) if *answered == request => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
}

fn renew(bench: &mut Bench, gateway: &str, key: PublicKey) -> Result<EnrolledGateway, EnrolError> {
    let request = RequestId(bench.number());
    let gateway = gateway.parse().unwrap();
    bench.handle(Input::RenewCertificate(RenewCertificate { request, gateway, key }));
    bench
        .find(|output| match output {
            Output::CertificateRenewed(answered, answer) if *answered == request => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
}

#[test]
fn b01_b02_of_two_tokens_for_one_gateway_the_first_counts_and_none_once_it_is_revoked() {
    let (mut bench, _) = Bench::new();
    let create =
        |gateway: &str| Op::GatewayCreate { gateway: gateway.parse().unwrap(), site: "hq".parse().unwrap() };
    let tokens = [(); 2].map(|()| token(bench.admin(create("gw-2"))));
    let keys = [(); 2].map(|()| p256().public_key());
    enrol(&mut bench, &tokens[1], keys[1]).unwrap();
    assert_eq!(enrol(&mut bench, &tokens[0], keys[0]), Err(EnrolError::BadToken), "there is one already");
    assert_eq!(bench.stored.gateways[&"gw-2".parse().unwrap()].key, Some(keys[1]));

    let early = token(bench.admin(create("gw-3")));
    bench.admin(Op::GatewayRevoke { gateway: "gw-3".parse().unwrap() }).unwrap();
    assert_eq!(
        enrol(&mut bench, &early, keys[0]),
        Err(EnrolError::BadToken),
        "it was revoked before it came"
    );
    assert_eq!(bench.stored.gateways[&"gw-3".parse().unwrap()].key, None);
}

#[test]
fn b01_b02_a_gateway_enrols_once_by_its_token_and_renews_by_its_key() {
    let (mut bench, _) = Bench::new();
    let create = Op::GatewayCreate { gateway: "gw-2".parse().unwrap(), site: "hq".parse().unwrap() };
    let old = token(bench.admin(create.clone()));
    bench.after(minutes(10));
    let (key, thief) = (p256().public_key(), p256().public_key());
    assert_eq!(enrol(&mut bench, &old, key), Err(EnrolError::BadToken), "ten minutes old");
    let good = token(bench.admin(create.clone()));
    let enrolled = enrol(&mut bench, &good, key).unwrap();
    assert_eq!((enrolled.gateway.as_str(), enrolled.site.as_str()), ("gw-2", "hq"));
    assert_eq!(enrol(&mut bench, &good, thief), Err(EnrolError::BadToken), "used");
    assert!(matches!(bench.admin(create), Err(AdminError::Exists { .. })));
    assert!(renew(&mut bench, "gw-2", key).is_ok());
    assert_eq!(renew(&mut bench, "gw-2", thief), Err(EnrolError::WrongKey));
    bench.admin(Op::GatewayRevoke { gateway: "gw-2".parse().unwrap() }).unwrap();
    assert_eq!(renew(&mut bench, "gw-2", key), Err(EnrolError::Revoked));
    // A device's token enrols no gateway, nor one that another broker has taken.
    let device = token(bench.admin(Op::DeviceToken { person: None, life_s: 600 }));
    assert_eq!(enrol(&mut bench, &device, key), Err(EnrolError::BadToken));
    let create = Op::GatewayCreate { gateway: "gw-3".parse().unwrap(), site: "hq".parse().unwrap() };
    let taken = token(bench.admin(create));
    let secret = taken.rsplit('!').next().unwrap();
    let hash = crate::rows::TokenHash::of(secret).to_string();
    bench.claims.insert((ClaimKind::Enrolment, hash));
    assert_eq!(enrol(&mut bench, &taken, key), Err(EnrolError::BadToken));
}

#[test]
fn a_revoked_gateway_s_leases_end_and_its_stream_is_cut() {
    let (mut bench, mut gate) = Bench::new();
    let device = bench.ready("ana");
    bench.granted(&device, &mut gate, "wiki.demo");
    let answer = bench.admin(Op::GatewayRevoke { gateway: gate.id.clone() }).unwrap();
    assert!(matches!(answer, Answer::Revoked(_)));
    bench.gate_answers(&mut gate);
    assert!(gate.leases.is_empty());
    assert!(bench.is_closed(gate.stream));
    assert!(bench.stored.leases.is_empty());
    bench.connect_gate(&mut gate);
    assert!(bench.is_closed(gate.stream));
    let Ok(Answer::Gateways { gateways }) = bench.admin(Op::Gateways {}) else { panic!("no gateways") };
    assert_eq!(gateways[0].state, GatewayState::Revoked);
}

#[test]
fn p6_5_two_sites_may_have_the_same_plan_where_both_are_reached_by_name() {
    let (mut bench, _) = Bench::new();
    bench.admin(Op::SitePut { site: Site { id: "lab".parse().unwrap(), title: "Lab".into() } }).unwrap();
    let put = |bench: &mut Bench, id: &str, site: &str, by_name| {
        let site = site.parse().unwrap();
        let resource = Resource { site, by_name, ..resource(id, "10.1.0.0/16") };
        bench.admin(Op::ResourcePut { resource })
    };
    assert!(message(put(&mut bench, "plc", "hq", true)).contains("`suffixes`"));
    bench.settings(|settings| settings.suffixes = vec!["corp.example".parse().unwrap()]);
    put(&mut bench, "plc", "hq", true).unwrap();
    assert!(message(put(&mut bench, "robot", "lab", false)).contains("overlaps the resource"));
    put(&mut bench, "robot", "lab", true).unwrap();
    assert!(message(put(&mut bench, "plc", "hq", false)).contains("overlaps the resource"));
    let named = Resource { by_name: true, ..resource("wiki", "wiki.demo") };
    assert!(message(bench.admin(Op::ResourcePut { resource: named })).contains("only addresses"));
}

#[test]
fn settings_out_of_their_ranges_are_refused() {
    let (mut bench, _) = Bench::new();
    let put = |bench: &mut Bench, settings| bench.admin(Op::SettingsPut { settings });
    let usual = Settings::default();
    let rows = [
        (Settings { lease_ttl_s: 301, ..usual.clone() }, "lease_ttl_s"),
        (Settings { lease_ttl_s: 4, ..usual.clone() }, "lease_ttl_s"),
        (Settings { devices_per_person: 0, ..usual.clone() }, "devices_per_person"),
        (Settings { utc_offset_minutes: 900, ..usual.clone() }, "utc_offset_minutes"),
        (
            Settings { requirements: serde_json::from_str(r#"{"teir": 1}"#).unwrap(), ..usual.clone() },
            "unknown field `teir`",
        ),
        (Settings { suffixes: vec!["com".parse().unwrap()], ..usual.clone() }, "`com`"),
        (
            Settings {
                suffixes: (0..33).map(|n| format!("n{n}.example").parse().unwrap()).collect(),
                ..usual.clone()
            },
            "32 at most",
        ),
    ];
    for (settings, why) in rows {
        let error = message(put(&mut bench, settings));
        assert!(error.contains(why), "{error}");
    }
    put(&mut bench, usual).unwrap();
}

#[test]
fn every_operation_is_written_down_and_refusals_are_too() {
    let (mut bench, _) = Bench::new();
    let ana = person("ana");
    let ops = vec![
        Op::SetUpToken {},
        Op::People {},
        Op::PersonGroups { person: ana.clone(), groups: BTreeSet::new() },
        Op::GroupPut {
            group: Group { id: "g".parse().unwrap(), title: "G".into(), claims: BTreeSet::new() },
        },
        Op::GroupRemove { group: "g".parse().unwrap() },
        Op::InvitationRemove { email: "nobody@acme.example".into() },
        Op::Devices { person: None },
        Op::DeviceAdmit { device: DeviceId([0; 16]) },
        Op::DeviceToken { person: None, life_s: 1 },
        Op::Resources {},
        Op::Sites {},
        Op::Gateways {},
        Op::Policies {},
        Op::PolicyRemove { policy: "none".parse().unwrap() },
        Op::Sessions {},
        Op::Holds {},
        Op::HoldLift { hold: HoldId([0; 16]) },
        Op::HoldPlace { target: HoldTarget::Person(ana), reason: "x".into(), until: None },
        Op::Settings {},
        Op::Status {},
    ];
    for op in ops {
        let before = bench.audit.len();
        drop(bench.admin(op.clone()));
        let rows = &bench.audit[before..];
        assert!(rows.iter().any(|entry| entry.record.by == By::Local { uid: 0 }), "{op:?}");
    }
    assert!(bench.events().iter().any(|event| matches!(event, Event::AdminRefused { op, code }
        if op == "policy-remove" && code == "unknown")));
}

#[test]
fn what_there_is_can_be_listed() {
    let (mut bench, mut gate) = Bench::new();
    let mut device = bench.ready("ana");
    bench.facts(&mut device, &[]);
    bench.granted(&device, &mut gate, "wiki.demo");
    let Ok(Answer::Sessions { sessions }) = bench.admin(Op::Sessions {}) else { panic!("no sessions") };
    assert_eq!((sessions.len(), sessions[0].leases, sessions[0].connected), (1, 1, true));
    let Ok(Answer::Devices { devices }) = bench.admin(Op::Devices { person: Some(person("ana")) }) else {
        panic!("no devices")
    };
    assert_eq!((devices.len(), devices[0].facts.len(), devices[0].platform.as_str()), (1, 12, "linux"));
    let Ok(Answer::People { people, .. }) = bench.admin(Op::People {}) else { panic!("no people") };
    assert_eq!(people.len(), 2);
    let Ok(Answer::Status(status)) = bench.admin(Op::Status {}) else { panic!("no status") };
    assert_eq!((status.sessions, status.connected, status.leases, status.store), (1, 1, 1, true));
    assert_eq!(status.warnings.len(), 3, "simulated facts, tier 0, first device: {:?}", status.warnings);
}

#[test]
fn h04_names_from_outside_cannot_steer_a_screen() {
    let (mut bench, _) = Bench::new();
    let mut exchange = bench.exchange("ana", &p256());
    exchange.device_name = "\u{1b}[2Ka\r\nb\u{7}".repeat(20);
    let tokens = bench.try_exchange(exchange).unwrap();
    let name = bench.device_row(&tokens.device).name.clone();
    assert!(name.len() <= 64 && !name.chars().any(char::is_control), "{name}");
    bench.after(secs(1));
    let mut exchange = bench.exchange("bo", &p256());
    exchange.device_name = " \n ".into();
    let tokens = bench.try_exchange(exchange).unwrap();
    assert_eq!(bench.device_row(&tokens.device).name, "a device");
}

#[test]
fn p8_no_change_of_an_administrator_is_made_while_the_store_is_down() {
    let (mut bench, _) = Bench::new();
    bench.store = Store::Down;
    let before = bench.pdp.rows().clone();
    let op = Op::PolicyRemove { policy: "wiki".parse().unwrap() };
    assert_eq!(bench.admin(op), Err(AdminError::StoreDown));
    assert_eq!(*bench.pdp.rows(), before);
}

#[test]
fn a_revocation_takes_nothing_away_but_what_it_revokes() {
    let (mut bench, _) = Bench::new();
    bench.store = Store::Slow;
    let (one, two) = (RequestId(bench.number()), RequestId(bench.number()));
    let op = Op::PersonGroups { person: person("ana"), groups: BTreeSet::new() };
    bench.handle(Input::Admin(crate::Admin { request: one, uid: 0, op }));
    let target = HoldTarget::Person(person("ana"));
    let op = Op::HoldPlace { target, reason: "x".into(), until: None };
    bench.handle(Input::Admin(crate::Admin { request: two, uid: 0, op }));
    bench.flush();
    assert_eq!(bench.admin_answer(one), Some(Ok(Answer::Done {})));
    assert!(matches!(bench.admin_answer(two), Some(Ok(Answer::Revoked(_)))));
    let ana = &bench.stored.people[&person("ana")];
    assert_eq!((ana.groups.len(), ana.not_before), (0, bench.now.wall), "both hold");
    assert_eq!(bench.stored, *bench.pdp.rows());
}

#[test]
fn what_a_revocation_removes_meanwhile_is_told_to_try_again() {
    let (mut bench, _) = Bench::new();
    bench.store = Store::Slow;
    let (one, two) = (RequestId(bench.number()), RequestId(bench.number()));
    let op = Op::PersonGroups { person: person("ana"), groups: BTreeSet::new() };
    bench.handle(Input::Admin(crate::Admin { request: one, uid: 0, op }));
    let op = Op::PersonRemove { person: person("ana") };
    bench.handle(Input::Admin(crate::Admin { request: two, uid: 0, op }));
    bench.flush();
    assert_eq!(bench.admin_answer(one), Some(Err(AdminError::Overtaken)));
    assert!(!bench.stored.people.contains_key(&person("ana")));
    assert_eq!(bench.stored, *bench.pdp.rows());
}
