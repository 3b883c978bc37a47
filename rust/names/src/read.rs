use hickory_proto::op::Message;

use crate::question::Question;

/// How a question came: by datagram or over a connection. (Over a connection, the two bytes of length are not part of
/// a message.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// By datagram: answers are short.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What an application's bytes are.
#[derive(Clone, Debug)]
pub enum Read {
    /// A question.
    Question(Box<Question>),
    /// Nothing that can be answered but with this.
    Answer(Vec<u8>),
    /// No query: nobody is answered, least of all an answer.
    Silence,
}

/// Reads what an application sent.
pub fn read(message: &[u8], transport: Transport) -> Read {
    let Some(head) = message.first_chunk::<12>() else { return Read::Silence };
    let [_, _, flags, _, questions @ .., _, _, _, _, _, _] = head;
    if flags & IS_RESPONSE != 0 {
        return Read::Silence;
    }
    if flags & OPCODE != 0 {
        return Read::Answer(refusal(head, NOT_IMPLEMENTED));
    }
    if *questions != [0, 1] || message.len() > LONGEST {
        return Read::Answer(refusal(head, FORMAT_ERROR));
    }
    let question = Message::from_vec(message).ok().and_then(|message| Question::of(message, transport));
    question.map_or_else(
        || Read::Answer(refusal(head, FORMAT_ERROR)),
        |question| Read::Question(Box::new(question)),
    )
}

/// The head of a message alone, which says what is wrong: the rest of the query may be anything.
pub(crate) fn refusal(query: &[u8; 12], code: u8) -> Vec<u8> {
    let [first, second, flags, ..] = *query;
    let mut answer = vec![first, second, IS_RESPONSE | flags & (OPCODE | RECURSION_DESIRED), code];
    answer.resize(query.len(), 0);
    answer
}

const IS_RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RECURSION_DESIRED: u8 = 0x01;

const FORMAT_ERROR: u8 = 1;
const NOT_IMPLEMENTED: u8 = 4;

/// A question takes 300 bytes; what goes with it may take some more.
const LONGEST: usize = 4_096;
