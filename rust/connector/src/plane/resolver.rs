use std::collections::{BTreeMap, VecDeque};

use ztna_datapath::packet::{Packet, datagram, refuse};
use ztna_model::{Flow, Protocol, Random, Time};
use ztna_netstack::{Event, Limits, Netstack, Output, Scope, StreamId};
use ztna_session::{QueryId, Transport};

/// The resolver's address inside the tunnel: takes in local applications' questions, and gives back the answers.
///
/// Nothing of this leaves the device. A datagram is answered by a datagram; connections end in a netstack of its own.
pub(super) struct Resolver {
    netstack: Netstack,
    /// Who waits for the answer to which question, the oldest first.
    asked: BTreeMap<QueryId, Asker>,
    /// The connections.
    talks: BTreeMap<StreamId, Talk>,
    /// What is to be told.
    told: VecDeque<Told>,
    count: u64,
}

/// What comes out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// A packet for the applications.
    Packet(Vec<u8>),
    /// An application's question, unread.
    Question {
        /// Its number.
        query: QueryId,
        /// The message.
        message: Vec<u8>,
        /// How it came.
        transport: Transport,
    },
    /// Nobody waits for the answer to this any more.
    Withdrawn(QueryId),
}

#[derive(Clone, Copy)]
enum Asker {
    /// A flow of datagrams, as its questions show it.
    Datagram(Flow),
    Connection(StreamId),
}

/// A connection.
#[derive(Default)]
struct Talk {
    /// The beginning of a message that has not come whole.
    partial: Vec<u8>,
    /// How many answers are still owed.
    owed: usize,
    /// Whether the application asks no more.
    is_over: bool,
}

