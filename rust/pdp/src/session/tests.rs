#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use ztna_api::admin::{Answer, HoldTarget, Op};
use ztna_api::key;
use ztna_api::token::{Admission, TokenErrorCode};
use ztna_model::{EndReason, WallTime, minutes, secs};

use crate::audit::Event;
use crate::rows::{Rows, SessionState};
use crate::testing::{Bench, Store, p256, person};
use crate::{ClaimKind, Exchange, Input, Output, RequestId};

/// One thing wrong with an exchange, and the refusal it must cause.
fn check(name: &str, change: impl FnOnce(&mut Bench, &mut Exchange), error: TokenErrorCode, says: &str) {
    let (mut bench, _) = Bench::new();
    let mut exchange = bench.exchange("ana", &p256());
    change(&mut bench, &mut exchange);
    let refused = bench.try_exchange(exchange).expect_err(name);
    assert_eq!(refused.error, error, "{name}: {refused:?}");
    let description = refused.error_description.unwrap_or_default();
    assert!(description.contains(says), "{name}: {description}");
    assert!(bench.stored.sessions.is_empty(), "{name}");
    assert!(matches!(bench.events().last(), Some(Event::SignInRefused { .. })), "{name}");
}

#[test]
fn p3_1_an_exchange_opens_a_session() {
    let (mut bench, _) = Bench::new();
    let key = p256();
    let tokens = bench.sign_in("ana", &key).unwrap();
    assert_eq!((tokens.token_type.as_str(), tokens.expires_in), ("DPoP", 300));
    assert_eq!(tokens.state, Admission::Open);
    let session = bench.stored.sessions[&tokens.sid].clone();
    assert_eq!(session.jkt, key::thumbprint(&ztna_model::Signer::public_key(&key)));
    assert_eq!(session.person, person("ana"));
    assert_eq!(session.incarnation, bench.stored.organisation[&crate::rows::One].incarnation);
    assert!(session.is_open());
}

#[test]
fn p3_1_a01_a07_each_check_of_an_exchange_refuses() {
    use TokenErrorCode::*;
    check("no nonce in the proof", |_, e| e.proof.nonce = None, UseDpopNonce, "nonce");
    check("a nonce of our own making", |_, e| e.proof.nonce = Some("AAAA".into()), UseDpopNonce, "nonce");
    check("a nonce 5 minutes old", |b, _| b.after(secs(301)), UseDpopNonce, "nonce");
    let replay = |b: &mut Bench, e: &mut Exchange| {
        let other = b.exchange("bo", &p256());
        e.proof = other.proof.clone();
        b.try_exchange(other).unwrap();
        b.stored.sessions.clear();
    };
    check("a proof used before", replay, InvalidDpopProof, "used before");
    check("another issuer", |_, e| e.id_token.issuer += "/", InvalidGrant, "another issuer");
    check("another audience", |_, e| e.id_token.audiences = vec!["other".into()], InvalidGrant, "somebody");
    let shared = |_: &mut Bench, e: &mut Exchange| e.id_token.audiences.push("other".into());
    check("a shared audience", shared, InvalidGrant, "somebody");
    check("no audience", |_, e| e.id_token.audiences.clear(), InvalidGrant, "somebody");
    let party = |_: &mut Bench, e: &mut Exchange| e.id_token.authorized_party = Some("other".into());
    check("another azp", party, InvalidGrant, "given to somebody else");
    let over = |b: &mut Bench, e: &mut Exchange| e.id_token.expires = b.now.wall - secs(61);
    check("expired by 61 s", over, InvalidGrant, "over");
    let old = |b: &mut Bench, e: &mut Exchange| e.id_token.issued = b.now.wall - secs(601);
    check("iat 601 s old", old, InvalidGrant, "not fresh");
    let early = |b: &mut Bench, e: &mut Exchange| e.id_token.issued = b.now.wall + secs(61);
    check("iat 61 s ahead", early, InvalidGrant, "not fresh");
    check("no commitment", |_, e| e.id_token.nonce = None, InvalidGrant, "commits");
    let key = |b: &mut Bench, e: &mut Exchange| e.proof = b.proof(&p256());
    check("another device's key", key, InvalidGrant, "commits");
    let salt = |b: &mut Bench, e: &mut Exchange| e.salt = b.exchange("ana", &p256()).salt;
    check("another salt", salt, InvalidGrant, "commits");
    let slow = |b: &mut Bench, e: &mut Exchange| {
        b.after(secs(601));
        e.proof = b.proof(&p256());
        let (jkt, salt) = (e.proof.jkt, e.salt.clone());
        e.id_token = b.id_token("ana", &jkt, &salt);
    };
    check("a sign-in that took 601 s", slow, InvalidGrant, "too long");
    let voided = |b: &mut Bench, _: &mut Exchange| {
        let op = Op::HoldPlace { target: HoldTarget::Person(person("ana")), reason: "x".into(), until: None };
        let Ok(Answer::Revoked(revoked)) = b.admin(op) else { panic!("not held") };
        b.admin(Op::HoldLift { hold: revoked.hold.unwrap() }).unwrap();
    };
    check("begun before a hold that was lifted since", voided, InvalidGrant, "voided");
    let used = |b: &mut Bench, e: &mut Exchange| {
        b.claims.insert((ClaimKind::IdToken, ztna_model::base64url::encode(e.id_token.hash)));
    };
    check("an ID token used at another broker", used, InvalidGrant, "used before");
    let jti = |b: &mut Bench, e: &mut Exchange| {
        b.claims.insert((ClaimKind::Jti, format!("{} {}", e.proof.jkt, e.proof.jti)));
    };
    check("a proof used at another broker", jti, InvalidDpopProof, "used before");
    check("a stranger", |b, e| *e = b.exchange("mallory", &p256()), AccessDenied, "invited");
    let held = |b: &mut Bench, e: &mut Exchange| {
        let op = Op::HoldPlace { target: HoldTarget::Person(person("ana")), reason: "x".into(), until: None };
        b.admin(op).unwrap();
        b.after(secs(1));
        *e = b.exchange("ana", &p256());
    };
    check("a held person", held, AccessDenied, "stopped");
    let down = |b: &mut Bench, _: &mut Exchange| b.store = Store::Down;
    let (mut bench, _) = Bench::new();
    let mut exchange = bench.exchange("ana", &p256());
    down(&mut bench, &mut exchange);
    assert_eq!(bench.try_exchange(exchange).unwrap_err().error, ServerError);
}

