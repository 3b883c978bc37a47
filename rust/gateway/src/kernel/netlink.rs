use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use ztna_model::secs;

/// One netlink message in the making: a header, and attributes behind a family's own header (RFC 3549).
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of this kind; the kernel says what came of it if `flags` hold [`ACK`].
    pub(super) fn new(kind: u16, flags: u16, sequence: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        Self(bytes)
    }

    /// Adds what the family expects ahead of attributes.
    pub(super) fn head(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.pad()
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + ATTRIBUTE_HEADER).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.pad()
    }

    /// Adds a text, which ends in a zero byte.
    pub(super) fn text(self, kind: u16, text: &str) -> Self {
        self.attribute(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// Adds a number in network order, as netfilter wants them.
    pub(super) fn number(self, kind: u16, number: u32) -> Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(super) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let begins = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.0.len() - begins).unwrap_or(u16::MAX);
        filled.write_at(begins, &length.to_ne_bytes());
        filled
    }

    /// The message with its length.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.write_at(0, &length.to_ne_bytes());
        self.0
    }

    fn pad(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(ALIGNED), 0);
        self
    }

    fn write_at<const N: usize>(&mut self, at: usize, new: &[u8; N]) {
        if let Some(old) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            *old = *new;
        }
    }
}

/// A talk with the kernel.
#[derive(Debug)]
pub(super) struct Talk(OwnedFd);

impl Talk {
    /// With this part of the kernel; `None` is routes, links and addresses.
    pub(super) fn open(family: Option<Protocol>) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, family)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(fd))
    }

    /// Sends what is in `bytes`, and waits until the kernel has acknowledged `expected` messages of it. The first that
    /// it refused is the outcome.
    pub(super) fn carry_out(&self, bytes: &[u8], expected: usize) -> io::Result<()> {
        send(&self.0, bytes, SendFlags::empty())?;
        let (mut acknowledged, mut outcome) = (0, Ok(()));
        while acknowledged < expected {
            let heard = self.hear()?;
            for (kind, body) in messages(&heard).filter(|(kind, _)| *kind == ERROR) {
                debug_assert_eq!(kind, ERROR);
                acknowledged += 1;
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                if code != 0 {
                    // What follows a refusal in a batch is not always acknowledged.
                    outcome = outcome.and(Err(Errno::from_raw_os_error(-code).into()));
                    return outcome;
                }
            }
        }
        outcome
    }

    /// Asks for a list, and gives back the bodies of all messages of this kind.
    #[cfg(test)]
    pub(super) fn list(&self, question: Message, kind: u16) -> io::Result<Vec<Vec<u8>>> {
        send(&self.0, &question.finish(), SendFlags::empty())?;
        let mut found = Vec::new();
        loop {
            let heard = self.hear()?;
            for (heard, body) in messages(&heard) {
                if heard == DONE || heard == ERROR {
                    return Ok(found);
                }
                if heard == kind {
                    found.push(body.to_vec());
                }
            }
        }
    }

    fn hear(&self) -> io::Result<Vec<u8>> {
        let mut room = vec![0; LONGEST];
        let (length, _) = recv(&self.0, &mut room[..], RecvFlags::empty())?;
        room.truncate(length);
        Ok(room)
    }
}

/// The messages in what the kernel said: kind and body of each.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, l2, l3, k0, k1, ..] = *bytes.first_chunk::<HEADER>()?;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNED)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]), body))
    })
}

/// The kernel is to say what came of a message.
pub(super) const ACK: u16 = 4;
/// What is named is made if it is not there.
pub(super) const CREATE: u16 = 0x400;
/// What is named goes behind what is there.
pub(super) const APPEND: u16 = 0x800;
/// All there are.
#[cfg(test)]
pub(super) const DUMP: u16 = 0x300;

const REQUEST: u16 = 1;
const ERROR: u16 = 2;
#[cfg(test)]
const DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGNED: usize = 4;
const LONGEST: usize = 1 << 16;
/// The kernel answers at once, or not at all.
const PATIENCE: Duration = secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aligned_and_know_their_lengths() {
        let message = Message::new(16, ACK, 7)
            .head(&[1, 2, 3, 4])
            .text(1, "ab")
            .nested(2, |inner| inner.attribute(3, &[9]).number(4, 0x0102_0304));
        let expected: Vec<u8> = [
            &44_u32.to_ne_bytes()[..],
            &16_u16.to_ne_bytes(),
            &5_u16.to_ne_bytes(),
            &7_u32.to_ne_bytes(),
            &[0; 4],
            &[1, 2, 3, 4],
            &[&7_u16.to_ne_bytes()[..], &1_u16.to_ne_bytes(), b"ab\0\0"].concat(),
            &[&20_u16.to_ne_bytes()[..], &0x8002_u16.to_ne_bytes()].concat(),
            &[&5_u16.to_ne_bytes()[..], &3_u16.to_ne_bytes(), &[9, 0, 0, 0]].concat(),
            &[&8_u16.to_ne_bytes()[..], &4_u16.to_ne_bytes(), &[1, 2, 3, 4]].concat(),
        ]
        .concat();
        let mut written = message.finish();
        assert_eq!(u32::from_ne_bytes(*written.first_chunk().unwrap()) as usize, written.len());
        written[..4].copy_from_slice(&44_u32.to_ne_bytes());
        let mut expected = expected;
        let length = expected.len();
        expected[..4].copy_from_slice(&44_u32.to_ne_bytes());
        assert_eq!((written.len(), &written), (length, &expected));
    }

    #[test]
    fn what_the_kernel_says_is_read_to_its_end_and_not_beyond() {
        let mut heard = Message::new(3, 0, 0).head(b"abc").finish();
        heard.extend(Message::new(5, 0, 0).finish());
        heard.extend([0xff; 7]);
        let read: Vec<(u16, &[u8])> = messages(&heard).collect();
        assert_eq!(read, [(3, &b"abc\0"[..]), (5, &b""[..])]);
    }
}
