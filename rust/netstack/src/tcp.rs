use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Duration;
use ztna_model::{Endpoint, Flow, Time, minutes, secs};
use ztna_packet::TcpFlags;

use crate::answer::write_inner_ack;
use crate::edge::Edge;
use crate::engine::{Broken, Engine};
use crate::output::{Cause, Event, News};
use crate::packets::Packets;
use crate::stream::Scope;
use crate::syn::Syn;

/// One TCP connection: a smoltcp socket, and what has been said about it.
pub(crate) struct Tcp {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    buffer: usize,
    edge: Option<Edge>,
    told: Told,
    // The highest number that the peer has acknowledged.
    acknowledged: u32,
    // There is more to send than a window lets through, the peer's or that of congestion.
    limited: bool,
    // How much may still be sent before congestion is watched for.
    unwatched: usize,
    connected: Connected,
    // After what was given so far comes a FIN.
    finish: bool,
    // The reader, or the writer, has found nothing to do, and waits to be told.
    want_read: bool,
    want_write: bool,
    peer_closed: bool,
    // Both directions are over in good order; no segment is to follow.
    done: bool,
    // Until when our FIN is repeated, once nothing else is left to do.
    last_words: Option<Time>,
    broken: Option<Cause>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connected {
    NotYet,
    Unsaid,
    Said,
}

/// What the last segment that was sent has told the peer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    /// The number that follows it.
    pub(crate) next: u32,
    /// The number that is expected from the peer.
    pub(crate) expects: u32,
    /// The window as written, scaled.
    pub(crate) window: u16,
}

impl Told {
    /// Reads a packet of smoltcp's: it writes neither IPv4 options nor IPv6 extension headers.
    fn read(packet: &[u8]) -> Option<(TcpFlags, Self)> {
        let ip = if packet.first()? >> 4 == 4 { 20 } else { 40 };
        let segment = packet.get(ip..)?;
        let &[_, _, _, _, n0, n1, n2, n3, e0, e1, e2, e3, offset, flags, w0, w1, ..] = segment else {
            return None;
        };
        let flags = TcpFlags::from_bits(flags);
        let data = segment.len().saturating_sub(usize::from(offset >> 4) * 4) as u32;
        let control = u32::from(flags.has_any(TcpFlags::SYN.with(TcpFlags::FIN)));
        let next = u32::from_be_bytes([n0, n1, n2, n3]).wrapping_add(data + control);
        let (expects, window) = (u32::from_be_bytes([e0, e1, e2, e3]), u16::from_be_bytes([w0, w1]));
        Some((flags, Self { next, expects, window }))
    }
}

/// How a connection is over.
pub(crate) enum End {
    /// Nobody misses it.
    Over,
    /// The peer may want to hear the last segment again.
    Lingering(Told),
}

/// A segment that arrives.
pub(crate) struct Segment<'a> {
    /// Whose it is.
    pub(crate) scope: Scope,
    /// The flow, as the packet shows it.
    pub(crate) flow: Flow,
    /// The whole packet.
    pub(crate) packet: &'a [u8],
    /// Its TCP header.
    pub(crate) header: ztna_packet::Tcp,
    /// How much data it brings.
    pub(crate) length: usize,
}

/// What of a connection's state a mere acknowledgement can change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    state: State,
    unacknowledged: usize,
}

impl Tcp {
    /// Begins a connection whose packets will arrive as `arriving`, with two buffers of `buffer` bytes.
    pub(crate) fn connect(engine: &mut Engine, seed: u64, arriving: &Flow, buffer: usize) -> Self {
        let mut tcp = Self::new(buffer);
        let context = engine.seed(seed);
        let (peer, local) = (endpoint(arriving.source), endpoint(arriving.destination));
        if tcp.socket().connect(context, peer, local).is_err() {
            tcp.broken = Some(Cause::Broken);
        }
        tcp
    }

    /// Answers `syn`, which arrived as `arriving`.
    pub(crate) fn accept(
        engine: &mut Engine,
        seed: u64,
        arriving: &Flow,
        syn: &Syn,
        buffer: usize,
        now: Time,
    ) -> Self {
        let mut tcp = Self::new(buffer);
        tcp.edge = Some(Edge::after_syn(syn.sequence(), buffer));
        engine.seed(seed);
        let mut packet = [0; LONGEST_SYN];
        let length = syn.write(arriving, &mut packet).unwrap_or(0);
        let listens = tcp.socket().listen(endpoint(arriving.destination)).is_ok();
        let taken = engine.ingest(&mut tcp.sockets, packet.get(..length).unwrap_or_default(), now).is_ok();
        if !listens || !taken || tcp.socket().state() != State::SynReceived {
            tcp.broken = Some(Cause::Broken);
        }
        tcp
    }

