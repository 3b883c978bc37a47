use std::net::Ipv4Addr;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::svcb::{
    Alpn, EchConfigList, IpHint, Mandatory, SvcParamKey, SvcParamValue, Unknown,
};
use hickory_proto::rr::rdata::{A, CNAME, HTTPS, PTR, SRV, SVCB, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{name, query, record, understood};
use crate::{Found, Sought, hear, site_query};

/// What is left of a site's answer for an application that may know of `wiki.demo` and `mail.demo` alone.
#[track_caller]
fn check(kind: RecordType, answers: Vec<Record>, expected: &[&str]) {
    let mut message = Message::response(9, OpCode::Query);
    message.queries.push(query("wiki.demo.", kind).queries[0].clone());
    message.answers = answers;
    message.authorities.push(record("demo.", 60, RData::TXT(TXT::new(vec!["a neighbour".into()]))));
    message.additionals.push(record("db.demo.", 60, RData::A(A(Ipv4Addr::new(10, 0, 0, 9)))));
    let heard = hear(&message.to_vec().unwrap()).expect("an answer");
    let may_know = |known: &ztna_model::DomainName| ["wiki.demo", "mail.demo"].contains(&known.as_str());
    let Found::Records(records) = heard.sift(may_know) else { panic!("no records") };
    let told = super::question("wiki.demo.", kind).found(&records);
    let told = understood(&told);
    let texts: Vec<String> = told.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(texts, expected);
    assert!(told.answers.iter().all(|record| record.name.to_ascii() == "wiki.demo." && record.ttl <= 30));
    assert!(told.authorities.is_empty() && told.additionals.is_empty());
}

fn wire(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn text(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.into()]))
}

#[test]
fn p6_6_targets_neither_granted_nor_visible_are_dropped() {
    let service = |to: &str| RData::SRV(SRV::new(0, 0, 5_060, wire(to)));
    let pointer = |to: &str| RData::PTR(PTR(wire(to)));
    let at = |data| record("wiki.demo.", 300, data);
    check(
        RecordType::SRV,
        vec![at(service("mail.demo.")), at(service("ledger.demo.")), at(service("."))],
        &["0 0 5060 mail.demo.", "0 0 5060 ."],
    );
    check(RecordType::PTR, vec![at(pointer("ledger.demo.")), at(pointer("WIKI.demo."))], &["WIKI.demo."]);
    check(RecordType::TXT, vec![at(text("hello")), record("db.demo.", 9, text("secret"))], &["hello"]);
}

#[test]
fn p6_6_records_come_without_the_names_by_which_they_were_found() {
    let alias = |from: &str, to: &str| record(from, 20, RData::CNAME(CNAME(wire(to))));
    let chain = vec![
        alias("wiki.demo.", "lb-7.internal."),
        alias("lb-7.internal.", "rack-3.internal."),
        record("RACK-3.internal.", 60, text("hello")),
        record("wiki.demo.", 60, text("beside the chain")),
    ];
    check(RecordType::TXT, chain, &["hello"]);
    let round = vec![alias("wiki.demo.", "a.demo."), alias("a.demo.", "wiki.demo.")];
    check(RecordType::TXT, round, &[]);
}

#[test]
fn p6_6_hints_that_lead_past_the_tunnel_are_removed() {
    use SvcParamKey as K;
    use SvcParamValue as V;
    let params = || {
        vec![
            (K::Mandatory, V::Mandatory(Mandatory(vec![K::Alpn]))),
            (K::Alpn, V::Alpn(Alpn(vec!["h2".into()]))),
            (K::Port, V::Port(8_443)),
            (K::Ipv4Hint, V::Ipv4Hint(IpHint(vec![A(Ipv4Addr::new(10, 0, 0, 9))]))),
            (K::EchConfigList, V::EchConfigList(EchConfigList(vec![1, 2, 3]))),
            (K::Unknown(77), V::Unknown(Unknown(vec![10, 0, 0, 9]))),
        ]
    };
    let needs = |key| vec![(K::Mandatory, V::Mandatory(Mandatory(vec![key])))];
    let https =
        |to: &str, params| record("wiki.demo.", 300, RData::HTTPS(HTTPS(SVCB::new(1, wire(to), params))));
    let kept = "1 . mandatory=alpn, alpn=h2, port=8443";
    check(RecordType::HTTPS, vec![https(".", params())], &[kept]);
    check(
        RecordType::HTTPS,
        vec![https("ledger.demo.", params()), https("mail.demo.", vec![])],
        &["1 mail.demo."],
    );
    check(RecordType::HTTPS, vec![https(".", needs(K::Ipv4Hint)), https(".", needs(K::EchConfigList))], &[]);
    let svcb = record("wiki.demo.", 300, RData::SVCB(SVCB::new(1, wire("."), params())));
    check(RecordType::SVCB, vec![svcb], &[kept]);
}

/// Addresses of the site's never reach an application, whatever ranges they are in: what is found is that there is one.
#[test]
fn e02_a_site_s_addresses_are_never_told() {
    let at = |octets| record("wiki.demo.", 300, RData::A(A(Ipv4Addr::from(octets))));
    check(RecordType::A, vec![at([127, 0, 0, 1]), at([169, 254, 169, 254]), at([10, 0, 0, 1])], &[]);
    check(RecordType::TXT, vec![at([10, 0, 0, 1])], &[]);
}

#[test]
fn what_is_no_answer_is_not_heard_and_what_is_none_is_told_apart() {
    let mut message = Message::response(9, OpCode::Query);
    message.queries.push(query("wiki.demo.", RecordType::A).queries[0].clone());
    let heard = |change: &dyn Fn(&mut Message)| {
        let mut message = message.clone();
        change(&mut message);
        hear(&message.to_vec().unwrap()).map(|heard| heard.sift(|_| true))
    };
    let code = |code| move |message: &mut Message| message.metadata.response_code = code;
    assert_eq!(heard(&code(ResponseCode::NXDomain)), Some(Found::NoSuchName));
    assert_eq!(heard(&code(ResponseCode::ServFail)), Some(Found::Failure));
    assert_eq!(heard(&code(ResponseCode::Refused)), Some(Found::Failure));
    assert!(matches!(heard(&|_| ()), Some(Found::Records(records)) if records.is_empty()));
    // Cut short: that there is such a name is known all the same, and nothing else is.
    assert!(matches!(heard(&|message| message.metadata.truncation = true), Some(Found::Records(_))));
    let cut = |message: &mut Message| {
        message.metadata.truncation = true;
        message.queries[0].query_type = RecordType::TXT;
    };
    assert_eq!(heard(&cut), Some(Found::Failure));
    assert_eq!(heard(&|message| message.queries.clear()), None);
    assert_eq!(heard(&|message| message.queries[0].query_type = RecordType::MX), None);
    assert!(hear(&query("wiki.demo.", RecordType::A).to_vec().unwrap()).is_none(), "a question");
    assert!(hear(&[0; 11]).is_none());
}

#[test]
fn a_site_is_asked_in_one_form() {
    let asked = understood(&site_query(0x1234, &name("wiki.demo"), Sought::Https));
    assert_eq!((asked.metadata.id, asked.metadata.recursion_desired), (0x1234, true));
    assert_eq!(asked.queries, query("wiki.demo.", RecordType::HTTPS).queries);
    assert_eq!(asked.edns.map(|edns| edns.max_payload()), Some(1_232));
}