#[test]
fn p3_1_checks_come_in_their_order() {
    use TokenErrorCode::*;
    // Everything is wrong at once: mended one after the other, from the first check to the last.
    let (mut bench, _) = Bench::new();
    let key = p256();
    let mut exchange = bench.exchange("mallory", &key);
    let good = exchange.id_token.clone();
    exchange.proof.nonce = None;
    exchange.id_token.issuer = "https://other.example".into();
    exchange.id_token.audiences = vec![];
    exchange.id_token.expires = WallTime::EPOCH;
    exchange.id_token.nonce = None;
    type Mend = fn(&mut Bench, &mut Exchange, &crate::IdToken);
    let steps: [(TokenErrorCode, &str, Mend); 6] = [
        (UseDpopNonce, "nonce", |b, e, _| e.proof.nonce = Some(b.pdp.nonce(b.now).nonce)),
        (InvalidGrant, "another issuer", |_, e, good| e.id_token.issuer = good.issuer.clone()),
        (InvalidGrant, "somebody", |_, e, good| e.id_token.audiences = good.audiences.clone()),
        (InvalidGrant, "over", |_, e, good| e.id_token.expires = good.expires),
        (InvalidGrant, "commits", |_, e, good| e.id_token.nonce = good.nonce.clone()),
        (AccessDenied, "invited", |_, _, _| ()),
    ];
    for (error, says, mend) in steps {
        let again = Exchange {
            request: RequestId(bench.number()),
            proof: exchange.proof.clone(),
            id_token: exchange.id_token.clone(),
            salt: exchange.salt.clone(),
            device_name: String::new(),
            enrolment: None,
        };
        let refused = bench.try_exchange(again).unwrap_err();
        assert_eq!(refused.error, error, "{refused:?}");
        assert!(refused.error_description.unwrap().contains(says));
        mend(&mut bench, &mut exchange, &good);
    }
}

#[test]
fn p3_1_a_session_that_lost_its_person_on_the_way_is_not_opened() {
    let (mut bench, _) = Bench::new();
    let exchange = bench.exchange("ana", &p256());
    let request = exchange.request;
    bench.store = Store::Slow;
    bench.handle(Input::Exchange(Box::new(exchange)));
    let target = HoldTarget::Person(person("ana"));
    let hold = RequestId(bench.number());
    let op = Op::HoldPlace { target, reason: "stolen".into(), until: None };
    bench.handle(Input::Admin(crate::Admin { request: hold, uid: 0, op }));
    bench.flush();
    assert!(bench.tokens(request).is_err());
    assert!(bench.stored.sessions.values().all(|session| !session.is_live()));
    assert_eq!(bench.stored, *bench.pdp.rows());
}

#[test]
fn p3_6_a_session_whose_device_was_ended_on_the_way_is_not_opened() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    bench.sign_out(&device.tokens.access_token, &device.key).unwrap();
    let exchange = bench.exchange("ana", &device.key);
    let sign_in = exchange.request;
    bench.store = Store::Slow;
    bench.handle(Input::Exchange(Box::new(exchange)));
    let end = RequestId(bench.number());
    let op = Op::DeviceEnd { device: device.tokens.device };
    bench.handle(Input::Admin(crate::Admin { request: end, uid: 0, op }));
    bench.flush();
    assert!(bench.tokens(sign_in).is_err());
    assert!(bench.stored.sessions.values().all(|session| !session.is_live()));
    assert!(!bench.device_row(&device.tokens.device).is_theirs());
    assert_eq!(bench.stored, *bench.pdp.rows());
}

