//! Packets for tests, built by an independent library, and what the same library says of ours.

use std::net::IpAddr;

use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use proptest::prelude::*;
use ztna_model::{Endpoint, Flow, Protocol};

use crate::tcp::{Tcp, TcpFlags};

pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::IcmpEcho];

/// The flow from `source` to `destination`, written as socket addresses.
pub(crate) fn flow(protocol: Protocol, source: &str, destination: &str) -> Flow {
    let end = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
    Flow { protocol, source: end(source), destination: end(destination) }
}

/// A device's flow to an application, in IPv4.
pub(crate) fn flow_v4(protocol: Protocol) -> Flow {
    let port = if protocol == Protocol::IcmpEcho { 0 } else { 443 };
    flow(protocol, "198.19.0.1:50000", &format!("198.18.0.7:{port}"))
}

/// A device's flow to an application, in IPv6.
pub(crate) fn flow_v6(protocol: Protocol) -> Flow {
    let port = if protocol == Protocol::IcmpEcho { 0 } else { 443 };
    flow(protocol, "[2001:2::1]:50000", &format!("[2001:2:0:1::7]:{port}"))
}

/// A segment of a flow: what varies in tests.
pub(crate) fn segment(sequence: u32, acknowledgement: u32, flags: TcpFlags) -> Tcp {
    Tcp { source_port: 0, destination_port: 0, sequence, acknowledgement, flags, window: 1_000 }
}

/// A TCP packet of `flow`.
pub(crate) fn tcp(flow: Flow, tcp: Tcp, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(flow.source.port, flow.destination.port, tcp.sequence, tcp.window);
    let has = |flag| tcp.flags.has(flag);
    header.acknowledgment_number = tcp.acknowledgement;
    (header.fin, header.syn, header.rst) = (has(TcpFlags::FIN), has(TcpFlags::SYN), has(TcpFlags::RST));
    (header.psh, header.ack, header.urg) = (has(TcpFlags::PSH), has(TcpFlags::ACK), has(TcpFlags::URG));
    (header.ece, header.cwr) = (has(TcpFlags::ECE), has(TcpFlags::CWR));
    header.set_options_raw(options).unwrap();
    let mut bytes = Vec::new();
    PacketBuilder::ip(ip(flow)).tcp_header(header).write(&mut bytes, payload).unwrap();
    bytes
}

/// A packet of `flow` that carries `payload`; for TCP an acknowledging segment, for an echo the request.
pub(crate) fn packet(flow: Flow, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ip(ip(flow));
    match (flow.protocol, flow.source.address) {
        (Protocol::Tcp, _) => return tcp(flow, segment(100, 200, TcpFlags::ACK), &[], payload),
        (Protocol::Udp, _) => {
            builder.udp(flow.source.port, flow.destination.port).write(&mut bytes, payload).unwrap();
        }
        (Protocol::IcmpEcho, IpAddr::V4(_)) if flow.destination.port == 0 => {
            builder.icmpv4_echo_request(flow.source.port, 1).write(&mut bytes, payload).unwrap();
        }
        (Protocol::IcmpEcho, IpAddr::V4(_)) => {
            builder.icmpv4_echo_reply(flow.destination.port, 1).write(&mut bytes, payload).unwrap();
        }
        (Protocol::IcmpEcho, IpAddr::V6(_)) if flow.destination.port == 0 => {
            builder.icmpv6_echo_request(flow.source.port, 1).write(&mut bytes, payload).unwrap();
        }
        (Protocol::IcmpEcho, IpAddr::V6(_)) => {
            builder.icmpv6_echo_reply(flow.destination.port, 1).write(&mut bytes, payload).unwrap();
        }
    }
    bytes
}

