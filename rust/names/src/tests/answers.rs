use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use ztna_model::Synthetic;

use super::{asked, name, query, question, record, understood, with_room};
use crate::{Found, Kind, Read, Sought, Topic, Transport, hear, is_strayed, read};

#[test]
fn p6_6_what_is_asked_and_about_what() {
    use RecordType as T;
    let topic = |text: &str| Topic::Name(name(text));
    let reverse = |address: &str, text: &str| Topic::Reverse(address.parse().unwrap(), name(text));
    let v6 = "a.b.d.9.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.ip6.arpa";
    let rows = [
        ("wiki.demo.", T::A, topic("wiki.demo"), Kind::Address),
        ("WiKi.DeMo.", T::AAAA, topic("wiki.demo"), Kind::Address),
        ("wiki.demo.", T::HTTPS, topic("wiki.demo"), Kind::Site(Sought::Https)),
        ("_8443._https.wiki.demo.", T::SVCB, topic("_8443._https.wiki.demo"), Kind::Site(Sought::Binding)),
        ("_sip._tcp.demo.", T::SRV, topic("_sip._tcp.demo"), Kind::Site(Sought::Service)),
        ("wiki.demo.", T::TXT, topic("wiki.demo"), Kind::Site(Sought::Text)),
        ("wiki.demo.", T::ANY, topic("wiki.demo"), Kind::Any),
        ("wiki.demo.", T::MX, topic("wiki.demo"), Kind::Other),
        ("wiki.demo.", T::Unknown(4_711), topic("wiki.demo"), Kind::Other),
        (
            "186.157.18.198.in-addr.arpa.",
            T::PTR,
            reverse("198.18.157.186", "186.157.18.198.in-addr.arpa"),
            Kind::Site(Sought::Pointer),
        ),
        ("157.18.198.in-addr.arpa.", T::PTR, topic("157.18.198.in-addr.arpa"), Kind::Site(Sought::Pointer)),
        ("01.2.3.4.in-addr.arpa.", T::PTR, topic("01.2.3.4.in-addr.arpa"), Kind::Site(Sought::Pointer)),
        (v6, T::PTR, reverse("2001:2:0:1::9dba", v6), Kind::Site(Sought::Pointer)),
        ("use-application-dns.net.", T::A, Topic::Canary, Kind::Address),
        ("_dns.resolver.arpa.", T::SVCB, Topic::Discovery, Kind::Site(Sought::Binding)),
        (".", T::NS, Topic::Odd, Kind::Other),
        ("10.0.0.1.", T::A, Topic::Odd, Kind::Address),
    ];
    for (text, asked_for, topic, kind) in rows {
        let question = question(text, asked_for);
        assert_eq!((question.topic(), question.kind()), (&topic, kind), "{text} {asked_for}");
    }
    // One label with a dot in it, or with what no host has, stands below what it stands below.
    for label in [&b"wiki.demo"[..], b"wi ki", b"\xff\0"] {
        let mut odd = query("demo.", T::A);
        odd.queries[0].name = hickory_proto::rr::Name::from_labels([label, b"Demo"]).unwrap();
        let odd = asked(&odd, Transport::Udp);
        assert_eq!(odd.topic(), &Topic::Odd);
        assert_eq!(odd.zone([&name("demo"), &name("xdemo")]), Some(&name("demo")));
    }
}

