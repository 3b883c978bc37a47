use std::os::unix::fs::PermissionsExt as _;

use ztna_api::gateway::{Enrolled, Statement};
use ztna_model::{OrgString, RootHash};
use ztna_net::keys::P256Key;

use super::broker::Broker;
use super::site::Site;
use super::*;
use crate::certificate::{Enrolment, request};
use crate::home::Home;
use crate::resolver::Resolver;
use crate::run::RunError;
use crate::{CallError, EnrolError};

#[tokio::test]
async fn a_token_makes_a_gateway_once() {
    let broker = Broker::start().await;
    let token = broker.token();
    let (first, second) = (TempDir::new(), TempDir::new());
    let enrolled = crate::enrol(&token, first.root()).await.unwrap();
    assert_eq!((enrolled.gateway.as_str(), enrolled.site.as_str()), (GATEWAY, "berlin"));
    assert_eq!(enrolled.org, broker.org_string());
    for name in ["enrolment.json", "gateway.key"] {
        let mode = std::fs::metadata(first.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let error = crate::enrol(&token, second.root()).await.unwrap_err();
    assert!(
        matches!(&error, EnrolError::Call(CallError::Refused { status: 403, words }) if words == "used before"),
        "{error}"
    );
    assert!(!second.path("enrolment.json").exists());
    let error = crate::enrol(&broker.token(), first.root()).await.unwrap_err();
    assert!(matches!(error, EnrolError::AlreadyEnrolled(_)), "{error}");
}

#[tokio::test]
async fn p1_3_f01_a_broker_without_the_root_of_the_token_gets_no_secret() {
    let broker = Broker::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let organisation = OrgString { org: broker.org.clone(), root: Some(RootHash([7; 32])) };
    let token = EnrolmentToken { organisation, secret: Secret::new(secret.to_owned()) };
    let home = TempDir::new();
    let error = crate::enrol(token.to_text().expose(), home.root()).await.unwrap_err();
    assert!(matches!(error, EnrolError::Call(CallError::Untrusted(_))), "{error}");
    assert!(!error.to_string().contains(secret));
    let error = crate::enrol("https://acme.example!short", home.root()).await.unwrap_err();
    assert!(matches!(error, EnrolError::Token(_)), "{error}");
}

#[tokio::test]
async fn p5_12_f01_an_enrolment_holds_only_as_far_as_the_root_vouches_for_it() {
    let broker = Broker::start().await;
    let (script, root) = (&broker.script, broker.org_string().root.unwrap());
    let other = Broker::start().await;
    let key = P256Key::generate().unwrap();
    let other_request = request(&P256Key::generate().unwrap()).unwrap();
    let request = request(&key).unwrap();
    let org = broker.org.to_string();
    type Change<'a> = Box<dyn Fn(&mut Enrolled) + 'a>;
    let chain = |leaf: String| -> Change<'_> { Box::new(move |answer| answer.chain = vec![leaf.clone()]) };
    let rows: [(&str, Change<'_>, u64, &str); 11] = [
        ("as it should be", Box::new(|_| ()), 0, ""),
        ("keys known already", Box::new(|_| ()), 1, ""),
        ("keys that are older than what is known", Box::new(|_| ()), 2, "older than the one known"),
        ("another root's keys", Box::new(|answer| answer.keys = other.script.keys(1)), 0, "another root"),
        (
            "another organisation",
            Box::new(|answer| answer.org = other.org.clone()),
            0,
            "another organisation",
        ),
        ("no certificate", Box::new(|answer| answer.chain.clear()), 0, "no certificates"),
        ("another authority's", chain(script.certify_elsewhere(&request)), 0, "did not issue it"),
        ("one that is over", chain(script.certify(&request, secs(25 * 3600))), 0, "did not issue it"),
        ("another gateway's", chain(script.certify_as(&request, &org, "gw-9")), 0, "another gateway"),
        (
            "one for another organisation",
            chain(script.certify_as(&request, "https://other.example", GATEWAY)),
            0,
            "another organisation",
        ),
        ("one for another key", chain(script.certify(&other_request, secs(0))), 0, "key"),
    ];
    for (name, change, known, expected) in rows {
        let mut answer = script.enrolled(&request);
        change(&mut answer);
        let said = match Enrolment::accept(answer, root, known, &key, Clock.wall()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said.is_empty(), expected.is_empty(), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn a_certificate_past_the_middle_of_its_life_is_renewed_and_the_stream_follows() {
    let mut site = Site::enrolled(&[]);
    relive(&site, 13);
    let before = certificates(&site);
    site.start(Resolver::System);
    // The stream may have been opened under either certificate; the one that stays is under the new one.
    loop {
        let statement = site.link().hello.statement.clone();
        if Statement::certificates(&statement).unwrap() != before {
            break;
        }
        let mut old = site.link.replace(site.runtime.block_on(site.broker.stream())).unwrap();
        site.runtime.block_on(old.closed());
    }
    assert_eq!(*site.broker.script.renewals.lock().unwrap(), 1);
    assert_ne!(certificates(&site), before, "it is kept for the next run");
}

#[test]
fn p5_12_a_certificate_that_ran_out_is_renewed_with_its_own_key() {
    let mut site = Site::enrolled(&[]);
    relive(&site, 24 * 20);
    site.start_alone(Resolver::System);
    let give_up = Clock.now() + PATIENCE;
    while *site.broker.script.renewals.lock().unwrap() == 0 {
        assert!(Clock.now() < give_up);
        std::thread::yield_now();
    }
    site.link = Some(site.runtime.block_on(site.broker.stream()));
}

#[test]
fn settings_of_another_organisation_are_refused() {
    let mut site = Site::enrolled(&[]);
    site.config.org = Some("https://other.example".parse().unwrap());
    let outcome = site.runtime.block_on(crate::run(site.config.clone(), async {}));
    assert!(matches!(outcome, Err(RunError::OtherOrganisation { .. })), "{outcome:?}");
    site.config.org = None;
    site.config.state_dir = site.home.path("empty");
    let outcome = site.runtime.block_on(crate::run(site.config.clone(), async {}));
    assert!(matches!(outcome, Err(RunError::Home(_))), "{outcome:?}");
}

/// Gives the gateway a certificate of which so many hours are over.
fn relive(site: &Site, hours: u64) {
    let home = Home::open(site.home.root()).unwrap();
    let (mut enrolment, key) = home.load().unwrap();
    enrolment.chain = vec![site.broker.script.certify(&request(&key).unwrap(), secs(hours * 3600))];
    home.keep(&enrolment).unwrap();
}

fn certificates(site: &Site) -> Vec<String> {
    Home::open(site.home.root()).unwrap().load().unwrap().0.chain
}
