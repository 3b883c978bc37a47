#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::admin::{Answer, GroupClaim, Invited, Op};
use ztna_api::token::{Admission, TokenErrorCode, TokenResponse};
use ztna_api::{admin, device};
use ztna_model::{DenyReason, secs};

use crate::Input;
use crate::testing::{Bench, Store, p256, person};

#[test]
fn p2_2_a_second_device_waits_and_an_administrator_admits_it() {
    let (mut bench, _) = Bench::new();
    let first = bench.ready("ana");
    let mut second = bench.device("ana");
    assert_eq!(second.tokens.state, Admission::Pending);
    bench.connect(&mut second);
    let frames = bench.frames(second.stream);
    let code = frames.iter().find_map(|frame| match frame {
        device::ToDevice::Waiting(waiting) => Some(waiting.code.clone()),
        _ => None,
    });
    let code = code.expect("it is told to wait");
    assert!(code.len() == 6 && code.bytes().all(|c| c.is_ascii_alphanumeric()), "{code}");
    assert!(!frames.iter().any(|frame| matches!(frame, device::ToDevice::Resources(_))));
    let told = bench.frames(first.stream);
    assert!(told.iter().any(|frame| matches!(frame, device::ToDevice::Notice(device::Notice {
        event: device::NoticeEvent::DeviceWaiting { code: told, .. }
    }) if *told == code)));

    bench.admin(Op::DeviceAdmit { device: second.tokens.device }).unwrap();
    assert!(bench.session(&second.tokens.sid).is_open());
    let frames = bench.frames(second.stream);
    assert!(frames.iter().any(|frame| matches!(frame, device::ToDevice::Resources(_))), "{frames:?}");
    let told = bench.frames(first.stream);
    assert!(told.iter().any(|frame| matches!(
        frame,
        device::ToDevice::Notice(device::Notice { event: device::NoticeEvent::DeviceAdmitted { .. } })
    )));
}

#[test]
fn p2_2_a_pending_session_can_only_wait_and_sign_out() {
    let (mut bench, mut gate) = Bench::new();
    bench.device("ana");
    let mut second = bench.device("ana");
    bench.connect(&mut second);
    bench.make_ready(&mut second);
    bench.facts(&mut second, &[]);
    assert_eq!(bench.session(&second.tokens.sid).tunnel, None);
    assert_eq!(bench.device_row(&second.tokens.device).received, None);
    let Some(device::ToDevice::Refused(refused)) = bench.ask(&second, "wiki.demo") else { panic!("granted") };
    assert_eq!(crate::decide::reason_of(&refused.decision), DenyReason::DeviceNotAdmitted);
    assert!(bench.gate_answers(&mut gate).is_empty());
    bench.sign_out(&second.tokens.access_token, &second.key).unwrap();
}

#[test]
fn p2_2_the_first_device_rule_is_a_setting() {
    let (mut bench, _) = Bench::new();
    let Ok(Answer::Settings { settings }) = bench.admin(Op::Settings {}) else { panic!("no settings") };
    let settings = admin::Settings { first_device: false, ..settings };
    bench.admin(Op::SettingsPut { settings }).unwrap();
    assert_eq!(bench.device("ana").tokens.state, Admission::Pending);
}

#[test]
fn p2_2_whoever_ends_a_device_does_not_make_the_next_one_the_first() {
    let (mut bench, _) = Bench::new();
    let first = bench.device("ana");
    bench.admin(Op::DeviceEnd { device: first.tokens.device }).unwrap();
    bench.after(secs(1));
    assert_eq!(bench.device("ana").tokens.state, Admission::Pending);
    let refused = bench.sign_in("ana", &first.key).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::AccessDenied, "a lost key means a new device");
}

#[test]
fn p2_2_devices_per_person_are_limited() {
    let (mut bench, _) = Bench::new();
    for _ in 0..5 {
        bench.device("ana");
    }
    let refused = bench.sign_in("ana", &p256()).unwrap_err();
    assert_eq!(refused.reason, Some(DenyReason::LimitReached));
    assert!(bench.sign_in("bo", &p256()).is_ok());
}

fn device_token(bench: &mut Bench, person: Option<ztna_model::PersonId>) -> String {
    match bench.admin(Op::DeviceToken { person, life_s: 600 }).unwrap() {
        Answer::Token { token, .. } => token.expose().clone(),
        other => panic!("{other:?}"),
    }
}

fn with_token(
    bench: &mut Bench,
    subject: &str,
    token: &str,
) -> Result<TokenResponse, ztna_api::token::TokenError> {
    let mut exchange = bench.exchange(subject, &p256());
    exchange.enrolment = Some(token.to_owned().into());
    bench.try_exchange(exchange)
}