impl Resolver {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        Self {
            netstack: Netstack::new(LIMITS, random),
            asked: BTreeMap::new(),
            talks: BTreeMap::new(),
            told: VecDeque::new(),
            count: 0,
        }
    }

    /// Takes a packet that an application sent to the resolver's address.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>, now: Time) {
        match packet.flow() {
            Some(flow) if flow.destination.port != PORT => self.turn_away(packet),
            Some(flow) if flow.protocol == Protocol::Udp => {
                self.ask(Asker::Datagram(flow), packet.payload().to_vec());
            }
            // What begins or continues nothing is dropped here, as anywhere.
            Some(_) | None => _ = self.netstack.handle_packet(SCOPE, packet.bytes(), now),
        }
        self.follow(now);
    }

    /// Gives an application its answer, unless it has gone.
    pub(super) fn answer(&mut self, query: QueryId, message: &[u8], now: Time) {
        match self.asked.remove(&query) {
            Some(Asker::Datagram(flow)) => self.answer_datagram(flow, message),
            Some(Asker::Connection(stream)) => self.answer_connection(stream, message),
            None => {}
        }
        self.follow(now);
    }

    /// What it has to tell, until there is nothing.
    pub(super) fn poll(&mut self, now: Time) -> Option<Told> {
        if self.netstack.next_wake().is_some_and(|wake| wake <= now) {
            self.follow(now);
        }
        self.told.pop_front()
    }

    /// When it has to be polled, if nothing comes before.
    pub(super) fn next_wake(&mut self) -> Option<Time> {
        if self.told.is_empty() { self.netstack.next_wake() } else { Some(Time::ZERO) }
    }

    fn answer_datagram(&mut self, flow: Flow, message: &[u8]) {
        let mut room = [0; LONGEST_PACKET];
        // A session knows how long an answer may be; one that is longer is lost, and the application asks again.
        if let Ok(length) = datagram(flow.reversed(), message, &mut room)
            && let Some(packet) = room.get(..length)
        {
            self.told.push_back(Told::Packet(packet.to_vec()));
        }
    }

    fn answer_connection(&mut self, stream: StreamId, message: &[u8]) {
        let Some(talk) = self.talks.get_mut(&stream) else { return };
        talk.owed = talk.owed.saturating_sub(1);
        let Ok(length) = u16::try_from(message.len()) else { return self.hang_up(stream) };
        let whole = [&length.to_be_bytes()[..], message].concat();
        if self.netstack.send(stream, &whole) < whole.len() {
            return self.hang_up(stream);
        }
        self.finish(stream);
    }

    /// Nothing else than questions is answered there.
    fn turn_away(&mut self, packet: &Packet<'_>) {
        let mut room = [0; LONGEST_PACKET];
        if let Ok(length) = refuse(packet, &mut room)
            && let Some(answer) = room.get(..length)
        {
            self.told.push_back(Told::Packet(answer.to_vec()));
        }
    }

    /// Does what follows from what the connections have said.
    fn follow(&mut self, now: Time) {
        loop {
            match self.netstack.poll(now) {
                Some(Output::Packet { packet, .. }) => {
                    let packet = packet.to_vec();
                    self.told.push_back(Told::Packet(packet));
                }
                Some(Output::Incoming { stream, .. }) => self.begin(stream, now),
                Some(Output::Event { stream, event }) => self.happened(stream, event),
                None => return,
            }
        }
    }

    fn begin(&mut self, stream: StreamId, now: Time) {
        // Whoever keeps a connection open makes room for the next.
        if self.talks.len() >= MOST_TALKS
            && let Some((oldest, _)) = self.talks.first_key_value()
        {
            self.hang_up(*oldest);
        }
        if self.netstack.accept(stream, now).is_ok() {
            self.talks.insert(stream, Talk::default());
        }
    }

    fn happened(&mut self, stream: StreamId, event: Event) {
        match event {
            Event::Connected | Event::Writable => {}
            Event::Readable => self.read(stream),
            Event::PeerClosed => {
                self.read(stream);
                if let Some(talk) = self.talks.get_mut(&stream) {
                    talk.is_over = true;
                }
                self.finish(stream);
            }
            Event::Closed | Event::Reset(_) => self.forget(stream),
        }
    }

    /// Messages behind one another, each after its length (RFC 1035, 4.2.2).
    fn read(&mut self, stream: StreamId) {
        let mut room = [0; MOST_BYTES];
        loop {
            let length = self.netstack.recv(stream, &mut room);
            let Some(talk) = self.talks.get_mut(&stream).filter(|_| length > 0) else { return };
            talk.partial.extend_from_slice(room.get(..length).unwrap_or_default());
            let messages: Vec<Vec<u8>> = std::iter::from_fn(|| split_message(&mut talk.partial)).collect();
            talk.owed += messages.len();
            if talk.partial.len() > MOST_BYTES || talk.owed > MOST_OWED {
                return self.hang_up(stream);
            }
            for message in messages {
                self.ask(Asker::Connection(stream), message);
            }
        }
    }

    fn ask(&mut self, asker: Asker, message: Vec<u8>) {
        if self.asked.len() >= MOST_ASKED
            && let Some((oldest, _)) = self.asked.pop_first()
        {
            self.told.push_back(Told::Withdrawn(oldest));
        }
        self.count += 1;
        let query = QueryId(self.count);
        let transport = match asker {
            Asker::Datagram(_) => Transport::Udp,
            Asker::Connection(_) => Transport::Tcp,
        };
        self.asked.insert(query, asker);
        self.told.push_back(Told::Question { query, message, transport });
    }

    /// Ends a connection whose application asks no more and has all its answers.
    fn finish(&mut self, stream: StreamId) {
        if self.talks.get(&stream).is_some_and(|talk| talk.is_over && talk.owed == 0) {
            self.netstack.shutdown_write(stream);
        }
    }

    fn hang_up(&mut self, stream: StreamId) {
        self.netstack.abort(stream);
        self.forget(stream);
    }

    fn forget(&mut self, stream: StreamId) {
        self.talks.remove(&stream);
        let told = &mut self.told;
        self.asked.retain(|query, asker| {
            let is_meant = matches!(asker, Asker::Connection(of) if *of == stream);
            if is_meant {
                told.push_back(Told::Withdrawn(*query));
            }
            !is_meant
        });
    }
}

