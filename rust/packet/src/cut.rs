use std::num::NonZeroU16;
use std::ops::Range;

use crate::compose::{ComposeError, V4_IDENTIFICATION_AT, set_checksum, set_length, write_at};
use crate::packet::{Content, Layout, Packet};
use crate::tcp::{FLAGS_AT, SEQUENCE_AT, Tcp, TcpFlags};

/// How one long packet becomes many: what all of them share, and in what each differs.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    layout: Layout,
    whole: Whole,
    identification: u16,
    size: usize,
    payload: usize,
    count: usize,
}

/// What the transport header of the long packet says.
#[derive(Clone, Debug)]
enum Whole {
    Tcp { flags: TcpFlags, sequence: u32 },
    Udp,
}

impl Cut {
    /// Cuts `packet` into packets of at most `size` bytes of payload each. There is nothing to cut in an echo or an error,
    /// nor in what begins or aborts a connection or marks data as urgent.
    pub(crate) fn of(packet: &Packet<'_>, size: NonZeroU16) -> Option<Self> {
        let whole = match packet.content() {
            Content::Tcp(tcp) if is_cuttable(&tcp) => Whole::Tcp { flags: tcp.flags, sequence: tcp.sequence },
            Content::Udp(_) => Whole::Udp,
            Content::Tcp(_) | Content::Echo(_) | Content::IcmpError(_) => return None,
        };
        let (payload, size) = (packet.payload().len(), usize::from(size.get()));
        let count = payload.div_ceil(size).max(1);
        let layout = packet.layout();
        Some(Self { layout, whole, identification: identification(packet), size, payload, count })
    }

    /// How many packets there are: one at least.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The length of the headers of each.
    pub(crate) const fn header(&self) -> usize {
        self.layout.header
    }

    /// Which part of the payload the packet numbered `index` carries.
    pub(crate) fn part(&self, index: usize) -> Range<usize> {
        let from = (index * self.size).min(self.payload);
        from..(from + self.size).min(self.payload)
    }

    /// Makes the packet numbered `index` out of the headers of the whole and its own part of the payload.
    pub(crate) fn finish(&self, index: usize, segment: &mut [u8]) -> Result<(), ComposeError> {
        let Layout { is_ipv4, ip_header, transport, addresses, .. } = self.layout;
        if is_ipv4 {
            // Numbered on from the identification of the whole, so that no two share one.
            let identification = self.identification.wrapping_add(index as u16);
            write_at(segment, V4_IDENTIFICATION_AT, &identification.to_be_bytes());
        }
        set_length(segment, is_ipv4, ip_header, segment.len())?;
        let body = segment.get_mut(ip_header..).ok_or(ComposeError::NoRoom)?;
        match self.whole {
            Whole::Tcp { flags, sequence } => {
                let offset = u32::try_from(self.part(index).start).map_err(|_| ComposeError::TooLong)?;
                write_at(body, SEQUENCE_AT, &sequence.wrapping_add(offset).to_be_bytes());
                write_at(body, FLAGS_AT, &[self.flags_of(index, flags).bits()]);
            }
            Whole::Udp => {
                let length = u16::try_from(body.len()).map_err(|_| ComposeError::TooLong)?;
                write_at(body, UDP_LENGTH_AT, &length.to_be_bytes());
            }
        }
        set_checksum(body, transport, transport.pseudo_header(addresses, body.len()));
        Ok(())
    }

    /// What ends something stands on the last segment alone, what reacts to congestion on the first.
    const fn flags_of(&self, index: usize, flags: TcpFlags) -> TcpFlags {
        let is_last = index + 1 == self.count;
        let flags = if is_last { flags } else { flags.without(TcpFlags::FIN.with(TcpFlags::PSH)) };
        if index == 0 { flags } else { flags.without(TcpFlags::CWR) }
    }
}

const fn is_cuttable(tcp: &Tcp) -> bool {
    !tcp.flags.has_any(TcpFlags::SYN.with(TcpFlags::RST).with(TcpFlags::URG))
}

fn identification(packet: &Packet<'_>) -> u16 {
    let bytes = packet.bytes().get(V4_IDENTIFICATION_AT..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

const UDP_LENGTH_AT: usize = 4;
