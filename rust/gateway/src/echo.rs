use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
use ztna_net::poll::{Poller, Readiness};
use ztna_net::socket::Datagrams;
use ztna_packet::checksum;

/// A socket that asks one host for echoes, and hears that host alone.
#[derive(Debug)]
pub(crate) struct EchoSocket {
    socket: Datagrams,
    is_ipv4: bool,
    kind: Kind,
}

/// What the kernel does for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The kernel chooses an identifier and hands over what answers to it (`net.ipv4.ping_group_range`).
    Ping,
    /// Everything that the host sends comes in (CAP_NET_RAW).
    Raw,
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EchoReply<'a> {
    /// Which question it answers.
    pub(crate) sequence: u16,
    /// What the question held.
    pub(crate) payload: &'a [u8],
}

impl EchoSocket {
    /// For echoes of `address`.
    pub(crate) fn open(address: IpAddr) -> io::Result<Self> {
        Self::open_as(address, SocketType::DGRAM, Kind::Ping).or_else(|cause| {
            match Errno::from_io_error(&cause) {
                Some(Errno::ACCESS | Errno::PERM) => Self::open_as(address, SocketType::RAW, Kind::Raw),
                Some(_) | None => Err(cause),
            }
        })
    }

    fn open_as(address: IpAddr, how: SocketType, kind: Kind) -> io::Result<Self> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, how, flags, Some(protocol))?;
        connect(&socket, &SocketAddr::new(address, 0))?;
        let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(socket))?;
        Ok(Self { socket: Datagrams::take_over(socket)?, is_ipv4: address.is_ipv4(), kind })
    }

    /// Lets `poller` tell under `key` when something has come.
    pub(crate) fn watch(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        self.socket.watch(poller, key)
    }

    /// Notes that something has come.
    pub(crate) const fn is_ready(&mut self, readiness: Readiness) {
        self.socket.is_ready(readiness);
    }

    /// Asks. `identifier` tells this socket's questions from others' where the kernel does not.
    pub(crate) fn ask(&self, identifier: u16, sequence: u16, payload: &[u8]) -> io::Result<bool> {
        let kind = if self.is_ipv4 { ECHO } else { ECHO_V6 };
        let [i0, i1] = identifier.to_be_bytes();
        let [s0, s1] = sequence.to_be_bytes();
        let mut message = [&[kind, 0, 0, 0, i0, i1, s0, s1], payload].concat();
        // For ICMPv6, and for identifiers of its own, the kernel writes it.
        let [c0, c1] = checksum(&message).to_be_bytes();
        if let (true, [_, _, high, low, ..]) = (self.is_ipv4, &mut message[..]) {
            (*high, *low) = (c0, c1);
        }
        self.socket.send(&message)
    }

    /// The next answer that has come, if there is one. What is no answer to this socket's questions is passed over.
    pub(crate) fn hear<'a>(
        &mut self,
        identifier: u16,
        room: &'a mut [u8],
    ) -> io::Result<Option<EchoReply<'a>>> {
        for _ in 0..MOST_PASSED_OVER {
            let Some(length) = self.socket.receive(room)? else { return Ok(None) };
            if read(self.kind, self.is_ipv4, identifier, room.get(..length).unwrap_or_default()).is_some() {
                let heard = room.get(..length).unwrap_or_default();
                return Ok(read(self.kind, self.is_ipv4, identifier, heard));
            }
        }
        Ok(None)
    }
}

fn read(kind: Kind, is_ipv4: bool, identifier: u16, heard: &[u8]) -> Option<EchoReply<'_>> {
    let message = match (kind, is_ipv4) {
        // An IPv4 header stands ahead.
        (Kind::Raw, true) => match heard.first()? {
            first @ 0x45..=0x4f => heard.get(usize::from(first & 0x0f) * 4..)?,
            _ => return None,
        },
        (Kind::Raw, false) | (Kind::Ping, _) => heard,
    };
    let (header, payload) = message.split_first_chunk::<8>()?;
    let [reply, 0, _, _, i0, i1, s0, s1] = *header else { return None };
    let is_reply = reply == if is_ipv4 { ECHO_REPLY } else { ECHO_REPLY_V6 };
    let is_ours = kind == Kind::Ping || u16::from_be_bytes([i0, i1]) == identifier;
    (is_reply && is_ours).then_some(EchoReply { sequence: u16::from_be_bytes([s0, s1]), payload })
}

const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// In a turn: a raw socket hears whatever its host sends.
const MOST_PASSED_OVER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_everything_else() {
        let reply = [0, 0, 9, 9, 0, 7, 1, 2, b'x'];
        let with_header = [&[0x45_u8; 20][..], &reply].concat();
        let rows: [(Kind, bool, &[u8], bool); 9] = [
            (Kind::Ping, true, &reply, true),
            (Kind::Raw, true, &with_header, true),
            (Kind::Raw, true, &reply, false),
            (Kind::Ping, false, &reply, false),
            (Kind::Ping, false, &[129, 0, 0, 0, 0, 1, 1, 2, b'x'], true),
            (Kind::Raw, false, &[129, 0, 0, 0, 0, 1, 1, 2, b'x'], false),
            (Kind::Raw, false, &[129, 0, 0, 0, 0, 7, 1, 2, b'x'], true),
            (Kind::Ping, true, &[8, 0, 0, 0, 0, 7, 1, 2], false),
            (Kind::Ping, true, &[0, 0, 0], false),
        ];
        for (kind, is_ipv4, heard, expected) in rows {
            let found = read(kind, is_ipv4, 7, heard);
            let reply = EchoReply { sequence: 0x0102, payload: b"x" };
            assert_eq!(found, expected.then_some(reply), "{kind:?} {is_ipv4} {heard:?}");
        }
    }
}
