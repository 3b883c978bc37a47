//! Questions about names, with a broker and a gateway that say what they are told to.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use ztna_api::device::{Changed, FromDevice, Granted, Over, Refused, Wanted};
use ztna_model::{
    Address, Decision, DenyReason, Fix, GatewayId, LeaseId, Match, Synthetic, Visible, millis, secs,
};
use ztna_proxy::Verdict;

use super::desk::{Desk, denied, grant_of, granted, visible_at};
use super::position;
use crate::{Output, Plane, QueryId, Transport};

/// What became of a question.
#[derive(Clone, PartialEq, Debug)]
enum Told {
    /// These records, as text.
    Records(Vec<String>),
    /// Nothing of what was asked for, or an error.
    Code(ResponseCode),
    /// Handed on.
    Forwarded,
    /// It waits.
    Nothing,
}

use Told::{Code, Forwarded, Nothing, Records};

fn records(texts: &[&str]) -> Told {
    Records(texts.iter().map(|text| (*text).to_owned()).collect())
}

const NO_SUCH_NAME: Told = Code(ResponseCode::NXDomain);
const NONE_OF_THESE: Told = Code(ResponseCode::NoError);
const LATER: Told = Code(ResponseCode::ServFail);

impl Desk {
    fn query(&mut self, id: u64, name: &str, kind: RecordType) {
        let message = question(name, kind).to_vec().unwrap();
        self.session.handle_query(QueryId(id), &message, Transport::Udp, self.now);
    }

    /// Asks, and looks what became of it at once.
    fn look_up(&mut self, id: u64, name: &str, kind: RecordType) -> Told {
        self.query(id, name, kind);
        self.told(id)
    }

    fn told(&mut self, id: u64) -> Told {
        let told = self.take(|output| match output {
            Output::Answer { query, message } if query.0 == id => Some(Some(message.clone())),
            Output::Forward { query } if query.0 == id => Some(None),
            _ => None,
        });
        match told.as_slice() {
            [] => Nothing,
            [None] => Forwarded,
            [Some(message)] => read(message),
            _ => panic!("answered twice"),
        }
    }

    /// The next question that a gateway is asked.
    fn site_question(&mut self) -> Option<(GatewayId, Message)> {
        let mut asked = self.take(|output| match output {
            Output::Plane(Plane::Query { gateway, message }) => {
                Some((gateway.clone(), Message::from_vec(message).unwrap()))
            }
            _ => None,
        });
        assert!(asked.len() < 2, "asked more than once");
        asked.pop()
    }

    fn site_answers(&mut self, message: &Message) {
        let gateway: GatewayId = "gw-1".parse().unwrap();
        self.session.handle_site_answer(&gateway, &message.to_vec().unwrap(), self.now);
    }

    /// The broker grants what was asked for next.
    fn grant_next(&mut self, resource: &str, lease: u8) -> Wanted {
        let ask = self.take_ask().expect("a request");
        let Wanted::Name { name, synthetic } = &ask.wanted else { panic!("no name") };
        let grant = grant_of(resource, lease, name.as_str(), synthetic);
        self.frame(Granted { request: Some(ask.request), grant });
        ask.wanted
    }

    fn refuse_next(&mut self, decision: Decision) {
        let request = self.asked().expect("a request");
        self.frame(Refused { request, decision });
    }

    fn reconnect_quietly(&mut self, visible: Vec<Visible>) {
        self.open_and_welcome();
        self.send_readings();
        self.judge(visible);
    }

    fn address_of(&mut self, name: &str) -> [String; 2] {
        let Synthetic { v4, v6 } = self.synthetic(name);
        [v4.to_string(), v6.to_string()]
    }

    fn released(&mut self) -> Vec<LeaseId> {
        let sent = self.sent().into_iter().filter_map(|frame| match frame {
            FromDevice::Release(release) => Some(release.lease),
            _ => None,
        });
        sent.collect()
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    message
}

fn read(message: &[u8]) -> Told {
    let message = Message::from_vec(message).unwrap();
    let texts: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    if texts.is_empty() { Code(message.metadata.response_code) } else { Records(texts) }
}

fn reply(question: &Message, answers: Vec<Record>) -> Message {
    let mut message = question.clone().into_response();
    message.answers = answers;
    message
}

fn no_such_name(question: &Message) -> Message {
    let mut message = reply(question, vec![]);
    message.metadata.response_code = ResponseCode::NXDomain;
    message
}

fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(format!("{name}.")).unwrap(), ttl, data)
}