    fn new(buffer: usize) -> Self {
        // Zeroed memory is not touched before it is used.
        let room = || SocketBuffer::new(vec![0; buffer]);
        let mut socket = Socket::new(room(), room());
        // Acknowledgements wait for the end of the batch and for nothing else: no timer, no stall.
        socket.set_congestion_control(CongestionControl::None);
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(OPENING));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            sockets,
            handle,
            buffer,
            edge: None,
            told: Told::default(),
            acknowledged: 0,
            limited: false,
            unwatched: INITIAL_WINDOW,
            connected: Connected::NotYet,
            finish: false,
            want_read: true,
            want_write: false,
            peer_closed: false,
            done: false,
            last_words: None,
            broken: None,
        }
    }

    /// Takes a segment in. Answers that cannot wait go to `answers`.
    pub(crate) fn ingest(
        &mut self,
        engine: &mut Engine,
        segment: &Segment<'_>,
        answers: &mut Packets<Scope>,
        now: Time,
    ) {
        let admitted = |edge: Edge| edge.admits(segment.header.sequence, segment.length);
        if self.broken.is_some() || !self.edge.is_none_or(admitted) {
            return;
        }
        let before = self.standing();
        if self.only_repeats(before, segment) {
            return;
        }
        let news = self.newly_acknowledged(segment.header);
        if self.limited && news as usize <= before.unacknowledged {
            self.hear_in_steps(engine, segment, news, answers, now);
        }
        let almost = self.standing();
        self.feed(engine, segment.packet, segment.scope, answers, now);
        if news > 0 && self.standing() == almost {
            self.hear(engine, segment, segment.header.acknowledgement, answers, now);
        }
        if news > 0 && self.standing() != almost {
            self.acknowledged = segment.header.acknowledgement;
        }
        self.follow(before, segment.header);
    }

    /// Sends one segment. Whether there is one: it is the engine's packet.
    pub(crate) fn egress(&mut self, engine: &mut Engine, now: Time) -> bool {
        if self.done || self.broken.is_some() {
            return false;
        }
        let sent = match engine.egress(&mut self.sockets, now) {
            Ok(sent) => sent,
            Err(Broken) => {
                self.broken = Some(Cause::Broken);
                return false;
            }
        };
        if sent {
            self.note(engine.packet());
        }
        match self.socket().state() {
            // Waiting is left to others: smoltcp would throw away what has not been read.
            State::TimeWait => self.done = true,
            State::Closed => self.broken = Some(Cause::Silence),
            State::LastAck | State::Closing => self.bound_last_words(now),
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait => {}
        }
        sent
    }

    /// When it next wants to send: perhaps at once, perhaps never.
    pub(crate) fn deadline(&mut self, engine: &mut Engine, arriving: Flow, now: Time) -> Option<Time> {
        if self.done || self.broken.is_some() {
            return None;
        }
        let in_flight = self.told.next.wrapping_sub(self.acknowledged).cast_signed();
        self.limited = i64::from(in_flight) < self.socket().send_queue() as i64;
        let mut at = engine.deadline(&self.sockets, now).ok().flatten();
        // smoltcp gives up its timer when it is to repeat data into a closed window, and asks for no opening. It does
        // so when it hears again that the window is closed.
        let forgets = at.is_none_or(|at| at > now + LONGEST_PAUSE) && self.socket().send_queue() > 0;
        if forgets && self.connected != Connected::NotYet {
            let mut ack = [0; LONGEST_ACK];
            let heard = Told { next: self.told.expects, expects: self.acknowledged, window: 0 };
            let length = write_inner_ack(arriving, heard, &mut ack).unwrap_or(0);
            let _ = engine.ingest(&mut self.sockets, ack.get(..length).unwrap_or_default(), now);
            at = engine.deadline(&self.sockets, now).ok().flatten();
        }
        at.into_iter().chain(self.last_words).min()
    }

    /// Adds what has happened since this was last asked, but for the end.
    pub(crate) fn tell(&mut self, news: &mut News) {
        if self.broken.is_some() {
            return;
        }
        if self.connected == Connected::Unsaid {
            self.connected = Connected::Said;
            news.add(Event::Connected);
        }
        if self.want_read && self.socket().can_recv() {
            self.want_read = false;
            news.add(Event::Readable);
        }
        if self.want_write && self.room() >= self.buffer / 4 {
            self.want_write = false;
            news.add(Event::Writable);
        }
        if !self.peer_closed && self.socket().peek(0) == Err(RecvError::Finished) {
            self.peer_closed = true;
            news.add(Event::PeerClosed);
        }
    }

    /// Whether it is over, and how; then adds all that there is still to say.
    pub(crate) fn end(&mut self, news: &mut News) -> Option<End> {
        if let Some(cause) = self.broken {
            news.add(Event::Reset(cause));
            return Some(End::Over);
        }
        if !self.done {
            return None;
        }
        self.tell(news);
        self.peer_closed.then(|| {
            news.add(Event::Closed);
            let lingers = self.socket().state() == State::TimeWait;
            if lingers { End::Lingering(self.told) } else { End::Over }
        })
    }

    /// What the last segment has told the peer, if there is a connection.
    pub(crate) fn told_once_connected(&self) -> Option<Told> {
        (self.connected != Connected::NotYet).then_some(self.told)
    }

    /// The size of each of its buffers.
    pub(crate) const fn buffer(&self) -> usize {
        self.buffer
    }

    /// How many bytes can be sent.
    pub(crate) fn room(&mut self) -> usize {
        if self.finish || !self.socket().may_send() {
            return 0;
        }
        self.buffer - self.socket().send_queue()
    }

    /// How many bytes can be read.
    pub(crate) fn unread(&mut self) -> usize {
        self.socket().recv_queue()
    }

    /// Lets `fill` write into the free part of the send buffer, or what lies in one piece of it; it says how much it wrote.
    pub(crate) fn send_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        if self.room() == 0 {
            self.want_write = true;
            return 0;
        }
        let sent = self.socket().send(|room| {
            let sent = fill(room).min(room.len());
            (sent, sent)
        });
        self.want_write = self.room() == 0;
        sent.unwrap_or(0)
    }

    /// Lets `read` see what has arrived, or what lies in one piece of it; it says how much it has taken.
    pub(crate) fn recv_with(&mut self, read: impl FnOnce(&[u8]) -> usize) -> usize {
        let taken = self.socket().recv(|bytes| {
            let taken = if bytes.is_empty() { 0 } else { read(bytes).min(bytes.len()) };
            (taken, taken)
        });
        self.want_read = !self.socket().can_recv();
        taken.unwrap_or(0)
    }

    /// Sends no more after what has been given so far.
    pub(crate) fn shutdown_write(&mut self) {
        self.finish = true;
        self.finish_if_possible();
    }

    /// Ends it. Whether the peer must be told: then its next segment is a reset.
    pub(crate) fn abort(&mut self) -> bool {
        let tell = !self.done && self.broken.is_none();
        self.socket().abort();
        tell
    }

    fn feed(
        &mut self,
        engine: &mut Engine,
        packet: &[u8],
        scope: Scope,
        answers: &mut Packets<Scope>,
        now: Time,
    ) {
        match engine.ingest(&mut self.sockets, packet, now) {
            Ok(true) => {
                self.note(engine.packet());
                answers.push(scope, engine.packet());
            }
            Ok(false) => {}
            Err(Broken) => self.broken = Some(Cause::Broken),
        }
    }

    /// How many bytes a segment acknowledges that none before it has.
    fn newly_acknowledged(&self, header: ztna_packet::Tcp) -> u32 {
        let ahead = header.acknowledgement.wrapping_sub(self.acknowledged);
        let plain = !header.flags.has_any(TcpFlags::SYN.with(TcpFlags::RST));
        let counts = plain && header.flags.has(TcpFlags::ACK) && self.connected != Connected::NotYet;
        if counts && ahead.cast_signed() > 0 { ahead } else { 0 }
    }

    /// Puts the acknowledgement of many segments to smoltcp in as many steps.
    ///
    /// Its congestion window grows with the number of acknowledgements, not with what they acknowledge (RFC 3465): if
    /// a peer sends one for a whole batch, as it should, the window would hardly grow at all.
    fn hear_in_steps(
        &mut self,
        engine: &mut Engine,
        segment: &Segment<'_>,
        news: u32,
        answers: &mut Packets<Scope>,
        now: Time,
    ) {
        let step = engine.segment_size(segment.flow.source.address);
        for steps in 1..=news.saturating_sub(1) / step {
            let number = self.acknowledged.wrapping_add(steps * step);
            self.hear(engine, segment, number, answers, now);
        }
    }

    /// Puts an acknowledgement to smoltcp as if it had come alone, and where it is expected.
    ///
    /// For it does not hear the acknowledgement of a segment that repeats what it has already. When both ends do
    /// nothing but repeat, neither would ever learn that all has arrived.
    fn hear(
        &mut self,
        engine: &mut Engine,
        segment: &Segment<'_>,
        acknowledgement: u32,
        answers: &mut Packets<Scope>,
        now: Time,
    ) {
        let heard = Told { next: self.told.expects, expects: acknowledgement, window: segment.header.window };
        let mut ack = [0; LONGEST_ACK];
        let length = write_inner_ack(segment.flow, heard, &mut ack).unwrap_or(0);
        self.feed(engine, ack.get(..length).unwrap_or_default(), segment.scope, answers, now);
    }

    /// Whether a segment says nothing, while our FIN is all that its sender has not acknowledged.
    ///
    /// smoltcp takes three such segments for a loss, gives up its timer in order to repeat data at once, and finds
    /// none: the FIN would never be repeated.
    fn only_repeats(&self, standing: Standing, segment: &Segment<'_>) -> bool {
        let header = segment.header;
        let speaks = header.flags.has_any(TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST));
        !speaks
            && segment.length == 0
            && header.acknowledgement == self.acknowledged
            && standing.unacknowledged == 0
            && matches!(standing.state, State::FinWait1 | State::Closing | State::LastAck)
    }

    /// What an acknowledgement would change.
    fn standing(&mut self) -> Standing {
        Standing { state: self.socket().state(), unacknowledged: self.socket().send_queue() }
    }

    /// Sees what a segment has changed.
    fn follow(&mut self, before: Standing, header: ztna_packet::Tcp) {
        let after = self.socket().state();
        if before.state == State::SynSent && header.flags.has(TcpFlags::SYN) && after != before.state {
            self.edge = Some(Edge::after_syn(header.sequence, self.buffer));
        }
        if after == State::Closed && before.state == State::LastAck && !header.flags.has(TcpFlags::RST) {
            self.done = true;
        } else if matches!(after, State::Closed | State::Listen) && !self.done {
            self.broken = self.broken.or(Some(Cause::Peer));
        } else if self.connected == Connected::NotYet && !matches!(after, State::SynSent | State::SynReceived)
        {
            self.connected = Connected::Unsaid;
            self.acknowledged = header.acknowledgement;
            self.socket().set_timeout(Some(SILENT));
        }
        self.finish_if_possible();
    }

    /// Lets smoltcp send a FIN, once it can.
    ///
    /// Before the handshake is over it would undo the handshake. And when the peer has closed already, it ignores from
    /// the FIN on how far the peer's window opens: there all data must have arrived first.
    fn finish_if_possible(&mut self) {
        if !self.finish {
            return;
        }
        let socket = self.socket();
        let may_close = match socket.state() {
            State::Established => true,
            State::CloseWait => socket.send_queue() == 0,
            State::Closed
            | State::Listen
            | State::SynSent
            | State::SynReceived
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait => false,
        };
        if may_close {
            socket.close();
        }
    }

    /// Watches for congestion from the moment on when more is sent than may be at first: smoltcp itself would begin
    /// with a fifth of that (RFC 6928).
    fn watch_congestion(&mut self, sent: usize) {
        self.unwatched = self.unwatched.saturating_sub(sent);
        if self.unwatched == 0 && self.socket().congestion_control() == CongestionControl::None {
            self.socket().set_congestion_control(CongestionControl::Cubic);
        }
    }

    /// Remembers what a segment of ours tells the peer.
    fn note(&mut self, packet: &[u8]) {
        self.watch_congestion(packet.len());
        let Some((flags, told)) = Told::read(packet) else { return };
        let acknowledges = flags.has(TcpFlags::ACK);
        self.told = if acknowledges { told } else { Told { next: told.next, ..self.told } };
        if let Some(edge) = self.edge.as_mut().filter(|_| acknowledges && !flags.has(TcpFlags::SYN)) {
            edge.told(told.expects);
        }
    }

    /// A peer that has closed and has everything need only acknowledge our FIN: it is not waited for as long.
    fn bound_last_words(&mut self, now: Time) {
        if self.socket().send_queue() > 0 {
            return;
        }
        if now >= *self.last_words.get_or_insert(now + LAST_WORDS) {
            self.broken = Some(Cause::Silence);
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

fn endpoint(end: Endpoint) -> smoltcp::wire::IpEndpoint {
    (end.address, end.port).into()
}

/// Ten segments, headers and all.
const INITIAL_WINDOW: usize = 10 * 1280;
/// How long a handshake may take: five SYNs.
const OPENING: Duration = Duration::from_secs(32);
/// How long a connection lives without a segment from its peer (RFC 5382, REQ-5): as long as a lease may be parked.
const SILENT: Duration = Duration::from_secs(2 * 60 * 60 + 4 * 60);
/// Longer than smoltcp ever waits before it repeats something.
const LONGEST_PAUSE: std::time::Duration = secs(61);
/// How long our FIN is repeated to a peer that has sent its own.
const LAST_WORDS: std::time::Duration = minutes(4);
/// IPv6, and TCP with the options of a SYN.
const LONGEST_SYN: usize = 40 + 60;
/// IPv6, and TCP without options.
const LONGEST_ACK: usize = 40 + 20;
