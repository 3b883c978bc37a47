//! What only a site can say.

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{CNAME, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use ztna_api::device::{Changed, Granted, Over, Wanted};
use ztna_model::{Decision, DenyReason, Fix, GatewayId, LeaseId, Match, Synthetic, millis, secs};

use super::Told::{Nothing, Records};
use super::{
    LATER, NO_SUCH_NAME, NONE_OF_THESE, no_such_name, open, prefix, question, real_address, record, records,
    reply,
};
use crate::tests::desk::{Desk, grant_of, granted};
use crate::tests::position;
use crate::{Output, Plane, QueryId};

#[test]
fn p6_6_under_a_wildcard_there_is_no_address_before_the_site_has_the_name() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    let name = "a.apps.corp.example";
    assert_eq!(desk.look_up(1, name, RecordType::A), Nothing);
    assert_eq!(desk.look_up(2, name, RecordType::AAAA), Nothing);
    assert!(desk.site_question().is_none(), "not before there is a lease");
    let Wanted::Name { synthetic, .. } = desk.grant_next("apps", 1) else { panic!("no name") };
    assert_eq!(desk.asked(), None, "both wait for one lease");
    let (gateway, question) = desk.site_question().expect("a question");
    assert_eq!(gateway.as_str(), "gw-1");
    assert_eq!(question.queries[0].name.to_ascii(), "a.apps.corp.example.");
    assert_eq!(desk.told(1), Nothing);
    desk.site_answers(&reply(&question, vec![real_address(name)]));
    assert_eq!(desk.told(1), Records(vec![synthetic.v4.to_string()]));
    assert_eq!(desk.told(2), Records(vec![synthetic.v6.to_string()]));
    // It is remembered for a while.
    assert_eq!(desk.look_up(3, name, RecordType::A), Records(vec![synthetic.v4.to_string()]));
    desk.pass(secs(31));
    assert_eq!(desk.look_up(4, name, RecordType::A), Nothing);
    assert!(desk.site_question().is_some());
}

#[test]
fn p6_6_a_name_that_the_site_does_not_have_leaves_nothing_behind() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    desk.query(1, "junk.apps.corp.example", RecordType::A);
    desk.query(2, "junk.apps.corp.example", RecordType::HTTPS);
    desk.grant_next("apps", 1);
    let asked = desk.take(|output| match output {
        Output::Plane(Plane::Query { message, .. }) => Some(Message::from_vec(message).unwrap()),
        _ => None,
    });
    assert_eq!(asked.len(), 2);
    desk.site_answers(&no_such_name(&asked[0]));
    assert_eq!(desk.told(1), NO_SUCH_NAME);
    assert_eq!(desk.told(2), NO_SUCH_NAME, "what has no name has no records either (RFC 8020)");
    assert_eq!(desk.released(), [LeaseId([1; 16])]);
    assert!(desk.took(|output| matches!(output, Output::Plane(Plane::End { .. }))));
    assert_eq!(desk.session.book.entries().len(), 0);
    assert!(desk.session.snapshot().grants.is_empty());
}

#[test]
fn p6_6_what_a_site_said_is_forgotten_with_the_lease() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    let name = "a.apps.corp.example";
    desk.query(1, name, RecordType::A);
    desk.grant_next("apps", 1);
    let (_, question) = desk.site_question().unwrap();
    desk.site_answers(&reply(&question, vec![real_address(name)]));
    assert_ne!(desk.told(1), Nothing);
    desk.frame(Over { lease: LeaseId([1; 16]), reason: DenyReason::Revoked });
    assert_eq!(desk.look_up(2, name, RecordType::A), Nothing);
    desk.refuse_next(Decision::denied(DenyReason::NotFound));
    assert_eq!(desk.told(2), NO_SUCH_NAME);
    assert_eq!(desk.session.book.entries().len(), 0);
    let gone = vec!["apps".parse().unwrap()];
    desk.frame(Changed { position: position(2), visible: vec![], gone, suffixes: None });
    assert_eq!(desk.look_up(3, name, RecordType::A), NO_SUCH_NAME);
    assert_eq!(desk.asked(), None);
}

