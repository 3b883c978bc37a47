use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A site's resolver that says what its test says, and keeps what it was asked.
pub(super) struct Nameserver {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

/// What it says: a code, and records of these names. `None` says nothing.
pub(super) type Says = fn(&Query) -> Option<(ResponseCode, Vec<(Name, RData)>)>;

/// What it does with what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It answers.
    Plain,
    /// By datagram it says that the answer is too long.
    CutShort,
    /// Ahead of the answer it says other things, under other numbers and about other names.
    Forging,
}

impl Nameserver {
    pub(super) fn start(manner: Manner, says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            let mut room = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                let Some(message) = answer(&room[..length], says, &heard) else { continue };
                for message in spoken(message, manner) {
                    socket.send_to(&message.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let Some(message) = answer(&question, says, &heard) else { continue };
                let bytes = message.to_vec().unwrap();
                stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&bytes).unwrap();
            }
        });
        Self { address, asked }
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<(String, RecordType)> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(question: &[u8], says: Says, asked: &Mutex<Vec<(String, RecordType)>>) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries.first().unwrap();
    asked.lock().unwrap().push((query.name.to_string(), query.query_type));
    let (code, records) = says(query)?;
    let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.queries.push(query.clone());
    message.answers = records.into_iter().map(|(name, data)| Record::from_rdata(name, 300, data)).collect();
    Some(message)
}

fn spoken(message: Message, manner: Manner) -> Vec<Message> {
    match manner {
        Manner::Plain => vec![message],
        Manner::CutShort => {
            let mut cut = message;
            cut.answers.clear();
            cut.metadata.truncation = true;
            vec![cut]
        }
        Manner::Forging => {
            let mut other_id = message.clone();
            other_id.metadata.id ^= 1;
            other_id.metadata.response_code = ResponseCode::NXDomain;
            let mut other_name = message.clone();
            other_name.metadata.response_code = ResponseCode::NXDomain;
            other_name.queries = vec![Query::query(Name::from_ascii("other.test.").unwrap(), RecordType::A)];
            let mut question = message.clone();
            question.metadata.message_type = MessageType::Query;
            vec![other_id, other_name, question, message]
        }
    }
}
