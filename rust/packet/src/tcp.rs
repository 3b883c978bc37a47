use std::fmt;

use crate::error::PacketError;
use crate::packet::{Body, Kind};

/// What the header of a TCP segment says (RFC 9293, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The number of the first byte of data, or of the SYN.
    pub sequence: u32,
    /// The number that the sender expects next, if [`TcpFlags::ACK`] is set.
    pub acknowledgement: u32,
    /// What it asks for.
    pub flags: TcpFlags,
    /// How much the sender takes, unscaled.
    pub window: u16,
}

/// The control bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(1);
    /// The beginning of a connection.
    pub const SYN: Self = Self(1 << 1);
    /// The end of a connection, at once.
    pub const RST: Self = Self(1 << 2);
    /// To be handed on without waiting for more.
    pub const PSH: Self = Self(1 << 3);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(1 << 4);
    /// The urgent pointer counts.
    pub const URG: Self = Self(1 << 5);
    /// Congestion was seen (RFC 3168).
    pub const ECE: Self = Self(1 << 6);
    /// Congestion was reacted to (RFC 3168).
    pub const CWR: Self = Self(1 << 7);

    /// The flags whose bits are set in `bits`, as the header writes them.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The flags as the header writes them.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name);
        for (i, name) in names.enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl Tcp {
    /// Reads the header's length; its fields are read when they are asked for.
    #[inline]
    pub(crate) fn find(body: &[u8]) -> Result<Body<'_>, PacketError> {
        let fixed = body.first_chunk::<20>().ok_or(PacketError::Truncated)?;
        let header = usize::from(fixed[12] >> 4) * 4;
        if !(fixed.len()..=body.len()).contains(&header) {
            return Err(PacketError::BadHeaderLength);
        }
        Ok(Body { kind: Kind::Tcp(fixed), header, length: body.len() })
    }

    #[inline]
    pub(crate) const fn read(fixed: &[u8; 20]) -> Self {
        Self {
            source_port: u16::from_be_bytes([fixed[0], fixed[1]]),
            destination_port: u16::from_be_bytes([fixed[2], fixed[3]]),
            sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            acknowledgement: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            flags: TcpFlags::from_bits(fixed[FLAGS_AT]),
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
        }
    }

    /// The header without options, its checksum left open.
    pub(crate) fn write(&self) -> [u8; 20] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [q0, q1, q2, q3] = self.sequence.to_be_bytes();
        let [a0, a1, a2, a3] = self.acknowledgement.to_be_bytes();
        let [w0, w1] = self.window.to_be_bytes();
        let flags = self.flags.bits();
        [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, 5 << 4, flags, w0, w1, 0, 0, 0, 0]
    }
}

/// Where the sequence number lies in the header.
pub(crate) const SEQUENCE_AT: usize = 4;
/// Where the flags lie in the header.
pub(crate) const FLAGS_AT: usize = 13;

const NAMES: [(TcpFlags, &str); 8] = [
    (TcpFlags::FIN, "FIN"),
    (TcpFlags::SYN, "SYN"),
    (TcpFlags::RST, "RST"),
    (TcpFlags::PSH, "PSH"),
    (TcpFlags::ACK, "ACK"),
    (TcpFlags::URG, "URG"),
    (TcpFlags::ECE, "ECE"),
    (TcpFlags::CWR, "CWR"),
];
