use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_model::{Random as _, secs};
use ztna_net::inbox::Post;
use ztna_net::random::SystemRandom;

use super::permit::Lookup;
use super::question::to_wire;
use super::reply::Reply;
use crate::order::Order;

/// Asks the machine's own resolvers what devices may know.
#[derive(Debug)]
pub(crate) struct Lookups {
    /// Tests have resolvers of their own.
    listed: Option<Vec<SocketAddr>>,
    turns: Semaphore,
}

impl Lookups {
    /// With the resolvers in `listed`; without it, those of `/etc/resolv.conf`, which may change.
    pub(crate) fn new(listed: Option<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { listed, turns: Semaphore::new(AT_ONCE) })
    }

    /// Looks up what is asked for, many at once, and hands each answer to the data thread, until nobody asks any more.
    pub(crate) async fn run(self: Arc<Self>, mut wanted: mpsc::Receiver<Lookup>, post: Post<Order>) {
        let mut asked = JoinSet::new();
        loop {
            tokio::select! {
                lookup = wanted.recv() => {
                    let Some(lookup) = lookup else { return };
                    let (lookups, post) = (Arc::clone(&self), post.clone());
                    asked.spawn(async move {
                        // Nobody closes it.
                        let _turn = lookups.turns.acquire().await;
                        let Lookup { peer, from, lease, .. } = lookup;
                        let message = lookups.reply(&lookup).await.write(&lookup.question);
                        // A data thread that has ended misses nothing.
                        let _ = post.send(Order::Answered { peer, from, lease, message }).await;
                    });
                }
                Some(_) = asked.join_next() => {}
            }
        }
    }

    async fn reply(&self, lookup: &Lookup) -> Reply {
        let query = Query::query(to_wire(&lookup.name), lookup.question.query.query_type);
        match timeout(PATIENCE, self.ask(&query)).await {
            Ok(Some(message)) => Reply::of_site(&message, &query, lookup.stand_in),
            Ok(None) | Err(_) => Reply::FAILURE,
        }
    }

    /// What the first resolver says that says anything.
    async fn ask(&self, query: &Query) -> Option<Message> {
        let servers = self.servers();
        let each = PATIENCE / u32::try_from(servers.len()).unwrap_or(1).max(1);
        for server in servers {
            match timeout(each, ask_server(server, query)).await {
                Ok(Ok(message)) => return Some(message),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver is of no use"),
                Err(_) => tracing::debug!(%server, "a resolver does not answer"),
            }
        }
        None
    }

    fn servers(&self) -> Vec<SocketAddr> {
        self.listed.clone().unwrap_or_else(|| {
            let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            nameservers(&text)
        })
    }
}

/// By datagram, and over a connection where the answer was too long for one.
async fn ask_server(server: SocketAddr, query: &Query) -> io::Result<Message> {
    let (id, question) = question(query);
    // An id and a port that nobody can guess, and a socket that hears the resolver alone.
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut room = [0; LONGEST_DATAGRAM];
    let message = loop {
        let length = socket.recv(&mut room).await?;
        let heard = room.get(..length).unwrap_or_default();
        if let Some(message) = answer(heard, id, query) {
            break message;
        }
    };
    if !message.metadata.truncation {
        return Ok(message);
    }
    let answered = ask_by_connection(server, &question).await?;
    answer(&answered, id, query).ok_or_else(|| io::Error::other("it answers something else"))
}

async fn ask_by_connection(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST_ANSWER {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn question(query: &Query) -> (u16, Vec<u8>) {
    let id = u16::from_be_bytes(SystemRandom::new().array());
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(LONGEST_DATAGRAM as u16);
    message.edns = Some(edns);
    (id, message.to_vec().unwrap_or_default())
}

/// The answer in these bytes, if it is one to this very question.
fn answer(bytes: &[u8], id: u16, asked: &Query) -> Option<Message> {
    let questions = bytes.get(4..6)?;
    if questions != [0, 1] {
        return None;
    }
    let message = Message::from_vec(bytes).ok()?;
    let metadata = &message.metadata;
    let is_answer = metadata.message_type == MessageType::Response && metadata.id == id;
    let repeated = message.queries.first()?;
    let is_same = repeated.name.eq_ignore_root(&asked.name)
        && repeated.query_type == asked.query_type
        && repeated.query_class == asked.query_class;
    (is_answer && is_same).then_some(message)
}

/// The resolvers that a `resolv.conf` names, in their order.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    text.lines().filter_map(address).take(MOST_SERVERS).map(|address| (address, DNS).into()).collect()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS: u16 = 53;
/// As many as any resolver looks at.
const MOST_SERVERS: usize = 3;
/// From the question to the answer, whoever gives it: a device waits no longer.
const PATIENCE: Duration = secs(2);
const AT_ONCE: usize = 256;
/// What passes any path in one piece.
const LONGEST_DATAGRAM: usize = 1_232;
const LONGEST_ANSWER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf() {
        let text = "# a comment\nnameserver 10.0.0.53\nsearch example\nnameserver\t2001:db8::53 \noptions rotate\n\
                    nameserver fe80::1%eth0\n;nameserver 10.9.9.9\nnameserver 10.0.0.54\nnameserver 10.0.0.55\n";
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.53:53", "[2001:db8::53]:53", "10.0.0.54:53"]);
    }
}
