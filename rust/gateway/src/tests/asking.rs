use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, CNAME, HTTPS, PTR, SRV, SVCB, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use ztna_api::gateway::Over;
use ztna_model::{DenyReason, Match, Synthetic};

use super::device::Device;
use super::nameserver::{Manner, Nameserver};
use super::site::{For, Site};
use super::*;
use crate::resolver::Resolver;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(name: Name, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(name, kind));
    message
}

impl Device {
    fn hears(&mut self, like: IpAddr, message: &Message) -> Message {
        self.answers.clear();
        self.ask(like, &message.to_vec().unwrap());
        let answer = self.until(|device| device.answers.pop());
        Message::from_vec(&answer).unwrap()
    }
}

/// A site with a resolver, and a device that may reach `name-7.test`, which is `wiki.internal` there.
fn site(manner: Manner) -> (Site, Device, Nameserver) {
    let server = Nameserver::start(manner, says);
    let mut site =
        Site::with_resolver(&["*.internal", "10.0.0.0/8"], Resolver::Servers(vec![server.address]));
    let device = site.device();
    site.grant(&device, &For::tcp(7, "wiki.internal"));
    (site, device, server)
}

fn says(query: &Query) -> Option<(ResponseCode, Vec<(Name, RData)>)> {
    let host = name("host-3.internal.");
    let hint = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A(Ipv4Addr::new(10, 1, 2, 3))])));
    let port = (SvcParamKey::Port, SvcParamValue::Port(8443));
    let asked = (query.name.to_lowercase().to_string(), query.query_type);
    let data = match (asked.0.as_str(), asked.1) {
        ("wiki.internal.", RecordType::A) => {
            let alias = (query.name.clone(), RData::CNAME(CNAME(host.clone())));
            let address = (host, RData::A(A(Ipv4Addr::new(10, 1, 2, 3))));
            return Some((ResponseCode::NoError, vec![alias, address]));
        }
        ("wiki.internal.", RecordType::AAAA) => return Some((ResponseCode::NoError, Vec::new())),
        ("wiki.internal.", RecordType::TXT) => vec![RData::TXT(TXT::new(vec!["v=1".into()]))],
        ("wiki.internal.", RecordType::HTTPS) => {
            vec![RData::HTTPS(HTTPS(SVCB::new(1, name("."), vec![port, hint])))]
        }
        ("_sip._tcp.wiki.internal.", RecordType::SRV) => vec![RData::SRV(SRV::new(1, 2, 5060, host))],
        ("4.3.2.10.in-addr.arpa.", RecordType::PTR) => vec![RData::PTR(PTR(name("plc.internal.")))],
        ("gone.internal.", _) => return Some((ResponseCode::NXDomain, Vec::new())),
        ("long.internal.", RecordType::TXT) => {
            (0..20).map(|n| RData::TXT(TXT::new(vec![format!("{n}").repeat(60)]))).collect()
        }
        _ => return None,
    };
    Some((ResponseCode::NoError, data.into_iter().map(|data| (query.name.clone(), data)).collect()))
}

#[test]
fn p6_6_a_device_learns_that_a_name_is_there_and_never_where() {
    let (_site, mut device, server) = site(Manner::Plain);
    let wiki = Synthetic::from_index(7);
    for (like, spelling) in [(V4, "name-7.test."), (V6, "NAME-7.Test.")] {
        let answer = device.hears(like, &question(name(spelling), RecordType::A));
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (77, ResponseCode::NoError));
        assert_eq!(answer.queries[0].name.to_string(), spelling);
        let [record] = &answer.answers[..] else { panic!("{answer:?}") };
        assert_eq!(record.name.to_string(), spelling);
        assert_eq!(record.data, RData::A(A(wiki.v4)));
        assert!(record.ttl <= 30);
    }
    // There is no address of that family: then there is no stand-in either.
    let answer = device.hears(V4, &question(name("name-7.test."), RecordType::AAAA));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(server.asked()[0], ("wiki.internal.".into(), RecordType::A));
}

#[test]
fn p6_6_records_of_a_service_come_from_the_site_without_its_addresses() {
    let (mut site, mut device, _server) = site(Manner::Plain);
    let text = device.hears(V4, &question(name("name-7.test."), RecordType::TXT));
    assert_eq!(text.answers[0].data, RData::TXT(TXT::new(vec!["v=1".into()])));
    let service = device.hears(V4, &question(name("_sip._tcp.name-7.test."), RecordType::SRV));
    assert_eq!(service.answers[0].data, RData::SRV(SRV::new(1, 2, 5060, name("host-3.internal."))));
    let https = device.hears(V4, &question(name("name-7.test."), RecordType::HTTPS));
    let RData::HTTPS(https) = &https.answers[0].data else { panic!("{https:?}") };
    assert_eq!(https.0.svc_params.len(), 1);
    // A lease for addresses lets their names be asked for; a name's stand-in is known here.
    let mut lease = site.lease(&device, &For::tcp(8, "10.2.3.4:80"));
    lease.rule.covers = Match::Prefix("10.2.0.0/16".parse().unwrap());
    assert_eq!(site.offer(&lease), Ok(()));
    let pointer = device.hears(V4, &question(name("4.3.2.10.in-addr.arpa."), RecordType::PTR));
    assert_eq!(pointer.answers[0].data, RData::PTR(PTR(name("plc.internal."))));
    let stand_in = device.hears(V4, &question(name("7.0.18.198.in-addr.arpa."), RecordType::PTR));
    assert_eq!(stand_in.answers[0].data, RData::PTR(PTR(name("name-7.test."))));
    let stand_in = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.ip6.arpa.";
    let stand_in = device.hears(V6, &question(name(stand_in), RecordType::PTR));
    assert_eq!(stand_in.answers[0].data, RData::PTR(PTR(name("name-7.test."))));
}