fn real_address(name: &str) -> Record {
    record(name, 300, RData::A(A(Ipv4Addr::new(10, 0, 0, 9))))
}

fn named(id: &str, pattern: &str, decision: Decision) -> Visible {
    visible_at(id, Address::Name(pattern.parse().unwrap()), decision)
}

fn open(id: &str, pattern: &str) -> Visible {
    named(id, pattern, Decision::Granted)
}

fn closed(id: &str, pattern: &str) -> Visible {
    named(id, pattern, Decision::denied(DenyReason::DeviceUnfit))
}

fn prefix(id: &str, cidr: &str) -> Visible {
    visible_at(id, Address::Prefix(cidr.parse().unwrap()), Decision::Granted)
}

#[test]
fn p6_6_exact_names_are_answered_here_and_nobody_is_asked() {
    let mut desk = Desk::connected(vec![granted("wiki"), open("crm", "crm.corp.example")]);
    for name in ["wiki.demo", "crm.corp.example", "CRM.corp.Example"] {
        let [v4, v6] = desk.address_of(&name.to_ascii_lowercase());
        assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![v4]));
        assert_eq!(desk.look_up(2, name, RecordType::AAAA), Records(vec![v6]));
        assert_eq!(desk.look_up(3, name, RecordType::MX), NONE_OF_THESE);
        assert_eq!(desk.look_up(4, name, RecordType::ANY), records(&["RFC8482 "]));
    }
    assert_eq!(desk.asked(), None);
    assert!(desk.site_question().is_none());
}

#[test]
fn p4_3_what_is_visible_but_denied_has_an_address_and_a_flow_there_is_told_why() {
    let mut desk = Desk::connected(vec![denied("payroll"), closed("apps", "*.apps.corp.example")]);
    for (id, name) in [(1, "payroll.demo"), (2, "a.apps.corp.example")] {
        let [v4, _] = desk.address_of(name);
        assert_eq!(desk.look_up(id, name, RecordType::A), Records(vec![v4.clone()]));
        desk.dial(id, &v4, 80);
        assert!(
            matches!(desk.dialled(id), Err(Verdict::Denied { reason: DenyReason::DeviceUnfit, .. })),
            "{name}"
        );
        assert_eq!(desk.look_up(id, name, RecordType::TXT), NONE_OF_THESE);
    }
    assert_eq!(desk.asked(), None);
}

#[test]
fn p4_3_what_is_hidden_and_what_does_not_exist_are_the_same_bytes() {
    let mut desk = Desk::connected(vec![open("crm", "crm.corp.example"), prefix("plc", "10.1.0.0/16")]);
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::MX,
    ];
    for kind in kinds {
        let mut tails = Vec::new();
        for name in ["ledger.corp.example", "qzx7zz.corp.example", "crm2zz.corp.example"] {
            desk.query(1, name, kind);
            let message = desk.take(|output| match output {
                Output::Answer { message, .. } => Some(message.clone()),
                _ => None,
            });
            let message = message.into_iter().next().expect("an answer at once");
            assert_eq!(read(&message), NO_SUCH_NAME, "{name}");
            let asked_for = 12..12 + name.len() + 2;
            tails.push((message[..asked_for.start].to_vec(), message[asked_for.end..].to_vec()));
        }
        assert!(tails.windows(2).all(|pair| pair[0] == pair[1]), "{kind}");
    }
    for name in ["a.crm.corp.example", "10-2-0-1.hq.corp.example", "10-1-0-1.berlin.corp.example"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NO_SUCH_NAME, "{name}");
    }
    // There is something below these.
    for name in ["corp.example", "hq.corp.example"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NONE_OF_THESE, "{name}");
    }
    assert_eq!(desk.asked(), None);
    assert_eq!(desk.session.book.entries().len(), 0, "nothing is remembered of them");
}