#[test]
fn p3_1_a_proof_is_claimed_for_as_long_as_its_nonce_could_carry_it() {
    let (mut bench, _) = Bench::new();
    let exchange = bench.exchange("ana", &p256());
    let proof = exchange.proof.clone();
    bench.try_exchange(exchange).unwrap();
    bench.after(minutes(5));
    bench.claims.clear(); // what a store may have forgotten by then must be too old by itself
    let refused = bench.pdp.check_proof(&proof).expect_err("a proof used before");
    assert_eq!(refused.error, TokenErrorCode::InvalidDpopProof);
    bench.after(secs(1));
    let refused = bench.pdp.check_proof(&proof).expect_err("a nonce that is over");
    assert_eq!(refused.error, TokenErrorCode::UseDpopNonce);
}

#[test]
fn p3_3_who_was_seen_when_is_what_the_id_token_says() {
    let rows = [
        // issued, the person's own act, both in seconds before now; then what is kept of them
        (300, Some(7_200), 240, 7_200),
        (300, None, 240, 300),
        (0, Some(0), 0, 0),
        (30, Some(30), 0, 30),
    ];
    for (issued, auth, seen_s, auth_s) in rows {
        let (mut bench, _) = Bench::new();
        let mut exchange = bench.exchange("ana", &p256());
        let now = bench.now.wall;
        exchange.id_token.issued = now - secs(issued);
        exchange.id_token.auth_time = auth.map(|ago| now - secs(ago));
        let tokens = bench.try_exchange(exchange).unwrap();
        let auth = &bench.session(&tokens.sid).auth;
        assert_eq!((auth.idp_seen, auth.auth_time), (now - secs(seen_s), now - secs(auth_s)), "{issued}");
    }
    let (mut bench, _) = Bench::new();
    let mut exchange = bench.exchange("ana", &p256());
    exchange.id_token.auth_time = Some(bench.now.wall + minutes(60));
    let tokens = bench.try_exchange(exchange).unwrap();
    assert_eq!(bench.session(&tokens.sid).auth.auth_time, bench.now.wall, "nobody is seen in the future");
}

#[test]
fn p3_5_with_a_new_sign_in_the_chain_of_streams_begins_anew() {
    let (mut bench, _) = Bench::new();
    let mut device = bench.ready("ana");
    let before = device.stream;
    bench.after(minutes(1));
    device.tokens = bench.sign_in("ana", &device.key).unwrap();
    device.link = None;
    bench.connect(&mut device);
    assert!(bench.session(&device.tokens.sid).is_live(), "no clone of itself");
    assert!(bench.is_closed(before));
    assert!(!bench.is_closed(device.stream));
}

#[test]
fn p3_3_signing_in_again_on_the_same_device_keeps_the_session() {
    let (mut bench, _) = Bench::new();
    let key = p256();
    let first = bench.sign_in("ana", &key).unwrap();
    bench.after(minutes(60));
    let mut exchange = bench.exchange("ana", &key);
    exchange.id_token.acr = Some("mfa".into());
    let again = bench.try_exchange(exchange).unwrap();
    assert_eq!(again.sid, first.sid);
    assert_eq!(bench.session(&first.sid).auth.acr.as_deref(), Some("mfa"));
    assert_eq!(bench.session(&first.sid).auth.idp_seen, bench.now.wall);
    assert!(bench.refresh(&first.refresh_token, &key).is_err(), "the pairs of before are gone");
    assert!(bench.refresh(&again.refresh_token, &key).is_ok());
}

#[test]
fn p3_7_signing_out_ends_the_session_and_voids_no_other() {
    let (mut bench, _) = Bench::new();
    let device = bench.ready("ana");
    let refused = bench.sign_out(&device.tokens.refresh_token, &device.key).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::InvalidToken, "a refresh token opens nothing");
    let refused = bench.sign_out(&device.tokens.access_token, &p256()).unwrap_err();
    assert_eq!(refused.error, TokenErrorCode::InvalidToken, "nor does an access token without its key");
    assert!(bench.session(&device.tokens.sid).is_live());
    bench.sign_out(&device.tokens.access_token, &device.key).unwrap();
    assert!(!bench.session(&device.tokens.sid).is_live());
    assert!(bench.stored.tokens.is_empty());
    assert!(bench.is_closed(device.stream));
    assert_eq!(bench.stored.people[&person("ana")].not_before, WallTime::EPOCH);
    assert!(bench.sign_in("ana", &device.key).is_ok());
}

