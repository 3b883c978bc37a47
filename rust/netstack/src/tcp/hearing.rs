use std::time::Duration;

use smoltcp::socket::tcp::State;
use ztna_model::{Flow, Time, secs};
use ztna_packet::{Packet, Tcp as Header, TcpFlags};

use super::{Connected, SILENT, Tcp};
use crate::answer::write_inner_ack;
use crate::edge::Edge;
use crate::engine::{Broken, Engine};
use crate::output::Cause;
use crate::packets::Packets;
use crate::stream::Scope;
use crate::told::{Told, change_window};

/// What a connection hears with.
pub(crate) struct Ear<'a> {
    pub(crate) engine: &'a mut Engine,
    /// Where answers go that cannot wait.
    pub(crate) answers: &'a mut Packets<Scope>,
    /// Whose the connection is.
    pub(crate) scope: Scope,
    /// Its flow, as packets that arrive show it.
    pub(crate) arriving: Flow,
    pub(crate) now: Time,
}

/// What of a connection a mere acknowledgement can change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    state: State,
    unacknowledged: usize,
}

impl Tcp {
    /// Takes a segment in.
    pub(crate) fn ingest(&mut self, ear: &mut Ear<'_>, packet: &Packet<'_>, header: Header) {
        let length = packet.payload().len();
        let before = self.standing();
        let is_sound = self.edge.is_none_or(|edge| edge.admits(header.sequence, length));
        if before.state == State::Closed || !is_sound || self.only_repeats(before, header, length) {
            return;
        }
        let news = self.newly_acknowledged(header);
        if before.state == State::FinWait1 && header.window == 0 && news as usize > before.unacknowledged {
            return self.hear_the_end(ear, packet, header);
        }
        if self.limited && news as usize <= before.unacknowledged {
            self.hear_in_steps(ear, header, news);
        }
        let almost = self.standing();
        self.feed(ear, packet.bytes());
        if news > 0 && self.standing() == almost {
            self.hear(ear, header.acknowledgement, header.window);
        }
        if news > 0 && self.standing() != almost {
            self.acknowledged = header.acknowledgement;
        }
        self.follow(before, header);
    }

    /// Takes in the acknowledgement of our FIN from a peer whose window is closed, as if the window were open.
    ///
    /// It may have taken the FIN from a question whether the window has opened. smoltcp would go on to ask, and for want
    /// of anything to ask with never set its clock again: it would send without end.
    fn hear_the_end(&mut self, ear: &mut Ear<'_>, packet: &Packet<'_>, header: Header) {
        let mut open = packet.bytes().to_vec();
        change_window(&mut open, |_| 1);
        if let Ok(packet) = ztna_packet::parse(&open) {
            self.ingest(ear, &packet, Header { window: 1, ..header });
        }
    }

    /// Whether data waits to be acknowledged, and smoltcp, which next wants the clock at `deadline`, does not mean to
    /// repeat it.
    ///
    /// It gives up its timer when it is to repeat data into a closed window, and does not ask for it to open.
    pub(super) fn forgets(&mut self, deadline: Option<Time>, now: Time) -> bool {
        let waits = deadline.is_none_or(|at| at > now + LONGEST_PAUSE);
        waits
            && self.connected != Connected::NotYet
            && self.broken.is_none()
            && self.socket().send_queue() > 0
    }

    /// Puts to smoltcp once more that the window is closed: then it asks.
    pub(super) fn remind(&mut self, ear: &mut Ear<'_>) {
        self.hear(ear, self.acknowledged, 0);
    }

    /// Puts the acknowledgement of many segments to smoltcp in as many steps.
    ///
    /// Its congestion window grows with the number of acknowledgements, not with what they acknowledge (RFC 3465): if
    /// a peer sends one for a whole batch, as it should, the window would hardly grow at all.
    fn hear_in_steps(&mut self, ear: &mut Ear<'_>, header: Header, news: u32) {
        let step = ear.engine.segment_size(ear.arriving.source.address);
        for steps in 1..=news.saturating_sub(1) / step {
            self.hear(ear, self.acknowledged.wrapping_add(steps * step), header.window);
        }
    }

    /// Puts an acknowledgement to smoltcp as if it had come alone, and where it is expected.
    ///
    /// For it does not hear the acknowledgement of a segment that repeats what it has already. When both ends do
    /// nothing but repeat, neither would ever learn that all has arrived.
    fn hear(&mut self, ear: &mut Ear<'_>, acknowledgement: u32, window: u16) {
        let heard = Told { next: self.told.expects, expects: acknowledgement, window };
        let mut ack = [0; LONGEST_ACK];
        let length = write_inner_ack(ear.arriving, heard, &mut ack).unwrap_or(0);
        self.feed(ear, ack.get(..length).unwrap_or_default());
    }

    fn feed(&mut self, ear: &mut Ear<'_>, packet: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        match ear.engine.ingest(&mut self.sockets, packet, ear.now) {
            Ok(true) => {
                self.note(ear.engine.packet_mut());
                ear.answers.push(ear.scope, ear.engine.packet());
            }
            Ok(false) => {}
            Err(Broken) => self.broken = Some(Cause::Broken),
        }
    }

    /// How many bytes a segment acknowledges that none before it has.
    fn newly_acknowledged(&self, header: Header) -> u32 {
        let ahead = header.acknowledgement.wrapping_sub(self.acknowledged);
        let plain = !header.flags.has_any(TcpFlags::SYN.with(TcpFlags::RST));
        let counts = plain && header.flags.has(TcpFlags::ACK) && self.connected != Connected::NotYet;
        if counts && ahead.cast_signed() > 0 { ahead } else { 0 }
    }

    /// Whether a segment says nothing, while our FIN is all that its sender has not acknowledged.
    ///
    /// smoltcp takes three such segments for a loss, gives up its timer in order to repeat data at once, and finds
    /// none: the FIN would never be repeated.
    fn only_repeats(&self, standing: Standing, header: Header, length: usize) -> bool {
        let speaks = header.flags.has_any(TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST));
        !speaks
            && length == 0
            && header.acknowledgement == self.acknowledged
            && standing.unacknowledged == 0
            && matches!(standing.state, State::FinWait1 | State::Closing | State::LastAck)
    }

    fn standing(&mut self) -> Standing {
        Standing { state: self.socket().state(), unacknowledged: self.socket().send_queue() }
    }

    /// Sees what a segment has changed.
    fn follow(&mut self, before: Standing, header: Header) {
        let after = self.socket().state();
        if before.state == State::SynSent && header.flags.has(TcpFlags::SYN) && after != before.state {
            self.edge = Some(Edge::after_syn(header.sequence, self.buffer));
        }
        if after == State::Closed && before.state == State::LastAck && !header.flags.has(TcpFlags::RST) {
            self.done = true;
        } else if matches!(after, State::Closed | State::Listen) {
            self.broken = self.broken.or(Some(Cause::Peer));
        } else if self.connected == Connected::NotYet && !matches!(after, State::SynSent | State::SynReceived)
        {
            self.connected = Connected::Unsaid;
            self.acknowledged = header.acknowledgement;
            self.socket().set_timeout(Some(SILENT));
        }
        self.finish_if_possible();
    }
}

/// Longer than smoltcp ever waits before it repeats something.
const LONGEST_PAUSE: Duration = secs(61);
/// IPv6, and TCP without options.
const LONGEST_ACK: usize = 40 + 20;