/// Takes the first message out of `bytes`, if it is there whole.
fn split_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
    bytes.drain(..2 + message.len());
    Some(message)
}

const SCOPE: Scope = Scope(0);
/// Domain names (RFC 1035, 4.2).
const PORT: u16 = 53;
/// What waits for the session at most, and of one connection.
const MOST_ASKED: usize = 256;
const MOST_OWED: usize = 64;
/// How many connections there are at most.
const MOST_TALKS: usize = 64;
/// Questions are short.
const MOST_BYTES: usize = 4_096;
const LONGEST_PACKET: usize = 1_280;
const LIMITS: Limits = Limits {
    mtu: 1_280,
    flows: 128,
    flows_per_scope: 128,
    waiting_per_scope: 64,
    buffer_per_flow: 8 << 10,
    buffer_total: 2 << 20,
};

#[cfg(test)]
mod tests {
    use ztna_datapath::packet::{Content, parse};
    use ztna_model::{Endpoint, Inner};
    use ztna_net::random::SystemRandom;

    use super::*;

    fn flow(protocol: Protocol, port: u16) -> Flow {
        let source = Endpoint::new(Inner::DEVICE.v4.into(), 40_000);
        Flow { protocol, source, destination: Endpoint::new(Inner::RESOLVER.v4.into(), port) }
    }

    fn ask(resolver: &mut Resolver, port: u16, message: &[u8]) {
        let mut room = [0; LONGEST_PACKET];
        let length = datagram(flow(Protocol::Udp, port), message, &mut room).unwrap();
        resolver.handle_packet(&parse(&room[..length]).unwrap(), Time::ZERO);
    }

    fn query(told: Option<Told>) -> (QueryId, Vec<u8>, Transport) {
        match told {
            Some(Told::Question { query, message, transport }) => (query, message, transport),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_datagram_is_answered_by_a_datagram_and_once() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        ask(&mut resolver, 53, b"who");
        let (id, message, transport) = query(resolver.poll(Time::ZERO));
        assert_eq!((message.as_slice(), transport), (&b"who"[..], Transport::Udp));
        resolver.answer(id, b"me", Time::ZERO);
        let Some(Told::Packet(packet)) = resolver.poll(Time::ZERO) else { panic!("no answer") };
        let packet = parse(&packet).unwrap();
        assert_eq!(packet.flow(), Some(flow(Protocol::Udp, 53).reversed()));
        assert_eq!(packet.payload(), b"me");
        resolver.answer(id, b"me", Time::ZERO);
        assert_eq!(resolver.poll(Time::ZERO), None);
        assert_eq!(resolver.next_wake(), None, "nothing to do, nothing to wake for");
    }

    #[test]
    fn nothing_else_is_answered_there() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        ask(&mut resolver, 80, b"who");
        let Some(Told::Packet(packet)) = resolver.poll(Time::ZERO) else { panic!("no answer") };
        assert!(matches!(parse(&packet).unwrap().content(), Content::IcmpError(_)));
        assert_eq!(resolver.poll(Time::ZERO), None);
    }

