//! Sockets of single flows, on a data thread: where a tunnel's flow goes on to an application.
//!
//! Tasks connect them, since that may take long and needs names; then a data thread takes them over. It reads and
//! writes straight between them and a flow's buffers, so nothing waits in between, and what is cut is cut at once.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::{TcpStream, UdpSocket};
use rustix::net::sockopt::set_socket_linger;

use crate::poll::{Poller, Readiness};

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    readiness: Readiness,
}

/// One UDP flow: a socket that sends to one address and hears that address alone.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    readable: bool,
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing at present.
    Nothing,
    /// Nothing any more: the other end has finished.
    End,
}

impl Connection {
    /// Takes a connection over from the task that made it.
    pub fn take_over(stream: tokio::net::TcpStream) -> io::Result<Self> {
        let socket = TcpStream::from_std(stream.into_std()?);
        // What waits already is found by reading: a poller only tells what is new.
        Ok(Self { socket, readiness: Readiness::ALL })
    }

    /// Lets `poller` tell under `key` when there is more to do.
    pub fn watch(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        poller.watch(&mut self.socket, key)
    }

    /// Notes what a poller told.
    pub const fn is_ready(&mut self, readiness: Readiness) {
        self.readiness = self.readiness.or(readiness);
    }

    /// Whether a read may bring something.
    pub const fn is_readable(&self) -> bool {
        self.readiness.readable
    }

    /// Whether a write may take something.
    pub const fn is_writable(&self) -> bool {
        self.readiness.writable
    }