#[test]
fn p6_6_what_is_not_ours_goes_to_the_system_s_resolvers() {
    let mut desk = Desk::connected(vec![granted("wiki"), open("apps", "*.apps.demo")]);
    for name in ["example.net", "demo", "x.wiki.demo", "apps.demo", "a.b.apps.demo", "xcorp.example", "wiki"]
    {
        assert_eq!(desk.look_up(1, name, RecordType::A), Forwarded, "{name}");
    }
    assert_eq!(desk.look_up(1, "9.0.0.10.in-addr.arpa", RecordType::PTR), Forwarded);
    for name in ["use-application-dns.net", "wiki.demo.lan", "ledger.corp.example.home.arpa"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NO_SUCH_NAME, "{name}");
    }
    assert_eq!(desk.look_up(1, "_dns.resolver.arpa", RecordType::SVCB), NONE_OF_THESE);
    desk.session.disconnect();
    for name in ["wiki.demo", "ledger.corp.example", "use-application-dns.net"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), Forwarded, "{name}: it is off");
    }
}

#[test]
fn p6_6_an_address_that_stands_in_for_a_name_leads_back_to_it() {
    let mut desk = Desk::connected(vec![granted("wiki"), granted("blog")]);
    let reverse = |address: &str| {
        let mut parts: Vec<&str> = address.split('.').collect();
        parts.reverse();
        format!("{}.in-addr.arpa", parts.join("."))
    };
    let [wiki, _] = desk.address_of("wiki.demo");
    let [gone, _] = desk.address_of("gone.demo");
    assert_eq!(desk.look_up(1, &reverse(&wiki), RecordType::PTR), records(&["wiki.demo."]));
    assert_eq!(desk.look_up(2, &reverse(&gone), RecordType::PTR), NO_SUCH_NAME, "it may not be known of");
    assert_eq!(desk.look_up(3, &reverse("198.18.77.77"), RecordType::PTR), NO_SUCH_NAME);
    assert_eq!(desk.look_up(4, &reverse(&wiki), RecordType::TXT), NONE_OF_THESE);
}

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
    let (gateway, question) = desk.site_question().unwrap();
    let sound = reply(&question, vec![real_address(name)]);
    let altered = |change: &dyn Fn(&mut Message)| {
        let mut message = sound.clone();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let other = super::names::question("b.apps.corp.example", RecordType::A).queries.remove(0);
    let strange = [
        altered(&|message| message.metadata.id ^= 1),
        altered(&|message| message.queries[0] = other.clone()),
        altered(&|message| message.queries[0].query_type = RecordType::TXT),
        question.to_vec().unwrap(),
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
fn p6_5_an_address_at_a_site_has_a_name_and_goes_by_it() {
    let mut desk = Desk::connected(vec![prefix("plc", "10.1.0.0/16")]);
    let name = "10-1-2-3.hq.corp.example";
    let [v4, v6] = desk.address_of(name);
    assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![v4]));
    assert_eq!(desk.look_up(2, name, RecordType::AAAA), Records(vec![v6.clone()]));
    desk.dial(1, &v6, 80);
    let Wanted::Name { name: asked, .. } = desk.grant_next("plc", 1) else { panic!("no name") };
    assert_eq!(asked.as_str(), name);
    assert_eq!(desk.dialled(1).map(|to| to.address.to_string()), Ok(v6), "as the application dialled it");
    // Its number alone is another way.
    desk.dial(2, "10.1.2.3", 80);
    assert_eq!(desk.take_ask().map(|ask| ask.wanted), Some(Wanted::Address("10.1.2.3".parse().unwrap())));
}

