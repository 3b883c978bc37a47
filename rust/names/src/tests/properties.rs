use hickory_proto::op::Message;
use proptest::prelude::*;
use ztna_model::{DomainName, Synthetic};

use crate::{Question, Read, Transport, hear, read};

/// Every answer that a question can get.
fn every_answer(question: &Question) -> Vec<Vec<u8>> {
    let (zone, synthetic): (DomainName, _) = ("corp.example".parse().unwrap(), Synthetic::from_index(7));
    let answers = [
        question.stand_in(&synthetic),
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

pub(super) fn keeps_its_promises(bytes: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    match read(bytes, transport) {
        Read::Silence => prop_assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0, "a query is answered"),
        Read::Answer(answer) => {
            prop_assert!(Message::from_vec(&answer).is_ok());
            prop_assert!(answer.len() <= bytes.len(), "no more comes back than went in");
        }
        Read::Question(question) => {
            for answer in every_answer(&question) {
                let room = if transport == Transport::Udp { 1_232 } else { 65_535 };
                prop_assert!(answer.len() <= room);
                let answer = Message::from_vec(&answer);
                prop_assert!(answer.is_ok(), "{:?}", answer);
                prop_assert_eq!(&bytes[..2], answer.unwrap().metadata.id.to_be_bytes());
            }
        }
    }
    if let Some(heard) = hear(bytes) {
        let _found = heard.sift(|_| true);
    }
    Ok(())
}

proptest! {
    #[test]
    fn f03_any_bytes_get_an_answer_that_can_be_read_or_none(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        keeps_its_promises(&bytes, Transport::Udp)?;
        keeps_its_promises(&bytes, Transport::Tcp)?;
    }

    /// Bytes that look like a query as far as its head.
    #[test]
    fn f03_nearly_queries_too(
        id: [u8; 2],
        flags in 0_u8..8,
        additional in 0_u8..3,
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..40),
        is_response: bool,
    ) {
        let mut bytes = vec![id[0], id[1], flags | if is_response { 0x80 } else { 0 }, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        for label in labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label);
        }
        bytes.push(0);
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(rest);
        keeps_its_promises(&bytes, Transport::Udp)?;
    }
}
