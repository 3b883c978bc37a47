//! What a data thread waits on: its UDP port, its TUN device, its inbox, the sockets of its flows and its next deadline.
//!
//! ```no_run
//! use ztna_net::{clock::Clock, poll::Poller, udp::{Batch, Bind, UdpPort}};
//!
//! let mut port = UdpPort::bind(Bind::Dual)?;
//! let (mut poller, post, mut inbox) = Poller::new::<String>(Clock, 1024)?; // `post` goes to the tasks
//! poller.add(&mut port)?;
//! let mut batch = Batch::new();
//! # let (next_deadline, handle, open) = (|| None, |_: String| (), |_: &mut [u8]| ());
//! while !inbox.is_abandoned() {
//!     let now = poller.wait(&mut port, &inbox, next_deadline())?;
//!     inbox.drain(256).for_each(handle); // first: a revocation overtakes packets
//!     while port.recv(&mut batch)? {
//!         batch.datagrams().for_each(|datagram| open(datagram.contents));
//!     }
//!     port.flush().ok(); // what was sealed meanwhile; an error concerns one destination alone
//! }
//! # drop(post);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use ztna_model::Time;

use crate::clock::Clock;
use crate::inbox::{Inbox, Post};
use crate::tun::TunPort;
use crate::udp::UdpPort;

/// Waits for whatever comes first.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
    clock: Clock,
    /// Whether the poller also waits for room in the port's send buffer. Only while the port is blocked: else every
    /// datagram that left would wake the thread.
    awaits_room: bool,
}

/// What a flow's socket is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The other end has finished, or the socket is broken.
    pub ended: bool,
}

impl Readiness {
    /// Whatever may be: try.
    pub(crate) const ALL: Self = Self { readable: true, writable: true, ended: true };

    /// What either tells.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self {
            readable: self.readable || other.readable,
            writable: self.writable || other.writable,
            ended: self.ended || other.ended,
        }
    }
}

impl Poller {
    /// A poller, and the inbox of `capacity` messages that it waits on.
    pub fn new<T>(clock: Clock, capacity: usize) -> io::Result<(Self, Post<T>, Inbox<T>)> {
        let poll = Poll::new()?;
        let (post, inbox) = Inbox::new(capacity, Waker::new(poll.registry(), INBOX)?);
        let poller = Self { poll, events: Events::with_capacity(EVENTS), clock, awaits_room: false };
        Ok((poller, post, inbox))
    }

    /// Waits on `port` as well; a poller has one port at a time.
    pub fn add(&mut self, port: &mut UdpPort) -> io::Result<()> {
        self.awaits_room = false;
        self.poll.registry().register(port.socket(), UDP, Interest::READABLE)
    }

    /// Waits on `port` no longer, so that another can take its place (after a change of network).
    pub fn remove(&mut self, port: &mut UdpPort) -> io::Result<()> {
        self.poll.registry().deregister(port.socket())
    }

    /// Waits on `tun` as well, in [`Poller::wait_with`]; a poller has one device at a time.
    pub fn add_tun(&mut self, tun: &TunPort) -> io::Result<()> {
        // Room is only ever told of together with something to read, so asking for both wakes nobody in vain.
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&tun.as_fd().as_raw_fd()), TUN, both)
    }

    /// Waits on `tun` no longer, so that another can take its place.
    pub fn remove_tun(&mut self, tun: &TunPort) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&tun.as_fd().as_raw_fd()))
    }

    /// Waits on a flow's socket as well, for as long as it is open. A key may be used again after that.
    pub(crate) fn watch(&self, socket: &mut impl Source, key: usize) -> io::Result<()> {
        self.poll.registry().register(socket, flow_token(key), Interest::READABLE | Interest::WRITABLE)
    }

    /// Waits for something to read from a flow's socket.
    pub(crate) fn watch_reading(&self, socket: &mut impl Source, key: usize) -> io::Result<()> {
        self.poll.registry().register(socket, flow_token(key), Interest::READABLE)
    }

    /// Which flows' sockets are ready for more than before the last wait, by their keys. Told once: a socket is ready
    /// until it says itself that it no longer is.
    pub fn ready(&self) -> impl Iterator<Item = (usize, Readiness)> {
        self.events.iter().filter_map(|event| {
            let key = event.token().0.checked_sub(FIRST_FLOW)?;
            let ended = event.is_read_closed() || event.is_error();
            let (readable, writable) = (event.is_readable() || ended, event.is_writable() || ended);
            Some((key, Readiness { readable, writable, ended }))
        })
    }

    /// Waits until `port` is readable (or has room again, if it was blocked), a flow's socket is ready, `inbox` holds something or has lost its
    /// last sender, or `deadline` is past, and tells the time then. It may return early, and after a suspend late:
    /// deadlines are compared with that time, not with having been woken.
    pub fn wait<T>(
        &mut self,
        port: &mut UdpPort,
        inbox: &Inbox<T>,
        deadline: Option<Time>,
    ) -> io::Result<Time> {
        self.wait_with(port, None, inbox, deadline)
    }

    /// [`Poller::wait`] for a thread that has a TUN device as well, or has not. While `port` is blocked the device is not
    /// to be read, and does not keep the poller from waiting.
    pub fn wait_with<T>(
        &mut self,
        port: &mut UdpPort,
        tun: Option<&mut TunPort>,
        inbox: &Inbox<T>,
        deadline: Option<Time>,
    ) -> io::Result<Time> {
        self.await_room(port)?;
        let reads_tun = tun.as_ref().is_some_and(|tun| tun.is_readable()) && !port.is_blocked();
        let idle = inbox.may_sleep() && !port.is_readable() && !reads_tun;
        let timeout = if idle { deadline.map(|d| d.since(self.clock.now())) } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => return Err(cause),
            Ok(()) | Err(_) => {}
        }
        for event in self.events.iter().filter(|event| event.token() == UDP) {
            port.is_ready(event.is_readable(), event.is_writable());
        }
        if let Some(tun) = tun {
            for event in self.events.iter().filter(|event| event.token() == TUN) {
                tun.is_ready(event.is_readable() || event.is_error(), event.is_writable());
            }
        }
        Ok(self.clock.now())
    }

    fn await_room(&mut self, port: &mut UdpPort) -> io::Result<()> {
        if !port.is_blocked() && !self.awaits_room {
            return Ok(());
        }
        // Registering anew also asks anew, so room that came since the port was blocked is noticed.
        self.awaits_room = port.is_blocked();
        let wanted =
            if self.awaits_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.poll.registry().reregister(port.socket(), UDP, wanted)
    }
}

