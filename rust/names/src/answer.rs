use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, HINFO, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use ztna_model::{DomainName, Synthetic};

use crate::label::to_wire;
use crate::question::{LONGEST_LIMIT, Question};
use crate::site::Records;

impl Question {
    /// Why it is refused whatever it is about, if it is: another class than the Internet's, or a version of EDNS that
    /// nobody speaks (RFC 6891, 6.1.3).
    pub fn refusal(&self) -> Option<Vec<u8>> {
        if self.extension.is_some_and(|extension| extension.version != 0) {
            return Some(self.say(ResponseCode::BADVERS, Vec::new(), None));
        }
        (!self.is_of_the_internet()).then(|| self.say(ResponseCode::Refused, Vec::new(), None))
    }

    /// The address that stands in for the name.
    pub fn stand_in(&self, address: &Synthetic) -> Vec<u8> {
        let data = if self.query.query_type == RecordType::AAAA {
            RData::AAAA(AAAA(address.v6))
        } else {
            RData::A(A(address.v4))
        };
        self.records(vec![data], ANSWER_TTL)
    }

    /// The name that the address stands in for.
    pub fn pointer(&self, name: &DomainName) -> Vec<u8> {
        self.records(vec![RData::PTR(PTR(to_wire(name)))], ANSWER_TTL)
    }

    /// What the site said.
    pub fn found(&self, records: &Records) -> Vec<u8> {
        self.records(records.data.clone(), records.ttl)
    }

    /// Something rather than anything that there is (RFC 8482, 4.2).
    pub fn anything(&self) -> Vec<u8> {
        self.records(vec![RData::HINFO(HINFO::new("RFC8482".into(), String::new()))], ANSWER_TTL)
    }

    /// There is such a name in `zone`, and nothing of what was asked for.
    pub fn nothing(&self, zone: Option<&DomainName>) -> Vec<u8> {
        self.say(ResponseCode::NoError, Vec::new(), Some(self.end_of(zone)))
    }

    /// There is no such name in `zone`. What is hidden and what does not exist come here alike.
    pub fn no_such_name(&self, zone: Option<&DomainName>) -> Vec<u8> {
        self.say(ResponseCode::NXDomain, Vec::new(), Some(self.end_of(zone)))
    }

    /// It cannot be said at the moment.
    pub fn failure(&self) -> Vec<u8> {
        self.say(ResponseCode::ServFail, Vec::new(), None)
    }

    fn records(&self, data: Vec<RData>, ttl: u32) -> Vec<u8> {
        let name = &self.query.name;
        let records = data.into_iter().map(|data| Record::from_rdata(name.clone(), ttl, data));
        self.say(ResponseCode::NoError, records.collect(), None)
    }

    /// Says how long a no may be remembered (RFC 2308).
    fn end_of(&self, zone: Option<&DomainName>) -> Record {
        let owner = zone.map_or_else(|| self.query.name.clone(), to_wire);
        let [server, person] = ["resolver.invalid.", "nobody.invalid."].map(|text| {
            Name::from_ascii(text).unwrap_or_default() // they are names
        });
        let soa = SOA::new(server, person, 1, 3_600, 600, 86_400, NO_TTL);
        Record::from_rdata(owner, NO_TTL, RData::SOA(soa))
    }

    fn say(&self, code: ResponseCode, answers: Vec<Record>, end: Option<Record>) -> Vec<u8> {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.recursion_available = true;
        message.queries.push(self.query.clone());
        message.answers = answers;
        message.authorities.extend(end);
        message.edns = self.extension.map(|extension| {
            let mut edns = Edns::new();
            edns.set_max_payload(LONGEST_LIMIT);
            edns.set_dnssec_ok(extension.dnssec_ok);
            edns
        });
        self.write(&message)
    }

    /// Writes as much as there is room for; what is left out is told of (TC).
    fn write(&self, message: &Message) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::from(LONGEST_LIMIT));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.longest);
        // Names and records that were read, or are ours, can be written.
        if message.emit(&mut encoder).is_err() { Vec::new() } else { bytes }
    }
}

/// How long an address may be remembered, in seconds: it never changes while the device keeps its book, and nothing
/// passes to it that is not granted.
pub(crate) const ANSWER_TTL: u32 = 30;
/// How long a no may be remembered: what is granted is there within moments.
const NO_TTL: u32 = 10;