#[test]
fn b01_b02_p2_2_an_enrolment_token_admits_one_device_once() {
    let (mut bench, _) = Bench::new();
    bench.device("ana");
    let token = device_token(&mut bench, None);
    assert!(token.starts_with("https://acme.example#sha256-03"), "{token}");
    assert_eq!(with_token(&mut bench, "ana", &token).unwrap().state, Admission::Open);
    assert_eq!(with_token(&mut bench, "ana", &token).unwrap_err().error, TokenErrorCode::InvalidGrant);

    let bos = device_token(&mut bench, Some(person("bo")));
    assert_eq!(with_token(&mut bench, "ana", &bos).unwrap_err().error, TokenErrorCode::InvalidGrant);
    let late = device_token(&mut bench, None);
    bench.after(secs(601));
    assert_eq!(with_token(&mut bench, "ana", &late).unwrap_err().error, TokenErrorCode::InvalidGrant);
    assert_eq!(with_token(&mut bench, "ana", "made-up").unwrap_err().error, TokenErrorCode::InvalidGrant);
}

#[test]
fn b01_a_hundred_parallel_uses_of_a_token_let_one_device_in() {
    let (mut bench, _) = Bench::new();
    bench
        .admin(Op::SettingsPut {
            settings: admin::Settings {
                first_device: false,
                devices_per_person: 100,
                ..admin::Settings::default()
            },
        })
        .unwrap();
    let token = device_token(&mut bench, None);
    bench.store = Store::Slow;
    let mut requests = Vec::new();
    for n in 0..100 {
        let mut exchange = bench.exchange(if n % 2 == 0 { "ana" } else { "bo" }, &p256());
        exchange.enrolment = Some(token.clone().into());
        requests.push(exchange.request);
        bench.handle(Input::Exchange(Box::new(exchange)));
    }
    bench.flush();
    let answers: Vec<_> = requests.into_iter().map(|request| bench.tokens(request)).collect();
    let admitted = answers.iter().flatten().filter(|tokens| tokens.state == Admission::Open).count();
    assert_eq!(admitted, 1);
    assert_eq!(bench.stored.devices.values().filter(|device| device.is_admitted()).count(), 1);
}

fn invite(bench: &mut Bench, email: &str) {
    let who = Invited::Email(email.into());
    bench.admin(Op::PersonInvite { who, name: "Cleo".into(), groups: Default::default() }).unwrap();
}

fn with_email(
    bench: &mut Bench,
    subject: &str,
    email: &str,
    verified: bool,
) -> Result<TokenResponse, TokenErrorCode> {
    let mut exchange = bench.exchange(subject, &p256());
    (exchange.id_token.email, exchange.id_token.email_verified) = (Some(email.into()), verified);
    bench.try_exchange(exchange).map_err(|refused| refused.error)
}

#[test]
fn b03_p2_1_an_address_links_to_an_invitation_once_if_verified_by_whom_it_may_be() {
    let denied = Err(TokenErrorCode::AccessDenied);
    let (mut bench, _) = Bench::new();
    invite(&mut bench, "cleo@acme.example");
    assert_eq!(with_email(&mut bench, "c-1", "cleo@acme.example", false), denied);
    assert_eq!(with_email(&mut bench, "c-1", "other@acme.example", true), denied);
    assert_eq!(with_email(&mut bench, "c-1", "cleo@acme.example.evil.example", true), denied);
    assert!(with_email(&mut bench, "c-1", "CLEO@acme.example", true).is_ok());
    assert_eq!(with_email(&mut bench, "c-2", "cleo@acme.example", true), denied, "followed once");
    let refused = bench.admin(Op::PersonInvite {
        who: Invited::Email("x@gmail.example".into()),
        name: String::new(),
        groups: Default::default(),
    });
    assert!(refused.is_err(), "no issuer may speak for that domain");
    // Somebody else's address on a known subject changes nothing: an address is never an identity.
    invite(&mut bench, "boss@acme.example");
    with_email(&mut bench, "bo", "boss@acme.example", true).unwrap();
    assert_eq!(bench.stored.people[&person("bo")].name, "bo");
    assert_eq!(bench.stored.invitations.len(), 1);
}

/// A second provider that the organisation believes, whose word about addresses here means nothing.
const PARTNER: &str = "https://id.partner.example";

fn believe_partner(bench: &mut Bench) {
    bench.pdp.trust.issuers.push(crate::Issuer {
        identifier: PARTNER.into(),
        client_id: "openztna".into(),
        domains: vec!["partner.example".into()],
    });
}

#[test]
fn b03_p2_1_one_issuer_does_not_speak_for_the_addresses_of_another() {
    let (mut bench, _) = Bench::new();
    believe_partner(&mut bench);
    invite(&mut bench, "cleo@acme.example");
    invite(&mut bench, "pat@partner.example");
    let mut by_partner = |email: &str| {
        let mut exchange = bench.exchange("p-1", &p256());
        exchange.id_token.issuer = PARTNER.into();
        (exchange.id_token.email, exchange.id_token.email_verified) = (Some(email.into()), true);
        bench.try_exchange(exchange).map_err(|refused| refused.error)
    };
    assert_eq!(by_partner("cleo@acme.example"), Err(TokenErrorCode::AccessDenied));
    assert!(by_partner("pat@partner.example").is_ok());
    assert_eq!(bench.stored.invitations.len(), 1, "hers is still there for her");
}