    /// Reads what there is into `room`, which is not empty.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<Read> {
        match retried(|| self.socket.read(room)) {
            Ok(0) => Ok(Read::End),
            Ok(length) => {
                // A short read has found the end of what was there, but for an end of file behind it.
                self.readiness.readable = length == room.len() || self.readiness.ended;
                Ok(Read::Bytes(length))
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                // There is no end behind what was read: when it comes, the poller tells.
                (self.readiness.readable, self.readiness.ended) = (false, false);
                Ok(Read::Nothing)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Writes as much of `bytes` as there is room for, and tells how much that was.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match retried(|| self.socket.write(bytes)) {
            Ok(length) => {
                self.readiness.writable = length == bytes.len();
                Ok(length)
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.writable = false;
                Ok(0)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Writes no more after what was written so far; the other direction goes on.
    pub fn finish(&self) {
        // One that is broken says so when it is next read.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it at once both ways: what the kernel has not sent is thrown away, and the other end gets a reset.
    pub fn reset(self) {
        // Without this a close is in good order, which is the next best.
        let _ = set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl Datagrams {
    /// Takes a connected socket over from the task that made it.
    pub fn take_over(socket: tokio::net::UdpSocket) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(socket.into_std()?), readable: true })
    }

    /// Lets `poller` tell under `key` when something has come.
    pub fn watch(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        // Room to send is never waited for: a datagram that finds none is lost.
        poller.watch_reading(&mut self.socket, key)
    }

    /// Notes what a poller told.
    pub const fn is_ready(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
    }

    /// Whether a receive may bring something.
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// The next datagram, if there is one: its length. What does not fit in `room` is cut off.
    pub fn receive(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match retried(|| self.socket.recv(room)) {
            Ok(length) => Ok(Some(length)),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Sends a datagram, or loses it where there is no room. Whether it was sent.
    pub fn send(&self, datagram: &[u8]) -> io::Result<bool> {
        match retried(|| self.socket.send(datagram)) {
            Ok(_) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use ztna_model::secs;

    use super::*;
    use crate::clock::Clock;
    use crate::inbox::{Inbox, Post};
    use crate::udp::{Bind, UdpPort};

    const KEY: usize = 7;

    /// What a data thread has, but for the thread.
    struct Desk {
        poller: Poller,
        port: UdpPort,
        inbox: Inbox<()>,
        _post: Post<()>,
    }

    impl Desk {
        fn new() -> Self {
            let (mut poller, _post, inbox) = Poller::new(Clock, 1).unwrap();
            let mut port = UdpPort::bind(Bind::LoopbackV4).unwrap();
            poller.add(&mut port).unwrap();
            port.recv(&mut crate::udp::Batch::new()).unwrap();
            Self { poller, port, inbox, _post }
        }

        /// Waits until something is told of the one flow there is.
        fn news(&mut self) -> Readiness {
            let give_up = Clock.now() + secs(10);
            loop {
                let now = self.poller.wait(&mut self.port, &self.inbox, Some(give_up)).unwrap();
                assert!(now < give_up, "nothing was told");
                let told = self.poller.ready().map(|(key, readiness)| {
                    assert_eq!(key, KEY);
                    readiness
                });
                if let Some(told) = told.last() {
                    return told;
                }
            }
        }

        /// Reads until there is nothing at present.
        fn read_all(&mut self, connection: &mut Connection) -> (Vec<u8>, Read) {
            let (mut all, mut room) = (Vec::new(), [0; 1000]);
            loop {
                if !connection.is_readable() {
                    return (all, Read::Nothing);
                }
                match connection.read(&mut room).unwrap() {
                    Read::Bytes(length) => all.extend_from_slice(&room[..length]),
                    other @ (Read::Nothing | Read::End) => return (all, other),
                }
            }
        }
    }

    async fn pair(desk: &Desk) -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connection = Connection::take_over(stream).unwrap();
        connection.watch(&desk.poller, KEY).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_way_ends_by_itself() {
        let mut desk = Desk::new();
        let (mut connection, mut peer) = pair(&desk).await;
        assert_eq!(connection.write(b"hello").unwrap(), 5);
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).unwrap();
        peer.write_all(&[7; 2500]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        loop {
            let (more, last) = desk.read_all(&mut connection);
            got.extend(more);
            if last == Read::End {
                break;
            }
            connection.is_ready(desk.news());
        }
        assert_eq!(got, [7; 2500]);
        assert_eq!(connection.write(b"still").unwrap(), 5);
        connection.finish();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"still");
    }

    #[tokio::test]
    async fn a_writer_waits_for_room() {
        let mut desk = Desk::new();
        let (mut connection, mut peer) = pair(&desk).await;
        let chunk = [1; 1 << 16];
        let mut written = 0;
        while connection.is_writable() {
            written += connection.write(&chunk).unwrap();
        }
        while desk.poller.ready().next().is_some() {
            desk.poller.wait(&mut desk.port, &desk.inbox, Some(ztna_model::Time::ZERO)).unwrap();
        }
        let mut taken = vec![0; written];
        peer.read_exact(&mut taken).unwrap();
        assert!(desk.news().writable);
    }

    #[tokio::test]
    async fn a_reset_reaches_the_other_end() {
        let desk = Desk::new();
        let (mut connection, mut peer) = pair(&desk).await;
        connection.write(b"unread").unwrap();
        connection.reset();
        let mut rest = Vec::new();
        let cause = peer.read_to_end(&mut rest).unwrap_err();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn e07_a_reset_is_noticed() {
        let mut desk = Desk::new();
        let (mut connection, peer) = pair(&desk).await;
        set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert!(desk.news().ended);
        assert!(connection.read(&mut [0; 1]).is_err());
    }

    #[tokio::test]
    async fn datagrams_keep_their_bounds() {
        let mut desk = Desk::new();
        let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(peer.local_addr().unwrap()).await.unwrap();
        let mut flow = Datagrams::take_over(socket).unwrap();
        flow.watch(&desk.poller, KEY).unwrap();
        assert_eq!(flow.receive(&mut [0; 9]).unwrap(), None);
        assert!(!flow.is_readable() && flow.send(b"one").unwrap());
        let (length, from) = peer.recv_from(&mut [0; 9]).unwrap();
        assert_eq!(length, 3);
        peer.send_to(b"two", from).unwrap();
        peer.send_to(b"", from).unwrap();
        flow.is_ready(desk.news());
        assert_eq!(flow.receive(&mut [0; 9]).unwrap(), Some(3));
        assert_eq!(flow.receive(&mut [0; 9]).unwrap(), Some(0));
        // Nobody is left to hear it: the kernel says so.
        drop(peer);
        assert!(flow.send(b"three").unwrap());
        assert!(desk.news().ended);
        assert!(flow.receive(&mut [0; 9]).is_err());
    }
}
