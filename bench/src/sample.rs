//! Packets to work on.

use std::net::IpAddr;

use ztna_model::{Flow, Protocol};
use ztna_packet::{Sum, checksum};

use crate::measure::Outcome;

/// A TCP segment over IPv4 without options, of `length` bytes in all and with right checksums.
pub(crate) fn segment(flow: &Flow, length: u16) -> Outcome<Vec<u8>> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (flow.source.address, flow.destination.address)
    else {
        return Err("samples are of IPv4".into());
    };
    if flow.protocol != Protocol::Tcp {
        return Err("samples are of TCP".into());
    }
    let ends = [source.octets(), destination.octets()].concat();
    let ip = |sum: u16| {
        let (length, sum) = (length.to_be_bytes(), sum.to_be_bytes());
        [&[0x45, 0], &length[..], &[0, 0, 0x40, 0, 64, TCP], &sum, &ends].concat()
    };
    let tcp = |sum: u16| {
        let (from, to) = (flow.source.port.to_be_bytes(), flow.destination.port.to_be_bytes());
        let numbers = [0, 0, 0, 1, 0, 0, 0, 1];
        [&from, &to, &numbers[..], &[5 << 4, ACK, 0xff, 0xff], &sum.to_be_bytes(), &[0, 0]].concat()
    };
    let payload: Vec<u8> = (0..length.saturating_sub(HEADERS)).map(|at| at as u8).collect();
    let body = [tcp(0), payload.clone()].concat();
    let pseudo_header = Sum::of(&ends).plus(Sum::of_word(TCP.into())).plus(Sum::of_word(length - 20));
    let sum = Sum::of(&body).plus(pseudo_header).checksum();
    Ok([ip(checksum(&ip(0))), tcp(sum), payload].concat())
}

const TCP: u8 = 6;
const ACK: u8 = 1 << 4;
/// Of IPv4 and TCP.
pub(crate) const HEADERS: u16 = 20 + 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_sound_packet_of_its_flow() {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap().into();
        let (source, destination) = (end("198.19.0.1:50000"), end("198.18.0.7:443"));
        let flow = Flow { protocol: Protocol::Tcp, source, destination };
        for length in [HEADERS, 64, 1_279, 1_280, 60_000] {
            let bytes = segment(&flow, length).unwrap();
            let packet = ztna_packet::parse(&bytes).unwrap();
            assert_eq!((packet.bytes().len(), packet.flow()), (length.into(), Some(flow)));
            assert!(packet.checksums_hold(), "{length}");
        }
    }
}
