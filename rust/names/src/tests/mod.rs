//! Questions and their answers.

mod answers;
mod corpus;
mod properties;
mod sites;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ztna_model::DomainName;

use crate::{Question, Read, Transport, read};

/// A query as stub resolvers send it.
fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_room(mut message: Message, bytes: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(bytes);
    message.edns = Some(edns);
    message
}

fn question(name: &str, kind: RecordType) -> Question {
    asked(&query(name, kind), Transport::Udp)
}

#[track_caller]
fn asked(message: &Message, transport: Transport) -> Question {
    match read(&message.to_vec().unwrap(), transport) {
        Read::Question(question) => *question,
        other @ (Read::Answer(_) | Read::Silence) => panic!("{other:?}"),
    }
}

#[track_caller]
fn understood(answer: &[u8]) -> Message {
    Message::from_vec(answer).unwrap_or_else(|error| panic!("{error}: {answer:02x?}"))
}

fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}