const UDP: Token = Token(0);
const INBOX: Token = Token(1);
const TUN: Token = Token(2);
const FIRST_FLOW: usize = 3;
/// How much is told after one wait; the rest is told after the next.
const EVENTS: usize = 256;

const fn flow_token(key: usize) -> Token {
    Token(key.saturating_add(FIRST_FLOW))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use ztna_model::{millis, secs};

    use super::*;
    use crate::inbox::PostError;
    use crate::udp::{Batch, Bind, Transmit};

    fn poller(capacity: usize) -> (Poller, UdpPort, Post<u32>, Inbox<u32>) {
        let (mut poller, post, inbox) = Poller::new(Clock, capacity).unwrap();
        let mut port = UdpPort::bind(Bind::LoopbackV4).unwrap();
        poller.add(&mut port).unwrap();
        (poller, port, post, inbox)
    }

    /// Receives what there is, so that the next wait waits.
    fn quieten(poller: &mut Poller, port: &mut UdpPort, inbox: &Inbox<u32>) {
        poller.wait(port, inbox, Some(Time::ZERO)).unwrap();
        while port.recv(&mut Batch::new()).unwrap() {}
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (mut poller, mut port, _post, inbox) = poller(1);
        quieten(&mut poller, &mut port, &inbox);
        let deadline = Clock.now() + millis(15);
        let now = poller.wait(&mut port, &inbox, Some(deadline)).unwrap();
        assert!(now >= deadline && now < deadline + secs(5), "{now:?} {deadline:?}");
        assert!(poller.wait(&mut port, &inbox, Some(Time::ZERO)).unwrap() >= now);
    }

    /// Ten thousand messages come in through a full inbox, leave as datagrams and arrive at the same thread: nothing
    /// is lost, nothing out of order.
    #[test]
    fn messages_become_datagrams() {
        const COUNT: u32 = 10_000;
        let (mut poller, mut port, post, mut inbox) = poller(64);
        let sender = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for number in 0..COUNT {
                    post.send(number).await.unwrap();
                }
            });
        });
        let (mut batch, mut received) = (Batch::new(), Vec::new());
        let destination = port.local_address();
        while received.len() < COUNT as usize {
            let give_up = Clock.now() + secs(10);
            let now = poller.wait(&mut port, &inbox, Some(give_up)).unwrap();
            assert!(now < give_up, "{} datagrams came", received.len());
            for number in inbox.drain(16) {
                let contents = &number.to_be_bytes();
                port.send(&Transmit { destination, contents, segment_size: 0 }).unwrap();
            }
            while port.recv(&mut batch).unwrap() {
                let numbers =
                    batch.datagrams().map(|d| u32::from_be_bytes((&*d.contents).try_into().unwrap()));
                received.extend(numbers);
            }
        }
        assert_eq!(received, (0..COUNT).collect::<Vec<_>>());
        sender.join().unwrap();
        assert!(inbox.is_abandoned() && inbox.is_empty());
    }

    #[test]
    fn many_messages_wake_once() {
        let (mut poller, mut port, post, mut inbox) = poller(100);
        quieten(&mut poller, &mut port, &inbox);
        (0..100).for_each(|number| post.try_send(number).unwrap());
        assert_eq!(post.try_send(100), Err(PostError::Full(100)));
        poller.wait(&mut port, &inbox, None).unwrap();
        assert_eq!(inbox.drain(30).last(), Some(29));
        poller.wait(&mut port, &inbox, None).unwrap(); // some are left
        assert_eq!(inbox.drain(100).count(), 70);
        let deadline = Clock.now() + millis(15);
        assert!(poller.wait(&mut port, &inbox, Some(deadline)).unwrap() >= deadline, "woken in vain");
        drop(inbox);
        assert_eq!(post.try_send(101), Err(PostError::Ended(101)));
    }

    #[test]
    fn the_last_sender_to_go_wakes_the_thread() {
        let (mut poller, mut port, post, inbox) = poller(1);
        quieten(&mut poller, &mut port, &inbox);
        let other = post.clone();
        drop(post);
        let goes = thread::spawn(move || drop(other));
        while !inbox.is_abandoned() {
            poller.wait(&mut port, &inbox, None).unwrap();
        }
        goes.join().unwrap();
    }

    #[test]
    fn a_port_can_take_anothers_place() {
        let (mut poller, mut first, _post, inbox) = poller(1);
        let mut second = UdpPort::bind(Bind::LoopbackV4).unwrap();
        poller.remove(&mut first).unwrap();
        poller.add(&mut second).unwrap();
        quieten(&mut poller, &mut second, &inbox);
        let destination = second.local_address();
        first.send(&Transmit { destination, contents: b"x", segment_size: 0 }).unwrap();
        poller.wait(&mut second, &inbox, None).unwrap();
        assert!(second.recv(&mut Batch::new()).unwrap());
    }
}