#[test]
fn p6_5_two_sites_with_the_same_plan_are_told_apart_by_name() {
    let mut twins = [prefix("plc", "10.1.0.0/16"), prefix("robot", "10.1.0.0/16")];
    for (twin, site) in twins.iter_mut().zip(["hq", "lab"]) {
        (twin.by_name, twin.site) = (true, Some(site.parse().unwrap()));
    }
    let mut desk = Desk::connected(twins.to_vec());
    let names = ["10-1-2-3.hq.corp.example", "10-1-2-3.lab.corp.example"];
    let addresses = names.map(|name| desk.address_of(name)[0].clone());
    assert_ne!(addresses[0], addresses[1]);
    for (name, address) in names.into_iter().zip(addresses) {
        assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![address]));
    }
    desk.dial(1, "10.1.2.3", 80);
    assert_eq!(desk.dialled(1), Err(Verdict::NOT_FOUND), "a number alone means neither");
    assert_eq!(desk.look_up(2, "3.2.1.10.in-addr.arpa", RecordType::PTR), Forwarded);
    let routed = desk.session.snapshot().network.routes;
    assert!(!routed.contains(&"10.1.0.0/16".parse().unwrap()));
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

#[test]
fn p6_6_questions_wait_until_the_session_is_ready() {
    let mut desk = Desk::connected(vec![open("crm", "crm.corp.example")]);
    let [v4, _] = desk.address_of("crm.corp.example");
    desk.session.handle_stream_closed(false, desk.now);
    assert_eq!(desk.look_up(1, "crm.corp.example", RecordType::A), Records(vec![v4.clone()]), "reconnecting");
    desk.wait();
    desk.open_and_welcome();
    assert_eq!(desk.look_up(2, "crm.corp.example", RecordType::A), Nothing, "checking device");
    assert_eq!(desk.look_up(3, "ledger.corp.example", RecordType::A), Nothing, "hidden or not");
    desk.send_readings();
    desk.judge(vec![open("crm", "crm.corp.example")]);
    assert_eq!(desk.told(2), Records(vec![v4]));
    assert_eq!(desk.told(3), NO_SUCH_NAME);
    desk.session.handle_stream_closed(false, desk.now);
    desk.pass(secs(300));
    assert_eq!(desk.look_up(4, "crm.corp.example", RecordType::A), LATER, "unreachable");
    assert_eq!(desk.look_up(5, "ledger.corp.example", RecordType::A), LATER, "and asked of nobody else");
    assert_eq!(desk.look_up(6, "example.net", RecordType::A), Forwarded);
}

#[test]
fn what_was_never_a_question_is_answered_by_nobody() {
    let mut desk = Desk::connected(vec![]);
    let answer = question("wiki.demo", RecordType::A).into_response().to_vec().unwrap();
    for message in [answer.clone(), vec![], answer[..11].to_vec()] {
        desk.session.handle_query(QueryId(1), &message, Transport::Udp, desk.now);
        assert_eq!(desk.take(|output| matches!(output, Output::Silence { .. }).then_some(())).len(), 1);
        assert_eq!(desk.told(1), Nothing);
    }
}

/// Anything that can happen to questions.
#[derive(Clone, Debug)]
enum Anything {
    Asked(u8, u8),
    Bytes(Vec<u8>),
    Cancelled(u8),
    Granted(u8),
    Refused(u8),
    Over,
    Site(bool),
    Noise(Vec<u8>),
    Visible(bool),
    Closed,
    Passed(u16),
    Dialled(u8),
}

fn anything() -> impl Strategy<Value = Anything> {
    use Anything as A;
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        4 => (0..6_u8, 0..5_u8).prop_map(|(name, kind)| A::Asked(name, kind)),
        1 => bytes().prop_map(A::Bytes),
        1 => any::<u8>().prop_map(A::Cancelled),
        3 => (0..6_u8).prop_map(A::Granted),
        1 => (0..3_u8).prop_map(A::Refused),
        1 => Just(A::Over),
        3 => any::<bool>().prop_map(A::Site),
        1 => bytes().prop_map(A::Noise),
        1 => any::<bool>().prop_map(A::Visible),
        1 => Just(A::Closed),
        2 => (0..3_000_u16).prop_map(A::Passed),
        1 => (0..6_u8).prop_map(A::Dialled),
    ]
}

const NAMES: [&str; 6] = [
    "a.apps.corp.example",
    "b.apps.corp.example",
    "wiki.demo",
    "ledger.corp.example",
    "example.net",
    "10-1-2-3.hq.corp.example",
];
const KINDS: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::TXT, RecordType::HTTPS, RecordType::ANY];

