use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use ztna_model::DomainName;

use super::reply::Reply;

/// A device's question, and how long the answer may be.
#[derive(Clone, Debug)]
pub struct Question {
    pub(crate) id: u16,
    pub(crate) recursion_desired: bool,
    pub(crate) query: Query,
    /// Whether it came with an extension (EDNS, RFC 6891): then the answer has one.
    pub(crate) is_extended: bool,
    /// The longest answer, in bytes.
    pub(crate) longest: usize,
}

impl Question {
    /// Reads a message of one question and nothing else. What is no such message gets no answer.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [_, _, flags, _, questions @ ..] = *bytes.first_chunk::<10>()?;
        // One question, no answers, no authorities: looked at before anything is read.
        if bytes.len() > LONGEST_QUESTION
            || flags & (IS_RESPONSE | OPCODE) != 0
            || questions != [0, 1, 0, 0, 0, 0]
        {
            return None;
        }
        let message = Message::from_vec(bytes).ok()?;
        let metadata = &message.metadata;
        let is_query = metadata.message_type == MessageType::Query && metadata.op_code == OpCode::Query;
        let longest = usize::from(message.max_payload()).clamp(SHORTEST_LIMIT, LONGEST_LIMIT);
        let (id, recursion_desired) = (metadata.id, metadata.recursion_desired);
        let is_extended = message.edns.is_some();
        let [query] = <[Query; 1]>::try_from(message.queries).ok()?;
        is_query.then_some(Self { id, recursion_desired, query, is_extended, longest })
    }

    /// The answer of one who may not say more.
    pub fn refusal(&self) -> Vec<u8> {
        Reply::REFUSED.write(self)
    }

    /// The longest answer that whoever asked takes, in bytes.
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// The name that it is about, if a host or a service can have it.
    pub(crate) fn name(&self) -> Option<DomainName> {
        from_wire(&self.query.name)
    }

    /// What it asks for, in the Internet's class.
    pub(crate) fn kind(&self) -> Option<RecordType> {
        (self.query.query_class == DNSClass::IN).then_some(self.query.query_type)
    }
}

/// The name as messages spell it.
pub(crate) fn to_wire(name: &DomainName) -> Name {
    // Whatever is a name here is one there.
    Name::from_labels(name.labels().map(str::as_bytes)).unwrap_or_default()
}

/// The name as leases spell it, if they can. A dot within a label parts nothing.
pub(crate) fn from_wire(name: &Name) -> Option<DomainName> {
    let mut labels = Vec::new();
    for label in name.iter() {
        labels.push(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
    }
    labels.join(".").to_ascii_lowercase().parse().ok()
}

const IS_RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
/// A name, and an extension with a cookie.
const LONGEST_QUESTION: usize = 512;
/// What every datagram may take (RFC 1035, 4.2.1).
const SHORTEST_LIMIT: usize = 512;
/// What every tunnel takes in one piece.
const LONGEST_LIMIT: usize = 1_232;
