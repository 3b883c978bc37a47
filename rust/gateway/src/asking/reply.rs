use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::SvcParamKey;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, PTR, SVCB};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ztna_model::{DomainName, Synthetic};

use super::question::{Question, to_wire};

/// What a device is told.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Reply {
    code: ResponseCode,
    data: Vec<RData>,
    ttl: u32,
}

impl Reply {
    /// That it may not ask.
    pub(crate) const REFUSED: Self = Self::saying(ResponseCode::Refused);
    /// That the name is there, and has no such records.
    pub(crate) const NOTHING: Self = Self::saying(ResponseCode::NoError);
    /// That the site does not know at the moment.
    pub(crate) const FAILURE: Self = Self::saying(ResponseCode::ServFail);

    const fn saying(code: ResponseCode) -> Self {
        Self { code, data: Vec::new(), ttl: TTL }
    }

    /// The stand-in of the family that is asked for.
    pub(crate) fn stand_in(question: &Question, stand_in: Synthetic) -> Self {
        let is_v6 = question.query.query_type == RecordType::AAAA;
        let data = if is_v6 { RData::AAAA(AAAA(stand_in.v6)) } else { RData::A(A(stand_in.v4)) };
        Self { data: vec![data], ..Self::NOTHING }
    }

    /// This name.
    pub(crate) fn pointer(name: &DomainName) -> Self {
        Self { data: vec![RData::PTR(PTR(to_wire(name)))], ..Self::NOTHING }
    }

    /// What is left of a resolver's answer to `asked`: the records that were asked for, whatever else the name is called
    /// by, and in the place of addresses what stands in for them.
    pub(crate) fn of_site(message: &Message, asked: &Query, stand_in: Option<Synthetic>) -> Self {
        let code = message.metadata.response_code;
        if code == ResponseCode::NXDomain {
            return Self::saying(code);
        }
        if code != ResponseCode::NoError {
            return Self::FAILURE;
        }
        let (owner, mut ttl) = owner(message, &asked.name);
        let mut data = Vec::new();
        for record in &message.answers {
            if record.name.eq_ignore_root(&owner) && record.record_type() == asked.query_type {
                ttl = ttl.min(record.ttl);
                data.extend(kept(&record.data, stand_in));
            }
        }
        data.dedup();
        data.truncate(MOST_RECORDS);
        Self { code: ResponseCode::NoError, data, ttl }
    }

    /// The message, no longer than the device takes. What does not fit is left out whole, and that is said.
    pub(crate) fn write(&self, question: &Question) -> Vec<u8> {
        let whole = self.message(question, &self.data);
        if whole.len() <= question.longest {
            return whole;
        }
        let mut head = self.message(question, &[]);
        if let Some(flags) = head.get_mut(2) {
            *flags |= IS_TRUNCATED;
        }
        head
    }

    fn message(&self, question: &Question, data: &[RData]) -> Vec<u8> {
        let mut message = Message::new(question.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = question.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.response_code = self.code;
        message.queries.push(question.query.clone());
        let owner = &question.query.name;
        message.answers =
            data.iter().map(|data| Record::from_rdata(owner.clone(), self.ttl, data.clone())).collect();
        if question.is_extended {
            let mut edns = Edns::new();
            edns.set_max_payload(LONGEST);
            message.edns = Some(edns);
        }
        // What has been read can be written.
        message.to_vec().unwrap_or_default()
    }
}

/// Whose records are the answer, at the end of a chain of other names; and for how long the chain holds.
#[expect(clippy::wildcard_enum_match_arm, reason = "a chain is made of one kind of record")]
fn owner(message: &Message, asked: &Name) -> (Name, u32) {
    let (mut owner, mut ttl) = (asked.clone(), TTL);
    for _ in 0..LONGEST_CHAIN {
        let next = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if record.name.eq_ignore_root(&owner) => {
                Some((target.clone(), record.ttl))
            }
            _ => None,
        });
        let Some((target, held)) = next else { break };
        (owner, ttl) = (target, ttl.min(held));
    }
    (owner, ttl)
}

/// A record as a device may know it.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there may be is left out")]
fn kept(data: &RData, stand_in: Option<Synthetic>) -> Option<RData> {
    match data {
        RData::A(_) => Some(RData::A(A(stand_in?.v4))),
        RData::AAAA(_) => Some(RData::AAAA(AAAA(stand_in?.v6))),
        RData::HTTPS(https) => Some(RData::HTTPS(HTTPS(without_hints(&https.0)))),
        RData::SVCB(svcb) => Some(RData::SVCB(without_hints(svcb))),
        RData::SRV(_) | RData::TXT(_) | RData::PTR(_) => Some(data.clone()),
        _ => None,
    }
}

/// A binding that names no addresses: they are the site's.
fn without_hints(svcb: &SVCB) -> SVCB {
    let is_kept = |key: &SvcParamKey| !matches!(key, SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint);
    let params = svcb.svc_params.iter().filter(|(key, _)| is_kept(key)).cloned().collect();
    SVCB::new(svcb.svc_priority, svcb.target_name.clone(), params)
}

/// For how long an answer holds at most, in seconds: a lease may end sooner.
const TTL: u32 = 30;
const IS_TRUNCATED: u8 = 0x02;
const LONGEST: u16 = 1_232;
const LONGEST_CHAIN: usize = 8;
const MOST_RECORDS: usize = 32;