proptest! {
    /// Whatever happens in whatever order: every question is answered once and within two seconds, hidden names get one
    /// answer, and sites are asked under leases alone.
    #[test]
    fn p6_6_every_question_is_answered_once_and_soon(steps in prop::collection::vec(anything(), 0..60)) {
        let all = || vec![granted("wiki"), open("apps", "*.apps.corp.example"), prefix("plc", "10.1.0.0/16")];
        let mut desk = Desk::connected(all());
        let (mut next, mut open_since) = (1_000_u64, std::collections::BTreeMap::new());
        let mut site: Vec<Message> = Vec::new();
        for step in steps {
            match step {
                Anything::Asked(name, kind) => {
                    next += 1;
                    open_since.insert(next, desk.now);
                    desk.query(next, NAMES[usize::from(name)], KINDS[usize::from(kind)]);
                }
                Anything::Bytes(bytes) => {
                    next += 1;
                    open_since.insert(next, desk.now);
                    desk.session.handle_query(QueryId(next), &bytes, Transport::Tcp, desk.now);
                }
                Anything::Cancelled(back) => {
                    let id = next.saturating_sub(u64::from(back));
                    desk.session.cancel_query(QueryId(id));
                    open_since.remove(&id);
                }
                Anything::Granted(name) => {
                    let name = NAMES[usize::from(name)];
                    let request = desk.asked();
                    let grant = grant_of("apps", 1, name, &desk.synthetic(name));
                    desk.frame(Granted { request, grant });
                }
                Anything::Refused(which) => if let Some(request) = desk.asked() {
                    let reasons = [DenyReason::NotFound, DenyReason::GatewayAway, DenyReason::NotEntitled];
                    desk.frame(Refused { request, decision: Decision::denied(reasons[usize::from(which)]) });
                },
                Anything::Over => desk.frame(Over { lease: LeaseId([1; 16]), reason: DenyReason::Revoked }),
                Anything::Site(is_there) => if let Some(question) = site.pop() {
                    let name = question.queries[0].name.to_ascii();
                    let found = vec![real_address(name.trim_end_matches('.'))];
                    let message = if is_there { reply(&question, found) } else { no_such_name(&question) };
                    desk.site_answers(&message);
                },
                Anything::Noise(bytes) => {
                    desk.session.handle_site_answer(&"gw-1".parse().unwrap(), &bytes, desk.now);
                }
                Anything::Visible(is_there) => {
                    let (visible, gone) = if is_there {
                        (all(), vec![])
                    } else {
                        (vec![], vec!["apps".parse().unwrap(), "wiki".parse().unwrap()])
                    };
                    desk.frame(Changed { position: position(3), visible, gone, suffixes: None });
                }
                Anything::Closed => {
                    desk.session.handle_stream_closed(false, desk.now);
                    desk.wait();
                    if matches!(desk.session.stream, crate::stream::Stream::Opening { .. }) {
                        desk.reconnect_quietly(all());
                    }
                }
                Anything::Passed(span) => desk.pass(millis(span.into())),
                Anything::Dialled(name) => {
                    next += 1;
                    desk.dial(next, NAMES[usize::from(name)], 80);
                }
            }
            let grants = desk.session.snapshot().grants;
            let asked = desk.take(|output| match output {
                Output::Plane(Plane::Query { message, .. }) => Some(Message::from_vec(message).unwrap()),
                _ => None,
            });
            prop_assert!(asked.is_empty() || !grants.is_empty(), "asked without a lease");
            site.extend(asked);
            let told = desk.take(|output| match output {
                Output::Answer { query, message } => Some((query.0, Some(message.clone()))),
                Output::Forward { query } | Output::Silence { query } => Some((query.0, None)),
                _ => None,
            });
            for (id, message) in told {
                prop_assert!(open_since.remove(&id).is_some(), "{} was answered twice", id);
                if let Some(message) = message {
                    prop_assert!(Message::from_vec(&message).is_ok());
                }
            }
            let late = open_since.values().any(|since| desk.now >= *since + secs(2));
            prop_assert!(!late, "a question waits for too long");
            prop_assert!(desk.session.next_wake().is_none_or(|at| at > desk.now));
        }
    }
}
