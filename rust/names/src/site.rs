use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Mandatory, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{CNAME, HTTPS, SVCB};
use hickory_proto::rr::{Name, RData};
use ztna_model::DomainName;

use crate::answer::ANSWER_TTL;
use crate::label::{from_wire, to_wire};
use crate::question::{LONGEST_LIMIT, Sought};

/// A question to a site, to be sent to a gateway inside its tunnel. `id` is drawn by chance.
pub fn site_query(id: u16, name: &DomainName, sought: Sought) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(to_wire(name), sought.record_type()));
    let mut edns = Edns::new();
    edns.set_max_payload(LONGEST_LIMIT);
    message.edns = Some(edns);
    message.to_vec().unwrap_or_default() // a name of ours can be written
}

/// A site's answer, before anybody has looked at what it says.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The number of the question that it answers.
    pub id: u16,
    /// The name that it is about.
    pub name: DomainName,
    /// What it says to have been asked for.
    pub sought: Sought,
    message: Message,
}

/// What a site says of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// There is no such name.
    NoSuchName,
    /// What was asked for, as far as an application may know of it; perhaps nothing.
    Records(Records),
    /// The site does not know at the moment, or its answer was cut short.
    Failure,
}

/// What an application may know of a site's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
    pub(crate) data: Vec<RData>,
    pub(crate) ttl: u32,
}

impl Records {
    /// Whether there is nothing of what was asked for.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// How long it may be remembered, in seconds.
    pub const fn ttl(&self) -> u32 {
        self.ttl
    }
}

/// Reads what a gateway sent; none unless it is an answer to one question of the kind that sites are asked.
pub fn hear(message: &[u8]) -> Option<Heard> {
    if message.len() > LONGEST {
        return None;
    }
    // An answer repeats one question, and what it claims to hold must fit into it.
    let questions = message.get(4..6)?;
    if questions != [0, 1] {
        return None;
    }
    let message = Message::from_vec(message).ok()?;
    let query = message.queries.first()?;
    let is_answer =
        message.metadata.message_type == MessageType::Response && message.metadata.op_code == OpCode::Query;
    let (name, sought) = (from_wire(&query.name)?, Sought::of(query.query_type)?);
    is_answer.then_some(Heard { id: message.metadata.id, name, sought, message })
}

impl Heard {
    /// What an application may know of it. Only those are named of whom it `may_know`; addresses are left out, and so is
    /// what a browser would encrypt its wish with.
    pub fn sift(&self, may_know: impl Fn(&DomainName) -> bool) -> Found {
        let metadata = &self.message.metadata;
        if metadata.response_code == ResponseCode::NXDomain {
            return Found::NoSuchName;
        }
        let is_whole = !metadata.truncation || self.sought == Sought::Existence;
        if metadata.response_code != ResponseCode::NoError || !is_whole {
            return Found::Failure;
        }
        let (owner, mut ttl) = self.owner();
        let may_name = |name: &Name| name.is_root() || from_wire(name).is_some_and(|name| may_know(&name));
        let mut data = Vec::new();
        for record in self.message.answers.iter().filter(|record| record.name.eq_ignore_root(&owner)) {
            if record.record_type() == self.sought.record_type()
                && let Some(sifted) = sifted(&record.data, &may_name)
            {
                ttl = ttl.min(record.ttl);
                data.push(sifted);
            }
        }
        data.truncate(MOST_RECORDS);
        Found::Records(Records { data, ttl })
    }

    /// At whose name the records stand, at the end of a chain of other names for it; and how long the chain holds.
    fn owner(&self) -> (Name, u32) {
        let (mut owner, mut ttl) = (to_wire(&self.name), ANSWER_TTL);
        for _ in 0..LONGEST_CHAIN {
            let next = self.message.answers.iter().find_map(|record| {
                let RData::CNAME(CNAME(target)) = &record.data else { return None };
                record.name.eq_ignore_root(&owner).then(|| (target.clone(), record.ttl))
            });
            let Some((target, held)) = next else { break };
            (owner, ttl) = (target, ttl.min(held));
        }
        (owner, ttl)
    }
}

/// What is left of a record; nothing if it names somebody who may not be named.
fn sifted(data: &RData, may_name: &impl Fn(&Name) -> bool) -> Option<RData> {
    if let RData::TXT(_) = data {
        return Some(data.clone());
    }
    if let RData::SRV(service) = data {
        return may_name(&service.target).then(|| data.clone());
    }
    if let RData::PTR(pointer) = data {
        return may_name(&pointer.0).then(|| data.clone());
    }
    if let RData::HTTPS(https) = data {
        return binding(&https.0, may_name).map(|kept| RData::HTTPS(HTTPS(kept)));
    }
    let RData::SVCB(svcb) = data else { return None };
    binding(svcb, may_name).map(RData::SVCB)
}

/// A binding without what would lead past the tunnel: addresses, keys for an encrypted hello, and what is not known.
fn binding(svcb: &SVCB, may_name: &impl Fn(&Name) -> bool) -> Option<SVCB> {
    let kept = |key: &SvcParamKey| {
        matches!(
            key,
            SvcParamKey::Mandatory | SvcParamKey::Alpn | SvcParamKey::NoDefaultAlpn | SvcParamKey::Port
        )
    };
    let is_sound = svcb.svc_params.iter().all(|(_, value)| {
        let SvcParamValue::Mandatory(Mandatory(keys)) = value else { return true };
        keys.iter().all(kept)
    });
    let params = svcb.svc_params.iter().filter(|(key, _)| kept(key)).cloned().collect();
    (is_sound && may_name(&svcb.target_name))
        .then(|| SVCB::new(svcb.svc_priority, svcb.target_name.clone(), params))
}

const LONGEST: usize = 4_096;
const LONGEST_CHAIN: usize = 8;
const MOST_RECORDS: usize = 32;