#[test]
fn p6_6_records_come_from_the_site_under_a_lease_alone() {
    let mut desk = Desk::connected(vec![granted("wiki"), granted("blog")]);
    assert_eq!(desk.look_up(1, "_sip._tcp.wiki.demo", RecordType::SRV), Nothing);
    assert_eq!(desk.look_up(2, "wiki.demo", RecordType::TXT), Nothing);
    assert!(matches!(desk.grant_next("wiki", 1), Wanted::Name { name, .. } if name.as_str() == "wiki.demo"));
    let questions = desk.take(|output| match output {
        Output::Plane(Plane::Query { message, .. }) => Some(Message::from_vec(message).unwrap()),
        _ => None,
    });
    assert_eq!(questions.len(), 2);
    let target = |to: &str| RData::SRV(SRV::new(0, 0, 5_060, Name::from_ascii(to).unwrap()));
    for question in &questions {
        let name = "_sip._tcp.wiki.demo";
        let answers = if question.queries[0].query_type == RecordType::SRV {
            vec![record(name, 60, target("blog.demo.")), record(name, 60, target("ledger.demo."))]
        } else {
            vec![
                record("wiki.demo", 60, RData::CNAME(CNAME(Name::from_ascii("lb.internal.").unwrap()))),
                record("lb.internal", 60, RData::TXT(TXT::new(vec!["hello".into()]))),
            ]
        };
        desk.site_answers(&reply(question, answers));
    }
    assert_eq!(desk.told(1), records(&["0 0 5060 blog.demo."]));
    assert_eq!(desk.told(2), records(&["hello"]));
    // Its address is here, so there is such a name, whatever the site says.
    desk.query(3, "wiki.demo", RecordType::HTTPS);
    let (_, question) = desk.site_question().unwrap();
    desk.site_answers(&no_such_name(&question));
    assert_eq!(desk.told(3), NONE_OF_THESE);
    assert!(desk.released().is_empty());
}

#[test]
fn p6_6_a_refusal_by_the_broker_is_told_in_the_words_of_the_dns() {
    let name = "a.apps.corp.example";
    let denied = |reason| Decision::denied(reason);
    let retry = Decision::Denied { reason: DenyReason::DeviceUnproven, fixes: vec![Fix::Retry] };
    let rows = [
        (denied(DenyReason::NotFound), NO_SUCH_NAME),
        (denied(DenyReason::GatewayAway), LATER),
        (denied(DenyReason::LimitReached), LATER),
        (retry, LATER),
        (Decision::Granted, LATER),
        (denied(DenyReason::EvidenceTooOld), Nothing),
        (Decision::StepUp { acr: None, max_age: None }, Nothing),
    ];
    for (decision, expected) in rows {
        let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
        let [v4, _] = desk.address_of(name);
        desk.query(1, name, RecordType::A);
        desk.refuse_next(decision.clone());
        // Where a flow is refused with a reason there is an address for it to go to.
        let expected = if expected == Nothing { Records(vec![v4]) } else { expected };
        assert_eq!(desk.told(1), expected, "{decision:?}");
    }
}

#[test]
fn p6_6_nobody_waits_for_longer_than_two_seconds() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    desk.query(1, "a.apps.corp.example", RecordType::A);
    desk.grant_next("apps", 1);
    assert!(desk.site_question().is_some());
    desk.pass(millis(600));
    assert!(desk.site_question().is_some(), "the question may have been lost");
    desk.pass(millis(1_399));
    assert_eq!(desk.told(1), Nothing);
    desk.pass(millis(1));
    assert_eq!(desk.told(1), LATER);
    desk.drain();
    desk.pass(secs(5));
    assert!(desk.site_question().is_none(), "nobody waits for it any more");
}

#[test]
fn p6_6_the_room_to_wait_is_bounded() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    for id in 0..65 {
        desk.query(id, "a.apps.corp.example", RecordType::A);
    }
    assert_eq!((desk.told(63), desk.told(64)), (Nothing, LATER));
    desk.session.cancel_query(QueryId(0));
    assert_eq!(desk.look_up(65, "a.apps.corp.example", RecordType::A), Nothing, "whoever gave up made room");
    for id in 100..1_000 {
        desk.query(id, &format!("n{id}.apps.corp.example"), RecordType::A);
    }
    assert_eq!(desk.told(999), LATER);
    desk.pass(secs(2));
    assert_eq!(desk.session.next_wake().map(|at| at > desk.now + secs(1)), Some(true), "nothing is left");
}

