//! Questions about names, with a broker and a gateway that say what they are told to.

mod anything;
mod here;
mod sites;

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ztna_api::device::{FromDevice, Granted, Refused, Wanted};
use ztna_model::{Address, Decision, DenyReason, GatewayId, LeaseId, Synthetic, Visible};

use super::desk::{Desk, grant_of, visible_at};
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
