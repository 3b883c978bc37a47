//! Whatever happens in whatever order.

use std::collections::BTreeMap;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use ztna_api::device::{Changed, Granted, Over, Refused};
use ztna_model::{Decision, DenyReason, LeaseId, millis, secs};

use super::{no_such_name, open, prefix, real_address, reply};
use crate::tests::desk::{Desk, grant_of, granted};
use crate::tests::position;
use crate::{Output, Plane, QueryId, Transport};

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
        let (mut next, mut open_since) = (1_000_u64, BTreeMap::new());
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
