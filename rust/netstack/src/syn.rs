use std::net::IpAddr;
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr};
use ztna_model::{Flow, Time, minutes};
use ztna_packet::Packet;

use crate::answer::{bare, write_segment};

/// The wish for a connection, kept while its answer is found: a few words in place of a socket and its buffers.
#[derive(Clone, Copy)]
pub(crate) struct Syn {
    since: Time,
    sequence: u32,
    window: u16,
    scale: Option<u8>,
    segment: Option<u16>,
    selective: bool,
}

impl Syn {
    /// Reads the SYN in `packet`, the first of which came at `since`. What data it brings is left out: it comes again
    /// (RFC 9293, section 3.10.7.2).
    pub(crate) fn read(packet: &Packet<'_>, since: Time) -> Option<Self> {
        let segment = TcpPacket::new_checked(transport(packet)?).ok()?;
        let (from, to) = (packet.source().into(), packet.destination().into());
        let syn = TcpRepr::parse(&segment, &from, &to, &ChecksumCapabilities::ignored()).ok()?;
        let is_syn = syn.control == TcpControl::Syn && syn.ack_number.is_none();
        is_syn.then(|| Self {
            since,
            sequence: syn.seq_number.0.cast_unsigned(),
            window: syn.window_len,
            scale: syn.window_scale,
            segment: syn.max_seg_size,
            selective: syn.sack_permitted,
        })
    }

    /// When the first of its kind came.
    pub(crate) const fn since(&self) -> Time {
        self.since
    }

    /// Until when it waits.
    pub(crate) fn deadline(&self) -> Time {
        self.since + UNANSWERED
    }

    /// The number of the SYN itself.
    pub(crate) const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Writes it as a packet of `flow` again, without checksums; returns the length.
    pub(crate) fn write(&self, flow: &Flow, buffer: &mut [u8]) -> Option<usize> {
        let syn = TcpRepr {
            control: TcpControl::Syn,
            window_scale: self.scale,
            max_seg_size: self.segment,
            sack_permitted: self.selective,
            ..bare(flow, self.sequence, self.window)
        };
        write_segment(flow, &syn, &ChecksumCapabilities::ignored(), buffer)
    }
}

/// The segment in an IP packet.
fn transport<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    match packet.source() {
        IpAddr::V4(_) => Some(Ipv4Packet::new_checked(packet.bytes()).ok()?.payload()),
        IpAddr::V6(_) => {
            let ip = Ipv6Packet::new_checked(packet.bytes()).ok()?;
            (ip.next_header() == IpProtocol::Tcp).then(|| ip.payload())
        }
    }
}

/// How long a wish waits: longer than any attempt to reach what it is for.
const UNANSWERED: Duration = minutes(1);
