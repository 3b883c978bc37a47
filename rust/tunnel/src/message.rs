/// What a datagram claims to be, read from its first bytes alone (WireGuard, section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// Wants a session. `sender` is the index the other end will be known by.
    Initiation { sender: u32 },
    /// Agrees to a session.
    Response { sender: u32, receiver: u32 },
    /// Asks for proof of address before any work is done.
    CookieReply { receiver: u32 },
    /// Carries a packet, or nothing: a keepalive.
    Data { receiver: u32, counter: u64 },
}

impl Message {
    /// Reads the header. Wrong lengths, other types and spent counters are nothing.
    pub(crate) fn read(datagram: &[u8]) -> Option<Self> {
        let (kind, rest) = datagram.split_first_chunk()?;
        match (u32::from_le_bytes(*kind), datagram.len()) {
            (1, INITIATION) => Some(Self::Initiation { sender: number(rest)? }),
            (2, RESPONSE) => {
                Some(Self::Response { sender: number(rest)?, receiver: number(rest.get(4..)?)? })
            }
            (3, COOKIE_REPLY) => Some(Self::CookieReply { receiver: number(rest)? }),
            (4, EMPTY_DATA..) => Self::data(rest),
            _ => None,
        }
    }

    fn data(rest: &[u8]) -> Option<Self> {
        let (receiver, rest) = rest.split_first_chunk()?;
        let counter = u64::from_le_bytes(*rest.first_chunk()?);
        // Also keeps the engine's window arithmetic from overflowing.
        (counter < REJECT_AFTER_MESSAGES)
            .then_some(Self::Data { receiver: u32::from_le_bytes(*receiver), counter })
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Bytes of an initiation.
pub(crate) const INITIATION: usize = 148;
/// Bytes of a response.
pub(crate) const RESPONSE: usize = 92;
/// Bytes of a cookie reply.
pub(crate) const COOKIE_REPLY: usize = 64;
/// Bytes that data has beyond the packet inside; a keepalive has nothing else.
pub(crate) const OVERHEAD: usize = 32;
/// Bytes of the tag behind the data, which must find room while a datagram is opened.
pub(crate) const TAG: usize = 16;

const EMPTY_DATA: usize = OVERHEAD;
/// No counter from here on is used or accepted (WireGuard, section 6.1).
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: u32, length: usize, expected: Option<Message>) {
        let mut datagram: Vec<u8> = (0..length).map(|n| n as u8).collect();
        for (to, from) in datagram.iter_mut().zip(kind.to_le_bytes()) {
            *to = from;
        }
        assert_eq!(Message::read(&datagram), expected, "type {kind:#x}, {length} bytes");
    }

    #[test]
    fn headers() {
        let first = 0x0706_0504;
        let second = 0x0b0a_0908;
        check(1, 148, Some(Message::Initiation { sender: first }));
        check(2, 92, Some(Message::Response { sender: first, receiver: second }));
        check(3, 64, Some(Message::CookieReply { receiver: first }));
        check(4, 32, Some(Message::Data { receiver: first, counter: 0x0f0e_0d0c_0b0a_0908 }));
        check(4, 65_507, Some(Message::Data { receiver: first, counter: 0x0f0e_0d0c_0b0a_0908 }));
        for (kind, length) in [(1, 147), (1, 149), (2, 91), (3, 65), (4, 31), (4, 0), (4, 3), (0, 148)] {
            check(kind, length, None);
        }
        check(0x0100_0004, 64, None); // the three bytes behind the type are zero
    }

    #[test]
    fn e10_a_counter_that_must_not_be_used_is_refused() {
        let mut datagram = [4_u64.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat();
        for (counter, accepted) in
            [(0, true), (u64::MAX - (1 << 13) - 1, true), (u64::MAX - (1 << 13), false), (u64::MAX, false)]
        {
            datagram[8..16].copy_from_slice(&u64::to_le_bytes(counter));
            assert_eq!(Message::read(&datagram).is_some(), accepted, "{counter:#x}");
        }
    }
}
