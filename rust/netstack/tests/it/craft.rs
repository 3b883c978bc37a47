use std::net::IpAddr;

use ztna_model::Flow;
use ztna_packet::{Sum, TcpFlags};

/// A TCP segment made by hand.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// One with these numbers and flags, and nothing else.
    pub(crate) fn new(sequence: u32, acknowledgement: u32, flags: TcpFlags) -> Self {
        Self { sequence, acknowledgement, flags, window: 65_535, options: Vec::new(), payload: Vec::new() }
    }

    /// The packet of `flow` that carries it, with checksums that hold.
    pub(crate) fn packet(&self, flow: Flow) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let header = 20 + options.len();
        let mut body = Vec::new();
        body.extend(flow.source.port.to_be_bytes());
        body.extend(flow.destination.port.to_be_bytes());
        body.extend(self.sequence.to_be_bytes());
        body.extend(self.acknowledgement.to_be_bytes());
        body.extend([(header as u8 / 4) << 4, self.flags.bits()]);
        body.extend(self.window.to_be_bytes());
        body.extend([0; 4]);
        body.extend(options);
        body.extend(&self.payload);
        let (mut packet, addresses) = ip(flow, body.len());
        let pseudo = Sum::of(&addresses).plus(Sum::of_word(6)).plus(Sum::of_word(body.len() as u16));
        let checksum = Sum::of(&body).plus(pseudo).checksum();
        body[16..18].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(body);
        packet
    }
}

/// An IP header for a TCP segment of `length` bytes, and the addresses in it.
fn ip(flow: Flow, length: usize) -> (Vec<u8>, Vec<u8>) {
    match (flow.source.address, flow.destination.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let [high, low] = (20 + length as u16).to_be_bytes();
            let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
            header.extend(&addresses);
            let checksum = ztna_packet::checksum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            (header, addresses)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let [high, low] = (length as u16).to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, high, low, 6, 64];
            header.extend(&addresses);
            (header, addresses)
        }
        families => panic!("{families:?}"),
    }
}