#[test]
fn p6_6_questions_and_their_answers() {
    let synthetic = Synthetic::from_index(5);
    let v4 = question("wIki.demo.", RecordType::A);
    let answer = understood(&v4.stand_in(&synthetic));
    assert_eq!(answer.metadata.id, 7);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    assert_eq!(answer.queries[0].name.to_ascii(), "wIki.demo.", "as it was spelled");
    assert_eq!(answer.answers, [record("wIki.demo.", 30, RData::A(A(synthetic.v4)))]);

    let v6 = question("wiki.demo.", RecordType::AAAA);
    let answer = understood(&v6.stand_in(&synthetic));
    assert_eq!(answer.answers, [record("wiki.demo.", 30, RData::AAAA(AAAA(synthetic.v6)))]);

    let pointer = question("5.0.18.198.in-addr.arpa.", RecordType::PTR);
    let answer = understood(&pointer.pointer(&name("wiki.demo")));
    assert_eq!(answer.answers[0].data.to_string(), "wiki.demo.");

    let any = understood(&question("wiki.demo.", RecordType::ANY).anything());
    assert_eq!(any.answers[0].data.to_string(), "RFC8482 ");

    let zone = name("demo");
    for (answer, code) in [
        (v4.no_such_name(Some(&zone)), ResponseCode::NXDomain),
        (v4.nothing(Some(&zone)), ResponseCode::NoError),
    ] {
        let answer = understood(&answer);
        assert_eq!(answer.metadata.response_code, code);
        assert!(answer.answers.is_empty() && answer.additionals.is_empty());
        let end = &answer.authorities[0];
        assert_eq!(
            (end.record_type(), end.name.to_ascii().as_str(), end.ttl),
            (RecordType::SOA, "demo.", 10)
        );
    }
    assert_eq!(understood(&v4.failure()).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn p4_3_the_answer_for_what_is_hidden_has_nothing_of_the_name_but_the_name() {
    let zone = name("corp.example");
    let no = |text: &str| {
        let answer = question(text, RecordType::A).no_such_name(Some(&zone));
        let head = 12 + text.len() + 1;
        (answer[..12].to_vec(), answer[head..].to_vec())
    };
    assert_eq!(no("ledger.corp.example."), no("zzzzzz.corp.example."));
}

#[test]
fn what_cannot_be_understood_is_told_so_or_nothing() {
    let sound = query("wiki.demo.", RecordType::A);
    let bytes = |change: &dyn Fn(&mut Message)| {
        let mut message = sound.clone();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let edited = |at: usize, byte: u8| {
        let mut bytes = sound.to_vec().unwrap();
        bytes[at] = byte;
        bytes
    };
    let plain = sound.to_vec().unwrap();
    let mut looped = plain[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    let rows: [(&str, Vec<u8>, Option<u8>); 12] = [
        ("nothing", vec![], None),
        ("half a head", plain[..11].to_vec(), None),
        ("an answer", edited(2, 0x81), None),
        ("an answer to another kind of query", edited(2, 0xa8), None),
        ("an update", edited(2, 0x28), Some(4)),
        ("a notification", edited(2, 0x20), Some(4)),
        ("no question", bytes(&|message| message.queries.clear()), Some(1)),
        ("two questions", bytes(&|message| message.queries.push(message.queries[0].clone())), Some(1)),
        ("a name that never ends", looped, Some(1)),
        ("a question that was cut short", plain[..plain.len() - 1].to_vec(), Some(1)),
        ("records that are not there", edited(7, 9), Some(1)),
        ("too much", [plain.clone(), vec![0; 5_000]].concat(), Some(1)),
    ];
    for (what, bytes, expected) in rows {
        match (read(&bytes, Transport::Udp), expected) {
            (Read::Silence, None) => {}
            (Read::Answer(answer), Some(code)) => {
                assert_eq!(answer[..2], bytes[..2], "{what}");
                assert_eq!((answer[2] & 0x80, answer[3], answer.len()), (0x80, code, 12), "{what}");
            }
            (other, _) => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn what_nobody_speaks_is_refused_by_its_proper_code() {
    let usual = question("wiki.demo.", RecordType::A);
    assert!(usual.refusal().is_none());
    let mut chaos = query("wiki.demo.", RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    let refusal = asked(&chaos, Transport::Udp).refusal().expect("a refusal");
    assert_eq!(understood(&refusal).metadata.response_code, ResponseCode::Refused);
    let mut later = with_room(query("wiki.demo.", RecordType::A), 1_232);
    later.edns.as_mut().unwrap().set_version(1);
    let refusal = asked(&later, Transport::Udp).refusal().expect("a refusal");
    assert_eq!(u16::from(understood(&refusal).metadata.response_code), 16, "BADVERS");
}

#[test]
fn answers_keep_to_the_room_that_there_is_and_say_so() {
    let mut site = Message::response(9, OpCode::Query);
    site.queries.push(query("wiki.demo.", RecordType::TXT).queries[0].clone());
    let text = |n: u8| RData::TXT(TXT::new(vec![format!("{n}").repeat(200)]));
    site.answers = (0..9).map(|n| record("wiki.demo.", 60, text(n))).collect();
    let heard = hear(&site.to_vec().unwrap()).expect("an answer");
    let Found::Records(records) = heard.sift(|_| true) else { panic!("no records") };
    let plain = query("wiki.demo.", RecordType::TXT);
    let rows = [
        (plain.clone(), Transport::Udp, 512, true),
        (with_room(plain.clone(), 100), Transport::Udp, 512, true),
        (with_room(plain.clone(), 1_000), Transport::Udp, 1_000, true),
        (with_room(plain.clone(), 4_096), Transport::Udp, 1_232, true),
        (plain, Transport::Tcp, 65_535, false),
    ];
    for (message, transport, room, is_cut) in rows {
        let answer = asked(&message, transport).found(&records);
        assert!(answer.len() <= room, "{} of {room}", answer.len());
        let answer = understood(&answer);
        assert_eq!(answer.metadata.truncation, is_cut, "{room}");
        assert_eq!(answer.edns.is_some(), message.edns.is_some(), "{room}");
        assert_eq!(answer.answers.len() == 9, !is_cut, "{room}");
        let offered = answer.edns.map(|edns| edns.max_payload());
        assert!(offered.is_none_or(|offered| offered == 1_232));
    }
}

#[test]
fn g06_names_with_a_search_domain_behind_them_are_found_out() {
    let ours = |known: &ztna_model::DomainName| known.is_within(&name("corp.example"));
    let rows = [
        ("wiki.corp.example.lan", true),
        ("wiki.corp.example.home.arpa", true),
        ("wiki.corp.example.internal", true),
        ("wiki.corp.example", false),
        ("wiki.other.example.lan", false),
        ("wiki.corp.example.au", false),
        ("corp.example.evil.com", false),
        ("lan", false),
    ];
    for (text, expected) in rows {
        assert_eq!(is_strayed(&name(text), ours), expected, "{text}");
    }
}