#[test]
fn b04_p2_1_the_same_subject_of_another_issuer_is_somebody_else_and_so_are_its_groups() {
    let (mut bench, _) = Bench::new();
    believe_partner(&mut bench);
    let claims = [GroupClaim { issuer: crate::testing::ISSUER.into(), name: "ops".into() }].into();
    let group = admin::Group { id: "operators".parse().unwrap(), title: "Operators".into(), claims };
    bench.admin(Op::GroupPut { group }).unwrap();
    let other_ana = ztna_model::PersonId { issuer: PARTNER.into(), subject: "ana".into() };
    let mut exchange = bench.exchange("ana", &p256());
    exchange.id_token.issuer = PARTNER.into();
    exchange.id_token.groups = vec!["ops".into()];
    let refused = bench.try_exchange(exchange).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::AccessDenied, "nobody has invited this Ana");
    let who = Invited::Person(other_ana.clone());
    bench.admin(Op::PersonInvite { who, name: "Ana".into(), groups: Default::default() }).unwrap();
    let mut exchange = bench.exchange("ana", &p256());
    exchange.id_token.issuer = PARTNER.into();
    exchange.id_token.groups = vec!["ops".into()];
    bench.try_exchange(exchange).unwrap();
    assert!(bench.pdp.groups_of(&bench.stored.people[&other_ana]).is_empty());
}

#[test]
fn p2_3_a_key_whose_device_was_ended_is_of_no_use_any_more() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    bench.admin(Op::DeviceEnd { device: device.tokens.device }).unwrap();
    bench.after(secs(1)); // sign-ins that had begun are void besides
    let refused = bench.sign_in("ana", &device.key).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::AccessDenied);
    let token = device_token(&mut bench, Some(person("ana")));
    let mut exchange = bench.exchange("ana", &device.key);
    exchange.enrolment = Some(token.into());
    assert_eq!(bench.try_exchange(exchange).unwrap_err().error, TokenErrorCode::AccessDenied);
    assert!(bench.stored.sessions.values().all(|session| !session.is_live()));
    assert!(!bench.device_row(&device.tokens.device).is_theirs());
}

#[test]
fn b03_p2_1_two_brokers_follow_an_invitation_once() {
    let (mut bench, _) = Bench::new();
    invite(&mut bench, "cleo@acme.example");
    let invited = bench.now.wall.as_millis();
    bench.claims.insert((crate::ClaimKind::Invitation, format!("cleo@acme.example {invited}")));
    let denied = Err(TokenErrorCode::AccessDenied);
    assert_eq!(with_email(&mut bench, "c-2", "cleo@acme.example", true), denied);
    assert!(bench.stored.people.keys().all(|person| person.subject != "c-2"));
}

#[test]
fn p3_6_no_one_signs_in_on_a_device_under_a_hold() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    let hold = bench.hold(admin::HoldTarget::Device(device.tokens.device)).hold.unwrap();
    let refused = bench.sign_in("ana", &device.key).unwrap_err();
    assert_eq!((refused.error, refused.reason), (TokenErrorCode::AccessDenied, Some(DenyReason::Held)));
    assert!(bench.sign_in("ana", &p256()).is_ok(), "on another one she does");
    bench.admin(Op::HoldLift { hold }).unwrap();
    assert!(bench.sign_in("ana", &device.key).is_ok());
}

#[test]
fn p2_1_groups_are_the_issuer_s_own() {
    let (mut bench, _) = Bench::new();
    let claim = |issuer: &str| GroupClaim { issuer: issuer.into(), name: "ops".into() };
    let group = |issuer: &str| admin::Group {
        id: "operators".parse().unwrap(),
        title: "Operators".into(),
        claims: [claim(issuer)].into(),
    };
    assert!(bench.admin(Op::GroupPut { group: group("https://other.example") }).is_err());
    bench.admin(Op::GroupPut { group: group(crate::testing::ISSUER) }).unwrap();
    let mut exchange = bench.exchange("ana", &p256());
    exchange.id_token.groups = vec!["ops".into(), "staffers".into()];
    bench.try_exchange(exchange).unwrap();
    let groups = bench.pdp.groups_of(&bench.stored.people[&person("ana")]);
    assert_eq!(groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["operators", "staff"]);
}

#[test]
fn g04_a_device_key_belongs_to_one_person() {
    let (mut bench, _) = Bench::new();
    let key = p256();
    bench.sign_in("ana", &key).unwrap();
    assert_eq!(bench.sign_in("bo", &key).unwrap_err().error, TokenErrorCode::AccessDenied);
}
