use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, State};
use smoltcp::time::Duration;
use ztna_model::{Endpoint, Flow, Time, minutes};
use ztna_packet::TcpFlags;

mod hearing; // what arrives, made fit for smoltcp
pub(crate) use hearing::Ear;

use crate::edge::Edge;
use crate::engine::{Broken, Engine};
use crate::output::{Cause, Event, News};
use crate::spare::{Mark, Spare};
use crate::syn::Syn;
use crate::told::{Sent, Told, keep_last_unit};

/// One TCP connection: a smoltcp socket, and what has been said about it.
pub(crate) struct Tcp {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    buffer: usize,
    // How much of the buffers is touched: of what is sent, and of what is received.
    sending: Mark,
    receiving: Mark,
    edge: Option<Edge>,
    told: Told,
    // The highest number that the peer has acknowledged.
    acknowledged: u32,
    // There is more to send than a window lets through, the peer's or that of congestion.
    limited: bool,
    // How much data may still be sent before congestion is watched for.
    unwatched: u32,
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

/// How a connection is over.
pub(crate) enum End {
    /// Nobody misses it.
    Over,
    /// The peer may want to hear the last segment again.
    Lingering(Told),
}

impl Tcp {
    /// Begins a connection in `spare`, whose packets will arrive as `arriving`.
    pub(crate) fn connect(engine: &mut Engine, seed: u64, arriving: &Flow, spare: Spare) -> Self {
        let mut tcp = Self::new(spare);
        let context = engine.seed(seed);
        let (peer, local) = (endpoint(arriving.source), endpoint(arriving.destination));
        if tcp.socket().connect(context, peer, local).is_err() {
            tcp.broken = Some(Cause::Broken);
        }
        tcp
    }

    /// Answers `syn`, which arrived as `arriving`, in `spare`.
    pub(crate) fn accept(
        engine: &mut Engine,
        seed: u64,
        arriving: &Flow,
        syn: &Syn,
        spare: Spare,
        now: Time,
    ) -> Self {
        let mut tcp = Self::new(spare);
        tcp.edge = Some(Edge::after_syn(syn.sequence(), tcp.buffer));
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

    fn new(spare: Spare) -> Self {
        let Spare { mut sockets, handle, size: buffer, used: [sending, receiving] } = spare;
        let socket: &mut Socket<'static> = sockets.get_mut(handle);
        // smoltcp forgets one connection as the next one begins, but for these.
        socket.set_congestion_control(CongestionControl::None);
        socket.set_timeout(Some(OPENING));
        Self {
            sockets,
            handle,
            buffer,
            sending,
            receiving,
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
            self.note(engine.packet_mut());
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

    /// Lets it rest until the deadline that this returns, if it has one; `None` if it has more to send at once. It has
    /// just sent a segment, or found none to send.
    pub(crate) fn rest(&mut self, ear: &mut Ear<'_>, sent: bool) -> Option<Option<Time>> {
        let mut deadline = self.deadline(ear);
        let forgets = self.forgets(deadline, ear.now);
        if sent && (forgets || deadline.is_some_and(|at| at <= ear.now)) {
            return None;
        }
        if forgets {
            self.remind(ear);
            deadline = self.deadline(ear);
        }
        let in_flight = self.told.next.wrapping_sub(self.acknowledged).cast_signed();
        self.limited = i64::from(in_flight) < self.socket().send_queue() as i64;
        Some(deadline)
    }

    fn deadline(&mut self, ear: &mut Ear<'_>) -> Option<Time> {
        if self.done || self.broken.is_some() {
            return None;
        }
        let at = ear.engine.deadline(&self.sockets, ear.now).ok().flatten();
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
        // smoltcp writes an empty ring from its beginning.
        if self.socket().send_queue() == 0 {
            self.sending.restart();
        }
        let sent = self.socket().send(|room| {
            let sent = fill(room).min(room.len());
            (sent, sent)
        });
        let sent = sent.unwrap_or(0);
        self.sending.pass(sent);
        self.want_write = self.room() == 0;
        sent
    }

    /// Lets `read` see what has arrived, or what lies in one piece of it; it says how much it has taken.
    pub(crate) fn recv_with(&mut self, read: impl FnOnce(&[u8]) -> usize) -> usize {
        let taken = self.socket().recv(|bytes| {
            let taken = if bytes.is_empty() { 0 } else { read(bytes).min(bytes.len()) };
            (taken, taken)
        });
        let taken = taken.unwrap_or(0);
        self.receiving.pass(taken);
        self.want_read = !self.socket().can_recv();
        taken
    }

    /// Sends no more after what has been given so far.
    pub(crate) fn shutdown_write(&mut self) {
        self.finish = true;
        self.finish_if_possible();
    }

    /// What can be used again of a connection that is over: unless smoltcp has panicked over it.
    pub(crate) fn into_spare(mut self) -> Option<Spare> {
        if self.broken == Some(Cause::Broken) {
            return None;
        }
        let unread = self.unread();
        self.receiving.pass(unread);
        self.socket().abort();
        let Self { sockets, handle, buffer, mut sending, mut receiving, .. } = self;
        sending.restart();
        receiving.restart();
        Some(Spare { sockets, handle, size: buffer, used: [sending, receiving] })
    }

    /// Ends it. Whether the peer must be told: then its next segment is a reset.
    pub(crate) fn abort(&mut self) -> bool {
        let tell = !self.done && self.broken.is_none();
        self.socket().abort();
        tell
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

    /// Sees to what a segment of ours tells the peer, and remembers it.
    fn note(&mut self, packet: &mut [u8]) {
        keep_last_unit(packet);
        let Some(Sent { flags, data, told }) = Sent::read(packet) else { return };
        self.watch_congestion(data);
        let acknowledges = flags.has(TcpFlags::ACK);
        self.told = if acknowledges { told } else { Told { next: told.next, ..self.told } };
        if let Some(edge) = self.edge.as_mut().filter(|_| acknowledges && !flags.has(TcpFlags::SYN)) {
            edge.told(told.expects);
        }
    }

    /// Watches for congestion once as much was sent as may be at first: smoltcp itself would begin with a fifth of
    /// that (RFC 6928).
    fn watch_congestion(&mut self, data: u32) {
        self.unwatched = self.unwatched.saturating_sub(data);
        if self.unwatched == 0 && self.socket().congestion_control() == CongestionControl::None {
            self.socket().set_congestion_control(CongestionControl::Cubic);
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

/// Ten segments.
const INITIAL_WINDOW: u32 = 10 * 1240;
/// How long a handshake may take: five SYNs.
const OPENING: Duration = Duration::from_secs(32);
/// How long a connection lives without a segment from its peer (RFC 5382, REQ-5): as long as a lease may be parked.
const SILENT: Duration = Duration::from_secs(2 * 60 * 60 + 4 * 60);
/// How long our FIN is repeated to a peer that has sent its own.
const LAST_WORDS: std::time::Duration = minutes(4);
/// IPv6, and TCP with the options of a SYN.
const LONGEST_SYN: usize = 40 + 60;