/// An ICMP or ICMPv6 error that quotes `quote` and comes from and goes to the addresses of `flow`.
pub(crate) fn error(flow: Flow, [kind, code]: [u8; 2], rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ip(ip(flow));
    match flow.source.address {
        IpAddr::V4(_) => builder.icmpv4_raw(kind, code, rest).write(&mut bytes, quote).unwrap(),
        IpAddr::V6(_) => builder.icmpv6_raw(kind, code, rest).write(&mut bytes, quote).unwrap(),
    }
    bytes
}

/// Whether the independent library reads the packet, to its very end, and finds every checksum right.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let packet = SlicedPacket::from_ip(bytes).unwrap();
    let net = packet.net.unwrap();
    let (header_holds, length) = match &net {
        etherparse::NetSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            (header.header_checksum == header.calc_header_checksum(), usize::from(header.total_len))
        }
        etherparse::NetSlice::Ipv6(v6) => (true, 40 + usize::from(v6.header().payload_length())),
        etherparse::NetSlice::Arp(_) => panic!("not an IP packet"),
    };
    header_holds && length == bytes.len() && transport_is_sound(&net, &packet.transport.unwrap())
}

fn transport_is_sound(net: &etherparse::NetSlice<'_>, transport: &TransportSlice<'_>) -> bool {
    let v4 = net.ipv4_ref().map(|v4| v4.header().to_header());
    let v6 = net.ipv6_ref().map(|v6| v6.header().to_header());
    match (transport, v4, v6) {
        (TransportSlice::Tcp(tcp), Some(ip), _) => {
            tcp.checksum() == tcp.to_header().calc_checksum_ipv4(&ip, tcp.payload()).unwrap()
        }
        (TransportSlice::Tcp(tcp), _, Some(ip)) => {
            tcp.checksum() == tcp.to_header().calc_checksum_ipv6(&ip, tcp.payload()).unwrap()
        }
        (TransportSlice::Udp(udp), Some(ip), _) => {
            udp.checksum() == udp.to_header().calc_checksum_ipv4(&ip, udp.payload()).unwrap()
        }
        (TransportSlice::Udp(udp), _, Some(ip)) => {
            udp.checksum() == udp.to_header().calc_checksum_ipv6(&ip, udp.payload()).unwrap()
        }
        (TransportSlice::Icmpv4(icmp), ..) => {
            icmp.checksum() == icmp.icmp_type().calc_checksum(icmp.payload())
        }
        (TransportSlice::Icmpv6(icmp), _, Some(ip)) => icmp.is_checksum_valid(ip.source, ip.destination),
        (TransportSlice::Tcp(_) | TransportSlice::Udp(_), None, None)
        | (TransportSlice::Icmpv6(_), _, None) => false,
    }
}

/// Any flow that an honest sender could send.
pub(crate) fn any_flow() -> impl Strategy<Value = Flow> {
    let host = |bytes: [u8; 4]| [10, bytes[1], bytes[2], bytes[3]];
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(move |(a, b)| (host(a).into(), host(b).into()));
    let v6 = any::<([u8; 14], [u8; 14])>().prop_map(|(a, b)| (host_v6(a), host_v6(b)));
    let addresses = prop_oneof![v4, v6];
    (prop::sample::select(&PROTOCOLS), addresses, any::<(u16, u16, bool)>()).prop_map(
        |(protocol, (source, destination), (source_port, destination_port, asks))| {
            let (source_port, destination_port) = match (protocol, asks) {
                (Protocol::Tcp | Protocol::Udp, _) => (source_port, destination_port),
                (Protocol::IcmpEcho, true) => (source_port, 0),
                (Protocol::IcmpEcho, false) => (0, destination_port.max(1)),
            };
            let source = Endpoint::new(source, source_port);
            Flow { protocol, source, destination: Endpoint::new(destination, destination_port) }
        },
    )
}

fn host_v6(bytes: [u8; 14]) -> IpAddr {
    let mut address = [0x20; 16];
    address[2..].copy_from_slice(&bytes);
    address.into()
}

fn ip(flow: Flow) -> IpHeaders {
    match (flow.source.address, flow.destination.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                time_to_live: 64,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Header::default()
            };
            IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
    }
}
