//! What comes as DNS messages: questions of applications, and answers of sites.

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData};
use ztna_model::{DomainName, Synthetic};
use ztna_names::{Found, Question, Read, Transport, hear, read};

/// A question can be answered in every way, and each answer reads back, fits, and goes to who asked; and nobody is named
/// in what is left of a site's answer who may not be.
pub(crate) fn messages(bytes: &[u8]) {
    for (transport, room) in [(Transport::Udp, 1_232), (Transport::Tcp, 65_535)] {
        match read(bytes, transport) {
            Read::Silence => assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0, "a query is answered"),
            Read::Answer(answer) => {
                assert!(Message::from_vec(&answer).is_ok(), "a refusal reads back");
                assert!(answer.len() <= bytes.len(), "more comes back than went in");
            }
            Read::Question(question) => {
                for answer in every_answer(&question) {
                    assert!(answer.len() <= room, "{} bytes where {room} fit", answer.len());
                    assert_eq!(answer.get(..2), bytes.get(..2), "an answer repeats the number");
                    assert!(Message::from_vec(&answer).is_ok(), "an answer reads back");
                }
            }
        }
    }
    site(bytes);
}

fn every_answer(question: &Question) -> Vec<Vec<u8>> {
    let zone: DomainName = "corp.example".parse().expect("a name");
    let answers = [
        question.stand_in(&Synthetic::from_index(7)),
        question.pointer(&zone),
        question.anything(),
        question.nothing(Some(&zone)),
        question.nothing(None),
        question.no_such_name(Some(&zone)),
        question.no_such_name(None),
        question.failure(),
    ];
    answers.into_iter().chain(question.refusal()).collect()
}

/// What is left of a site's answer where nobody may be known of.
fn site(bytes: &[u8]) {
    let Some(heard) = hear(bytes) else { return };
    let Found::Records(records) = heard.sift(|_| false) else { return };
    let asked = ztna_names::site_query(7, &heard.name, heard.sought);
    let Read::Question(question) = read(&asked, Transport::Tcp) else { panic!("a question of ours is one") };
    let told = Message::from_vec(&question.found(&records)).expect("an answer reads back");
    for record in &told.answers {
        let target = target(&record.data);
        assert!(target.is_some_and(|target| target.is_none_or(Name::is_root)), "`{record}` is told");
    }
}

/// Whom a record names, if anybody; none if it is no record that may be told at all.
fn target(data: &RData) -> Option<Option<&Name>> {
    if matches!(data, RData::TXT(_)) {
        return Some(None);
    }
    let target = if let RData::SRV(service) = data {
        &service.target
    } else if let RData::PTR(pointer) = data {
        &pointer.0
    } else if let RData::HTTPS(https) = data {
        &https.0.target_name
    } else if let RData::SVCB(svcb) = data {
        &svcb.target_name
    } else {
        return None;
    };
    Some(Some(target))
}
