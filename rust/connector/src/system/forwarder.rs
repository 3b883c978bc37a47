//! Questions about names that are not ours go to the system's own resolvers, untouched.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ztna_model::secs;
use ztna_net::link;

use super::MARK;

/// Asks the system's resolvers what is not ours to answer.
#[derive(Debug)]
pub struct Forwarder {
    places: Semaphore,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// It is no DNS question (RFC 1035, section 4.1.1).
    #[error("this is no DNS question")]
    NoQuestion,
    /// Too many wait already.
    #[error("too many questions wait for an answer")]
    Busy,
    /// No resolver answered in time, or there is none.
    #[error("no resolver of this machine's network answers")]
    Silent,
}

impl Default for Forwarder {
    fn default() -> Self {
        Self { places: Semaphore::new(QUESTIONS) }
    }
}

impl Forwarder {
    /// Asks `upstreams` in their order until one answers, each within two seconds; the bytes of question and answer stay
    /// as they are. What does not fit into a datagram is asked again over TCP.
    pub async fn forward(&self, question: &[u8], upstreams: &[SocketAddr]) -> Result<Vec<u8>, ForwardError> {
        let is_question =
            question.len() >= HEADER && question.len() <= usize::from(u16::MAX) && !is_answer(question);
        if !is_question {
            return Err(ForwardError::NoQuestion);
        }
        let _place = self.places.try_acquire().map_err(|_| ForwardError::Busy)?;
        for upstream in upstreams.iter().take(RESOLVERS) {
            // A resolver that cannot be reached is one that is silent: the next one is asked.
            if let Ok(Ok(answer)) = timeout(PATIENCE, ask(question, *upstream)).await {
                return Ok(answer);
            }
        }
        Err(ForwardError::Silent)
    }
}

async fn ask(question: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let answer = ask_by_udp(question, upstream).await?;
    if is_cut(&answer) { ask_by_tcp(question, upstream).await.or(Ok(answer)) } else { Ok(answer) }
}

async fn ask_by_udp(question: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    // The port is drawn by the kernel, and a connected socket hears that resolver alone.
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    around_the_tunnel(&socket);
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut answer).await?;
        let received = answer.get(..length).unwrap_or_default();
        if answers(received, question) {
            return Ok(received.to_vec());
        }
    }
}

async fn ask_by_tcp(question: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let socket = if upstream.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    around_the_tunnel(&socket);
    let mut stream = socket.connect(upstream).await?;
    let mut message = u16::try_from(question.len()).unwrap_or(0).to_be_bytes().to_vec();
    message.extend_from_slice(question);
    stream.write_all(&message).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The system's resolvers are where the machine's network says, whatever addresses were granted. Without the privilege
/// there are no routes of ours either.
fn around_the_tunnel(socket: &impl std::os::fd::AsFd) {
    let _ = link::mark(socket, MARK);
}

/// Whether `message` is an answer to `question`: the same number, and the same words where it repeats them.
fn answers(message: &[u8], question: &[u8]) -> bool {
    let has_words = |message: &[u8]| message.get(4..6).is_some_and(|count| count != [0, 0]);
    let words = words(question);
    let same_number = message.get(..2) == question.get(..2);
    let same_words = !has_words(message)
        || message.get(HEADER..).is_some_and(|rest| {
            rest.get(..words.len()).is_some_and(|found| found.eq_ignore_ascii_case(words))
        });
    message.len() >= HEADER && is_answer(message) && same_number && same_words
}

/// The first question's name, type and class.
fn words(question: &[u8]) -> &[u8] {
    let rest = question.get(HEADER..).unwrap_or_default();
    let mut at = 0;
    while let Some(length) = rest.get(at).filter(|length| **length != 0 && **length < 64) {
        at += 1 + usize::from(*length);
    }
    rest.get(..at + 5).unwrap_or_default()
}

fn is_answer(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Whether it did not fit (TC, RFC 1035, section 4.1.1).
fn is_cut(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

const HEADER: usize = 12;
const PATIENCE: std::time::Duration = secs(2);
const RESOLVERS: usize = 3;
const QUESTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// `A wiki.example`, with this number.
    fn question(number: u8) -> Vec<u8> {
        let mut message = vec![0, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"\x04wiki\x07example\x00\x00\x01\x00\x01");
        message
    }

    fn answer(question: &[u8], flags: u8, tail: &[u8]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] = 0x80 | flags;
        message.extend_from_slice(tail);
        message
    }

    /// A resolver that sends these answers over UDP, and over TCP the last one.
    async fn resolver(answers: Vec<Vec<u8>>, by_tcp: Option<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        if let Some(answer) = by_tcp {
            let listener = TcpListener::bind(address).await.unwrap();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut asked).await.unwrap();
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            });
        }
        tokio::spawn(async move {
            let mut asked = [0; 512];
            let (_, from) = socket.recv_from(&mut asked).await.unwrap();
            for answer in answers {
                socket.send_to(&answer, from).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        address
    }

    #[tokio::test]
    async fn an_answer_comes_back_byte_for_byte() {
        let question = question(7);
        let expected =
            answer(&question, 0, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01");
        let at = resolver(vec![expected.clone()], None).await;
        assert_eq!(Forwarder::default().forward(&question, &[at]).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_no_answer_to_the_question_is_passed_over() {
        let asked = question(7);
        let mut other_words = answer(&asked, 0, b"forged");
        other_words[14] ^= 1;
        let forged = vec![answer(&question(8), 0, b"forged"), asked.clone(), vec![0, 7, 0x80], other_words];
        let expected = answer(&asked, 0, b"true");
        let at = resolver([forged, vec![expected.clone()]].concat(), None).await;
        assert_eq!(Forwarder::default().forward(&asked, &[at]).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_long_answer_comes_over_tcp() {
        let asked = question(7);
        let long = answer(&asked, 0, &[7; 5000]);
        let at = resolver(vec![answer(&asked, 2, b"")], Some(long.clone())).await;
        assert_eq!(Forwarder::default().forward(&asked, &[at]).await.unwrap(), long);
        let at = resolver(vec![answer(&asked, 2, b"short")], None).await;
        let short = Forwarder::default().forward(&asked, &[at]).await.unwrap();
        assert_eq!(short, answer(&asked, 2, b"short"), "better than none");
    }

    #[tokio::test]
    async fn the_next_one_is_asked_when_one_is_not_there() {
        let asked = question(7);
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let at = resolver(vec![answer(&asked, 0, b"")], None).await;
        assert!(Forwarder::default().forward(&asked, &[nobody, at]).await.is_ok());
        let none = Forwarder::default().forward(&asked, &[nobody]).await;
        assert!(matches!(none, Err(ForwardError::Silent)));
        let answered = answer(&asked, 0, b"");
        for (message, upstream) in [(&answered, at), (&vec![0; 11], at)] {
            let refused = Forwarder::default().forward(message, &[upstream]).await;
            assert!(matches!(refused, Err(ForwardError::NoQuestion)));
        }
    }

    #[tokio::test]
    async fn there_is_an_end_to_how_many_wait() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (forwarder, asked) = (Forwarder::default(), question(7));
        let at = [silent.local_addr().unwrap()];
        let waiting = (0..QUESTIONS).map(|_| forwarder.forward(&asked, &at));
        let all = futures_util::future::join_all(waiting);
        let one_more = async {
            tokio::task::yield_now().await;
            forwarder.forward(&asked, &at).await
        };
        tokio::select! {
            biased;
            _ = all => panic!("nobody answers"),
            outcome = one_more => assert!(matches!(outcome, Err(ForwardError::Busy))),
        }
    }
}