#[test]
fn e09_whatever_a_device_holds_no_lease_for_gets_one_and_the_same_refusal() {
    let (mut site, mut device, server) = site(Manner::Plain);
    let other = site.device();
    site.grant(&other, &For::tcp(9, "gone.internal"));
    let mut chaos = question(name("name-7.test."), RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    let rows = [
        question(name("wiki.internal."), RecordType::A), // the site's own name for it
        question(name("gone.internal."), RecordType::A), // a name that is not there
        question(name("name-9.test."), RecordType::A),   // somebody else's
        question(name("xname-7.test."), RecordType::A),
        question(name("a.name-7.test."), RecordType::A),
        question(name("_a.name-7.test."), RecordType::A),
        question(name("a._tcp.name-7.test."), RecordType::SRV),
        question(name("_a._b._c._d.name-7.test."), RecordType::SRV),
        question(name("test."), RecordType::A),
        question(name("."), RecordType::NS),
        question(name("name-7.test.evil.example."), RecordType::A),
        question(name("name-7.test."), RecordType::ANY),
        question(name("name-7.test."), RecordType::AXFR),
        question(name("name-7.test."), RecordType::MX),
        question(name("name-7.test."), RecordType::PTR),
        question(name("3.2.1.10.in-addr.arpa."), RecordType::PTR),
        question(name("1.0.0.127.in-addr.arpa."), RecordType::PTR),
        question(name("2.10.in-addr.arpa."), RecordType::PTR),
        chaos,
    ];
    for asked in rows {
        let answer = device.hears(V4, &asked);
        let mut expected = device.hears(V4, &question(name("nowhere.example."), RecordType::A));
        expected.queries = asked.queries.clone();
        assert_eq!(answer, expected);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
    assert!(site.status().plane.questions.refused >= 38);
}

#[test]
fn e09_a_right_to_ask_ends_with_the_lease() {
    let (mut site, mut device, _server) = site(Manner::Plain);
    let lease = site.lease(&device, &For::tcp(8, "gone.internal"));
    assert_eq!(site.offer(&lease), Ok(()));
    let asked = question(name("name-8.test."), RecordType::A);
    assert_eq!(device.hears(V4, &asked).metadata.response_code, ResponseCode::NXDomain);
    site.link().say(Over { lease: lease.id, reason: DenyReason::Revoked });
    site.plane_when(|plane| plane.leases == 1);
    assert_eq!(device.hears(V4, &asked).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn e09_only_the_answer_to_the_very_question_is_believed() {
    let (_site, mut device, _server) = site(Manner::Forging);
    let answer = device.hears(V4, &question(name("name-7.test."), RecordType::A));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
}

#[test]
fn what_a_datagram_does_not_hold_is_asked_for_by_connection() {
    let (mut site, mut device, server) = site(Manner::CutShort);
    let answer = device.hears(V4, &question(name("name-7.test."), RecordType::TXT));
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(server.asked().len(), 2);
    // An answer that no tunnel takes in one piece is cut short on a clean edge.
    site.grant(&device, &For::tcp(8, "long.internal"));
    let mut asked = question(name("name-8.test."), RecordType::TXT);
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    asked.edns = Some(edns);
    let answer = device.hears(V4, &asked);
    assert!(answer.metadata.truncation && answer.answers.is_empty() && answer.edns.is_some());
}

#[test]
fn a_resolver_that_says_nothing_is_waited_for_and_no_longer() {
    let (mut site, mut device, _server) = site(Manner::Plain);
    site.grant(&device, &For::tcp(8, "silent.internal"));
    let before = Clock.now();
    let answer = device.hears(V4, &question(name("name-8.test."), RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let waited = Clock.now().since(before);
    assert!((secs(2)..secs(8)).contains(&waited), "{waited:?}");
}

#[test]
fn h01_what_is_no_question_gets_no_answer_and_neither_does_who_asks_too_often() {
    let (site, mut device, _server) = site(Manner::Plain);
    let sound = question(name("name-9.test."), RecordType::A);
    let mut answer = sound.clone();
    answer.metadata.message_type = MessageType::Response;
    let mut update = sound.clone();
    update.metadata.op_code = OpCode::Update;
    let mut twice = sound.clone();
    twice.queries.push(twice.queries[0].clone());
    for message in [answer, update, twice] {
        device.ask(V4, &message.to_vec().unwrap());
    }
    device.ask(V4, b"");
    device.ask(V4, &[0xff; 600]);
    device.hears(V4, &sound);
    assert_eq!(site.status().plane.questions.dropped, 5);
    device.answers.clear();
    for _ in 0..500 {
        device.ask(V4, &sound.to_vec().unwrap());
    }
    device.idle_until(Clock.now() + ztna_model::millis(500));
    assert!((10..150).contains(&device.answers.len()), "{}", device.answers.len());
}

#[test]
fn committed_questions_are_read_as_their_names_say() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/gateway/questions");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let expected = path.file_name().unwrap().to_str().unwrap().starts_with("ok-");
        let read = crate::asking::Question::read(&std::fs::read(&path).unwrap());
        assert_eq!(read.is_some(), expected, "{}", path.display());
        count += 1;
    }
    assert!(count > 8);
}