    #[test]
    fn the_oldest_question_gives_way() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        let mut ids = Vec::new();
        for _ in 0..MOST_ASKED {
            ask(&mut resolver, 53, b"who");
            ids.push(query(resolver.poll(Time::ZERO)).0);
        }
        ask(&mut resolver, 53, b"who");
        assert_eq!(resolver.poll(Time::ZERO), Some(Told::Withdrawn(ids[0])));
        query(resolver.poll(Time::ZERO));
        resolver.answer(ids[0], b"me", Time::ZERO);
        assert_eq!(resolver.poll(Time::ZERO), None);
    }

    /// An application's end of a connection to the resolver.
    struct Application {
        netstack: Netstack,
        stream: StreamId,
    }

    impl Application {
        fn connect(from: u16, resolver: &mut Resolver) -> Self {
            let mut netstack = Netstack::new(LIMITS, &mut SystemRandom::new());
            let mut flow = flow(Protocol::Tcp, 53);
            flow.source.port = from;
            let stream = netstack.connect(SCOPE, flow, Time::ZERO).unwrap();
            let mut application = Self { netstack, stream };
            assert!(application.exchange(resolver).is_empty());
            application
        }

        /// Carries packets both ways until there are none, and collects what else the resolver tells.
        fn exchange(&mut self, resolver: &mut Resolver) -> Vec<Told> {
            let mut told = Vec::new();
            for _ in 0..100 {
                while let Some(output) = self.netstack.poll(Time::ZERO) {
                    if let Output::Packet { packet, .. } = output {
                        resolver.handle_packet(&parse(packet).unwrap(), Time::ZERO);
                    }
                }
                while let Some(next) = resolver.poll(Time::ZERO) {
                    match next {
                        Told::Packet(packet) => {
                            let _ = self.netstack.handle_packet(SCOPE, &packet, Time::ZERO);
                        }
                        other @ (Told::Question { .. } | Told::Withdrawn(_)) => told.push(other),
                    }
                }
            }
            told
        }

        fn say(&mut self, bytes: &[u8], resolver: &mut Resolver) -> Vec<Told> {
            assert_eq!(self.netstack.send(self.stream, bytes), bytes.len());
            self.exchange(resolver)
        }

        fn heard(&mut self) -> Vec<u8> {
            let mut room = [0; 1_000];
            let length = self.netstack.recv(self.stream, &mut room);
            room[..length].to_vec()
        }
    }

    #[test]
    fn questions_come_behind_one_another_and_in_pieces() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        let mut application = Application::connect(40_000, &mut resolver);
        assert!(application.say(b"\0\x03wh", &mut resolver).is_empty());
        let told = application.say(b"o\0\x04what\0", &mut resolver);
        let asked: Vec<_> = told.into_iter().map(|told| query(Some(told))).collect();
        let messages: Vec<_> = asked.iter().map(|(_, message, _)| message.as_slice()).collect();
        assert_eq!(messages, [b"who".as_slice(), b"what"]);
        resolver.answer(asked[1].0, b"it", Time::ZERO);
        resolver.answer(asked[0].0, b"me", Time::ZERO);
        application.exchange(&mut resolver);
        assert_eq!(application.heard(), b"\0\x02it\0\x02me");
    }

    #[test]
    fn an_application_that_asks_no_more_still_gets_its_answer_and_then_the_end() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        let mut application = Application::connect(40_000, &mut resolver);
        let asked = query(application.say(b"\0\x03who", &mut resolver).pop());
        application.netstack.shutdown_write(application.stream);
        application.exchange(&mut resolver);
        resolver.answer(asked.0, b"me", Time::ZERO);
        application.exchange(&mut resolver);
        assert_eq!(application.heard(), b"\0\x02me");
        assert_eq!((resolver.talks.len(), resolver.asked.len()), (0, 0));
    }

    #[test]
    fn whoever_asks_without_end_is_hung_up_on() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        let mut application = Application::connect(40_000, &mut resolver);
        let many = b"\0\x01a".repeat(MOST_OWED + 1);
        application.say(&many, &mut resolver);
        assert_eq!((resolver.talks.len(), resolver.asked.len()), (0, 0));
    }

    #[test]
    fn connections_make_room_for_the_next() {
        let mut resolver = Resolver::new(&mut SystemRandom::new());
        for from in 1..=200 {
            Application::connect(from, &mut resolver);
        }
        assert!(resolver.talks.len() <= MOST_TALKS, "{}", resolver.talks.len());
    }
}