#[test]
fn p6_2_at_most_256_names_below_a_wildcard() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    for n in 0..256_u16 {
        let name = format!("n{n}.apps.corp.example");
        let mut grant = grant_of("apps", 0, &name, &desk.synthetic(&name));
        grant.lease = LeaseId(u128::from(n).to_be_bytes());
        desk.frame(Granted { request: None, grant });
    }
    desk.drain();
    assert_eq!(desk.look_up(1, "n0.apps.corp.example", RecordType::A), Nothing, "this one has its lease");
    assert!(desk.site_question().is_some());
    assert_eq!(desk.look_up(2, "more.apps.corp.example", RecordType::A), LATER);
    assert_eq!(desk.asked(), None);
}

#[test]
fn p6_6_only_what_was_asked_is_listened_to_and_only_from_who_was_asked() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    let name = "a.apps.corp.example";
    desk.query(1, name, RecordType::A);
    desk.grant_next("apps", 1);
    let (gateway, asked) = desk.site_question().unwrap();
    let sound = reply(&asked, vec![real_address(name)]);
    let altered = |change: &dyn Fn(&mut Message)| {
        let mut message = sound.clone();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let other = question("b.apps.corp.example", RecordType::A).queries.remove(0);
    let strange = [
        altered(&|message| message.metadata.id ^= 1),
        altered(&|message| message.queries[0] = other.clone()),
        altered(&|message| message.queries[0].query_type = RecordType::TXT),
        asked.to_vec().unwrap(),
        vec![0; 40],
        vec![],
    ];
    for message in strange {
        desk.session.handle_site_answer(&gateway, &message, desk.now);
        assert_eq!(desk.told(1), Nothing);
    }
    let stranger: GatewayId = "gw-2".parse().unwrap();
    desk.session.handle_site_answer(&stranger, &sound.to_vec().unwrap(), desk.now);
    assert_eq!(desk.told(1), Nothing);
    desk.site_answers(&sound);
    assert_ne!(desk.told(1), Nothing);
    desk.site_answers(&sound); // once more, to nobody
}

#[test]
fn p5_10_a_question_to_a_silent_gateway_is_asked_of_another() {
    let mut desk = Desk::connected(vec![open("apps", "*.apps.corp.example")]);
    desk.query(1, "a.apps.corp.example", RecordType::A);
    desk.grant_next("apps", 1);
    assert!(desk.site_question().is_some());
    let silent: GatewayId = "gw-1".parse().unwrap();
    desk.session.handle_gateway_silent(&silent);
    let ask = desk.take_ask().expect("another request");
    assert_eq!(ask.avoid, Some(silent));
    let Wanted::Name { name, synthetic } = &ask.wanted else { panic!("no name") };
    let mut grant = grant_of("apps", 2, name.as_str(), synthetic);
    grant.gateway = "gw-2".parse().unwrap();
    desk.frame(Granted { request: Some(ask.request), grant });
    assert_eq!(desk.site_question().map(|(gateway, _)| gateway.to_string()).as_deref(), Some("gw-2"));
}

#[test]
fn p6_6_who_has_an_address_at_a_site_is_asked_there_under_its_lease() {
    let mut desk = Desk::connected(vec![prefix("plc", "10.1.0.0/16")]);
    assert_eq!(desk.look_up(1, "3.2.1.10.in-addr.arpa", RecordType::PTR), Nothing);
    let ask = desk.take_ask().expect("a request");
    assert_eq!(ask.wanted, Wanted::Address("10.1.2.3".parse().unwrap()));
    let mut grant = grant_of("plc", 1, "x.demo", &Synthetic::from_index(1));
    grant.covers = Match::Prefix("10.1.0.0/16".parse().unwrap());
    desk.frame(Granted { request: Some(ask.request), grant });
    let (_, question) = desk.site_question().expect("a question");
    assert_eq!(question.queries[0].query_type, RecordType::PTR);
    desk.site_answers(&no_such_name(&question));
    assert_eq!(desk.told(1), NO_SUCH_NAME);
    assert!(desk.released().is_empty(), "the address is there all the same");
}