#[test]
fn p1_6_a_restored_store_ends_every_session() {
    let (mut bench, _) = Bench::new();
    let device = bench.device("ana");
    bench.restart();
    assert!(bench.session(&device.tokens.sid).is_live(), "a restart is not a restore");
    bench.stored.organisation.get_mut(&crate::rows::One).unwrap().incarnation =
        ztna_model::Incarnation([8; 16]);
    bench.restart();
    let state = bench.session(&device.tokens.sid).state;
    assert!(matches!(state, SessionState::Ended { reason: EndReason::Restored, .. }));
    assert!(bench.events().iter().any(|event| matches!(event, Event::Restored { .. })));
    assert!(bench.open(&device).is_err());
}

#[test]
fn p1_1_b04_nothing_of_one_organisation_opens_anything_in_another() {
    let (mut acme, _) = Bench::new();
    let device = acme.device("ana");
    // The same machine serves another organisation, whose rows these are not.
    let mut rows = Rows::new("https://other.example".parse().unwrap());
    rows.organisation = acme.stored.organisation.clone();
    let keys = crate::Keys {
        lease: Box::new(p256()),
        nonce: ztna_model::Secret::new([7; 32]),
        keyset: String::new(),
        root: ztna_model::RootHash([3; 32]),
    };
    let trust = crate::Trust { org: rows.org.clone(), issuers: Vec::new() };
    let random = Box::new(crate::testing::Counter(1));
    let mut other = crate::Pdp::new(trust, rows.clone(), keys, random, acme.now).unwrap();
    let proof = acme.proof(&device.key); // a nonce of acme's, though both seal with one key
    let token = device.tokens.access_token.clone().into();
    let opened = crate::DeviceOpened {
        stream: crate::StreamId(1),
        proof,
        token,
        address: "192.0.2.7".parse().unwrap(),
    };
    other.handle(Input::DeviceOpened(opened), acme.now);
    let answer = std::iter::from_fn(|| other.poll()).find_map(|output| match output {
        Output::Stream(_, answer) => Some(answer),
        _ => None,
    });
    assert_eq!(answer.unwrap().unwrap_err().error, TokenErrorCode::UseDpopNonce);
    let wrong = crate::Pdp::new(
        crate::Trust { org: crate::testing::org(), issuers: Vec::new() },
        rows,
        crate::Keys {
            lease: Box::new(p256()),
            nonce: ztna_model::Secret::new([7; 32]),
            keyset: String::new(),
            root: ztna_model::RootHash([3; 32]),
        },
        Box::new(crate::testing::Counter(1)),
        acme.now,
    );
    assert!(matches!(wrong.err(), Some(crate::StartError::OtherOrganisation(_))));
}

#[test]
fn p8_a_refusal_names_nobody_in_the_record_and_its_person_beside_it() {
    let (mut bench, _) = Bench::new();
    bench.sign_in("mallory", &p256()).unwrap_err();
    let entry = bench.audit.last().unwrap();
    assert!(!entry.record.document().contains("mallory"));
    assert!(entry.personal.iter().any(|personal| personal.text.contains("mallory")));
}

#[test]
fn p3_7_a_back_channel_logout_ends_one_sign_in_or_all_of_a_person() {
    let (mut bench, _) = Bench::new();
    let mut sids = Vec::new();
    for (subject, idp_sid) in [("ana", "s1"), ("ana", "s2"), ("bo", "s3")] {
        let mut exchange = bench.exchange(subject, &p256());
        exchange.id_token.idp_sid = Some(idp_sid.into());
        sids.push(bench.try_exchange(exchange).unwrap().sid);
    }
    let live = |bench: &Bench| sids.iter().filter(|sid| bench.session(sid).is_live()).count();
    let logged_out = |issuer: &str, subject: Option<&str>, idp_sid: Option<&str>| {
        let (subject, idp_sid) = (subject.map(str::to_owned), idp_sid.map(str::to_owned));
        let request = RequestId(7);
        Input::LoggedOut(crate::LoggedOut { request, issuer: issuer.into(), subject, idp_sid })
    };
    let issuer = crate::testing::ISSUER;
    bench.handle(logged_out("https://other.example", Some("ana"), None));
    bench.handle(logged_out(issuer, None, None));
    bench.handle(logged_out(issuer, Some("bo"), Some("s1")));
    assert_eq!(live(&bench), 3);
    bench.handle(logged_out(issuer, None, Some("s1")));
    assert_eq!(live(&bench), 2);
    bench.handle(logged_out(issuer, Some("ana"), None));
    assert_eq!(live(&bench), 1);
    let answers = bench.outputs.iter().filter(|output| **output == Output::SignedOut(RequestId(7), Ok(())));
    assert_eq!(answers.count(), 5, "each is answered");
}
