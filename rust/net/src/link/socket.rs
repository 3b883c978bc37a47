use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::LinkError;

/// A netlink socket for questions. The kernel answers before `send` returns, so nothing here waits for long.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn open() -> Result<Self, LinkError> {
        let descriptor = open(SocketFlags::CLOEXEC, 0).map_err(refused)?;
        set_socket_timeout(&descriptor, Timeout::Recv, Some(PATIENCE)).map_err(refused)?;
        Ok(Self { descriptor, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Everything that the kernel lists in answer to `question`.
    pub(super) fn dump(
        &mut self,
        question: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        // A list that changed while it was read comes anew.
        for _ in 0..ATTEMPTS {
            let sequence = self.send(question.clone(), NLM_F_DUMP)?;
            if let Some(listed) = self.listed(sequence)? {
                return Ok(listed);
            }
        }
        Err(LinkError::NotUnderstood)
    }

    /// Tells the kernel to do something, and waits until it is done.
    pub(super) fn tell(&mut self, order: RouteNetlinkMessage, flags: u16) -> Result<(), LinkError> {
        let sequence = self.send(order, NLM_F_ACK | flags)?;
        loop {
            let length = self.receive()?;
            for (header, payload) in messages(self.buffer.get(..length).unwrap_or_default()) {
                if header.sequence_number != sequence {
                    continue;
                }
                if let Some(NetlinkPayload::Error(answer)) = payload {
                    return answer
                        .code
                        .map_or(Ok(()), |code| Err(error(Errno::from_raw_os_error(-code.get()))));
                }
            }
        }
    }

    fn send(&mut self, question: RouteNetlinkMessage, flags: u16) -> Result<u32, LinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        rustix::net::send(&self.descriptor, &bytes, SendFlags::empty()).map_err(refused)?;
        Ok(self.sequence)
    }

    /// A whole list, or nothing if it changed meanwhile.
    fn listed(&mut self, sequence: u32) -> Result<Option<Vec<RouteNetlinkMessage>>, LinkError> {
        let (mut found, mut is_whole) = (Vec::new(), true);
        loop {
            let length = self.receive()?;
            for (header, payload) in messages(self.buffer.get(..length).unwrap_or_default()) {
                if header.sequence_number != sequence {
                    continue;
                }
                is_whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match payload {
                    Some(NetlinkPayload::Done(_)) => return Ok(is_whole.then_some(found)),
                    Some(NetlinkPayload::InnerMessage(message)) => found.push(message),
                    Some(NetlinkPayload::Error(answer)) => {
                        let code = answer.code.map_or(0, |code| -code.get());
                        return Err(error(Errno::from_raw_os_error(code)));
                    }
                    // Words that were added to the protocol since are not about what was asked.
                    Some(_) | None => {}
                }
            }
        }
    }

    fn receive(&mut self) -> Result<usize, LinkError> {
        let (_, length) = rustix::net::recv(&self.descriptor, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
            .map_err(refused)?;
        if length > self.buffer.len() { Err(LinkError::NotUnderstood) } else { Ok(length) }
    }
}

/// A socket that hears of `groups` (as bits).
pub(super) fn open(flags: SocketFlags, groups: u32) -> rustix::io::Result<OwnedFd> {
    // Without a protocol it is rtnetlink: NETLINK_ROUTE is 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

type Parsed = (NetlinkHeader, Option<NetlinkPayload<RouteNetlinkMessage>>);

/// The messages of a datagram; without their meaning where it is not known.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Parsed> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let (message, _) = bytes.split_at_checked(length)?;
        let header = header(message)?;
        let payload = NetlinkMessage::deserialize(message).ok().map(|message| message.payload);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// `struct nlmsghdr`, linux/netlink.h.
fn header(message: &[u8]) -> Option<NetlinkHeader> {
    let (fields, _) = message.split_first_chunk::<16>()?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *fields;
    let mut header = NetlinkHeader::default();
    header.length = u32::from_ne_bytes([a, b, c, d]);
    header.message_type = u16::from_ne_bytes([e, f]);
    header.flags = u16::from_ne_bytes([g, h]);
    header.sequence_number = u32::from_ne_bytes([i, j, k, l]);
    header.port_number = u32::from_ne_bytes([m, n, o, p]);
    Some(header)
}

fn error(errno: Errno) -> LinkError {
    match errno {
        Errno::PERM => LinkError::NotAllowed,
        Errno::NODEV | Errno::NXIO | Errno::SRCH | Errno::NOENT | Errno::ADDRNOTAVAIL => LinkError::Missing,
        Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::ACCESS => LinkError::FamilyOff,
        other => LinkError::Refused(other.into()),
    }
}

fn refused(errno: Errno) -> LinkError {
    LinkError::Refused(io::Error::from(errno))
}

const PATIENCE: Duration = Duration::from_secs(2);
/// A dump's datagrams are 32 KiB at most (netlink_dump in the kernel).
const BUFFER: usize = 1 << 16;
const ATTEMPTS: usize = 5;
/// The list changed while it was read (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;
