use std::io;

use tokio::sync::oneshot;
use ztna_model::DenyReason;
use ztna_net::socket::{Connection, Read};
use ztna_netstack::{Netstack, StreamId};
use ztna_proxy::Upstream;

use crate::plane::command::Load;

/// The bytes of one flow: an application's socket at this end of it.
pub(super) struct Carriage {
    connection: Connection,
    first: First,
    upstream: Option<Upstream>,
    /// Whether the application sends no more.
    finished_up: bool,
    /// Whether it was told that the target sends no more.
    finished_down: bool,
    traffic: Traffic,
    done: oneshot::Sender<Carried>,
}

/// How a flow went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// How it ended.
    pub ending: Ending,
    /// How much it carried.
    pub traffic: Traffic,
}

/// How a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Both directions are over, and everything arrived.
    Finished,
    /// One end broke off.
    Broken,
    /// Nothing allows it any more.
    Cut(DenyReason),
}

/// How much a flow carried, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// From the application.
    pub up: u64,
    /// To the application.
    pub down: u64,
}

impl Traffic {
    /// Both ways together.
    pub(super) const fn total(self) -> u64 {
        self.up + self.down
    }
}

/// What a turn at a flow came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It waits for the socket or the flow.
    Waits,
    /// There is more to do at once.
    More,
    /// The application broke off, or what it sent makes no sense: both ends are to be reset.
    Broken,
}

/// What goes to the target before anything else.
struct First {
    bytes: Vec<u8>,
    sent: usize,
}

impl Carried {
    pub(super) const BROKEN: Self = Self { ending: Ending::Broken, traffic: Traffic { up: 0, down: 0 } };
}

impl Carriage {
    /// An application's socket, and the flow that it belongs to.
    pub(super) fn new(load: Load) -> (StreamId, Self) {
        let Load { stream, connection, first, upstream, done } = load;
        let first = First { bytes: first, sent: 0 };
        let traffic = Traffic::default();
        let (finished_up, finished_down) = (false, false);
        (stream, Self { connection, first, upstream, finished_up, finished_down, traffic, done })
    }

    pub(super) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Moves what can be moved, both ways: at most what the flow's buffers hold.
    pub(super) fn advance(&mut self, netstack: &mut Netstack, stream: StreamId) -> Progress {
        match self.advance_down(netstack, stream).and_then(|()| self.advance_up(netstack, stream)) {
            Ok(_) if self.upstream.as_ref().is_some_and(Upstream::is_broken) => Progress::Broken,
            Ok(progress) => progress,
            Err(cause) => {
                tracing::trace!(%cause, "an application broke off");
                Progress::Broken
            }
        }
    }

    /// The target sends no more, and the application has all of it.
    pub(super) fn finish_down(&mut self) {
        if !std::mem::replace(&mut self.finished_down, true) {
            self.connection.finish();
        }
    }

    /// How much it has carried so far.
    pub(super) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Lets go of the socket, and tells how it went. Unless all went well, the application is told by a reset.
    pub(super) fn end(self, ending: Ending) {
        match ending {
            Ending::Finished => {}
            Ending::Broken | Ending::Cut(_) => self.connection.reset(),
        }
        // Who gave up waiting needs no answer.
        let _ = self.done.send(Carried { ending, traffic: self.traffic });
    }

    fn advance_down(&mut self, netstack: &mut Netstack, stream: StreamId) -> io::Result<()> {
        while self.connection.is_writable() {
            let mut outcome = Ok(0);
            let taken = netstack.recv_with(stream, |bytes| {
                outcome = self.connection.write(bytes);
                outcome.as_ref().copied().unwrap_or(0)
            });
            outcome?;
            if taken == 0 {
                break;
            }
            self.traffic.down += taken as u64;
        }
        Ok(())
    }

    fn advance_up(&mut self, netstack: &mut Netstack, stream: StreamId) -> io::Result<Progress> {
        if !self.first.send(netstack, stream, &mut self.traffic) {
            return Ok(Progress::Waits);
        }
        while self.connection.is_readable() && !self.finished_up {
            let read = match &self.upstream {
                Some(upstream) if upstream.is_over() => {
                    // What does not belong to the request is thrown away, for one turn at a time.
                    return self.discard(netstack, stream);
                }
                Some(_) | None => self.read(netstack, stream)?,
            };
            match read {
                Some(Read::Bytes(_)) => {}
                Some(Read::End) => self.finish_up(netstack, stream),
                Some(Read::Nothing) | None => break,
            }
        }
        Ok(Progress::Waits)
    }

    /// Reads straight into the flow's buffer, if there is room in it.
    fn read(&mut self, netstack: &mut Netstack, stream: StreamId) -> io::Result<Option<Read>> {
        let mut outcome = Ok(None);
        let passed = netstack.send_with(stream, |room| {
            outcome = self.connection.read(room).map(Some);
            match (&outcome, &mut self.upstream) {
                (Ok(Some(Read::Bytes(length))), None) => *length,
                (Ok(Some(Read::Bytes(length))), Some(upstream)) => {
                    upstream.pass(room.get(..*length).unwrap_or_default())
                }
                (Ok(Some(Read::Nothing | Read::End) | None) | Err(_), _) => 0,
            }
        });
        self.traffic.up += passed as u64;
        outcome
    }

    fn discard(&mut self, netstack: &mut Netstack, stream: StreamId) -> io::Result<Progress> {
        match self.connection.read(&mut [0; DISCARD])? {
            Read::Bytes(_) => return Ok(Progress::More),
            Read::End => self.finish_up(netstack, stream),
            Read::Nothing => {}
        }
        Ok(Progress::Waits)
    }

    fn finish_up(&mut self, netstack: &mut Netstack, stream: StreamId) {
        self.finished_up = true;
        netstack.shutdown_write(stream);
    }
}

impl First {
    /// Sends what is left of it. Whether that was all.
    fn send(&mut self, netstack: &mut Netstack, stream: StreamId, traffic: &mut Traffic) -> bool {
        if let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = netstack.send(stream, rest);
            traffic.up += sent as u64;
            self.sent += sent;
        }
        let all = self.sent >= self.bytes.len();
        if all {
            self.bytes = Vec::new();
            self.sent = 0;
        }
        all
    }
}

/// How much is thrown away at a time.
const DISCARD: usize = 16 << 10;
