use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use ztna_model::Flow;

use crate::told::Told;

/// Writes a segment of `flow` that repeats what its peer was told last, and says nothing else; returns the length.
pub(crate) fn write_ack(flow: Flow, told: Told, buffer: &mut [u8]) -> Option<usize> {
    write_segment(&flow, &ack(&flow, told), &ChecksumCapabilities::default(), buffer)
}

/// The same for a segment that never leaves: without checksums.
pub(crate) fn write_inner_ack(flow: Flow, told: Told, buffer: &mut [u8]) -> Option<usize> {
    write_segment(&flow, &ack(&flow, told), &ChecksumCapabilities::ignored(), buffer)
}

const fn ack(flow: &Flow, told: Told) -> TcpRepr<'static> {
    TcpRepr { ack_number: Some(number(told.expects)), ..bare(flow, told.next, told.window) }
}

/// Writes the refusal of a datagram of the peer's, whose flow is `leaving` reversed; returns the length.
pub(crate) fn write_prohibited(leaving: Flow, buffer: &mut [u8]) -> Option<usize> {
    let mut datagram = [0; 40 + 8];
    let length = ztna_packet::datagram(leaving.reversed(), &[], &mut datagram).ok()?;
    let datagram = ztna_packet::parse(datagram.get(..length)?).ok()?;
    ztna_packet::prohibit(&datagram, buffer).ok()
}

/// A segment of `flow` without flags, options or data.
pub(crate) const fn bare(flow: &Flow, sequence: u32, window: u16) -> TcpRepr<'static> {
    TcpRepr {
        src_port: flow.source.port,
        dst_port: flow.destination.port,
        control: TcpControl::None,
        seq_number: number(sequence),
        ack_number: None,
        window_len: window,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// Writes a segment of `flow`; returns the length.
pub(crate) fn write_segment(
    flow: &Flow,
    segment: &TcpRepr<'_>,
    checksums: &ChecksumCapabilities,
    buffer: &mut [u8],
) -> Option<usize> {
    let (from, to) = (flow.source.address.into(), flow.destination.address.into());
    let ip = IpRepr::new(from, to, IpProtocol::Tcp, segment.buffer_len(), HOPS);
    let packet = buffer.get_mut(..ip.buffer_len())?;
    packet.fill(0);
    ip.emit(&mut *packet, checksums);
    let mut body = TcpPacket::new_unchecked(packet.get_mut(ip.header_len()..)?);
    segment.emit(&mut body, &from, &to, checksums);
    Some(ip.buffer_len())
}

const fn number(sequence: u32) -> TcpSeqNumber {
    TcpSeqNumber(sequence.cast_signed())
}

const HOPS: u8 = 64;
