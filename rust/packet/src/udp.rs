use crate::error::PacketError;
use crate::packet::{Body, Kind};

/// The ports of a UDP datagram (RFC 768).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Udp {
    /// The sender's port; 0 if no answer is wanted.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
}

impl Udp {
    /// The length of the header.
    pub(crate) const HEADER: usize = 8;

    /// Reads the datagram's length; its ports are read when they are asked for.
    #[inline]
    pub(crate) fn find(body: &[u8]) -> Result<Body<'_>, PacketError> {
        let header = body.first_chunk::<{ Self::HEADER }>().ok_or(PacketError::Truncated)?;
        // The IP packet may be longer than the datagram (RFC 9868); what is left over is nobody's data.
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if !(Self::HEADER..=body.len()).contains(&length) {
            return Err(PacketError::LengthMismatch);
        }
        Ok(Body { kind: Kind::Udp(header), header: Self::HEADER, length })
    }

    #[inline]
    pub(crate) const fn read(header: &[u8; Self::HEADER]) -> Self {
        Self {
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
        }
    }

    /// The header of a datagram of `length` bytes, header included, its checksum left open.
    pub(crate) const fn write(&self, length: u16) -> [u8; Self::HEADER] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [l0, l1] = length.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, 0, 0]
    }
}
