use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ztna_model::Carrier;
use ztna_net::udp::Bind;

use crate::config::{MOST_CARRIERS, UdpConfig};

/// Where devices can send datagrams to a port that is open at `local`: what the administrator says, or else this
/// machine's addresses on the way to `brokers` and to the internet.
pub(crate) fn carriers(
    config: &UdpConfig,
    local: SocketAddr,
    bound: Bind,
    brokers: &[SocketAddr],
) -> Vec<Carrier> {
    if !config.advertise.is_empty() {
        return config.advertise.iter().copied().map(Carrier::Udp).collect();
    }
    if local.ip().is_loopback() {
        return vec![Carrier::Udp(local)];
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    let destinations = brokers.iter().copied().chain(ANYWHERE);
    for address in destinations.filter_map(address_towards).filter(|address| is_reachable(*address, bound)) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let at_port = |address| Carrier::Udp(SocketAddr::new(address, local.port()));
    addresses.into_iter().take(MOST_CARRIERS).map(at_port).collect()
}

/// Whether `address` is one of this machine's own: the kernel would answer from the very address.
pub(crate) fn is_own(address: IpAddr) -> bool {
    address_towards(SocketAddr::new(address, ANY_PORT)) == Some(address)
}

/// From which of its addresses this machine would send to `destination`. Connecting a UDP socket sends nothing.
fn address_towards(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether devices elsewhere might reach `address`, and the port is open to its family.
fn is_reachable(address: IpAddr, bound: Bind) -> bool {
    let of_family = match bound {
        Bind::Dual => true,
        Bind::V4 | Bind::LoopbackV4 => address.is_ipv4(),
        Bind::V6 | Bind::LoopbackV6 => address.is_ipv6(),
    };
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    of_family && !local && !address.is_unspecified() && !address.is_loopback()
}

/// Documentation prefixes (RFC 5737, RFC 3849): the way there is the way to the internet.
const ANYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ANY_PORT),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), ANY_PORT),
];
const ANY_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(advertise: &[&str], local: &str, bound: Bind, expected: &[&str]) {
        let parse = |text: &&str| text.parse::<SocketAddr>().unwrap();
        let config = UdpConfig { advertise: advertise.iter().map(parse).collect(), ..UdpConfig::default() };
        let expected: Vec<Carrier> = expected.iter().map(parse).map(Carrier::Udp).collect();
        assert_eq!(carriers(&config, local.parse().unwrap(), bound, &[]), expected);
    }

    #[test]
    fn what_is_advertised() {
        check(&["203.0.113.7:1"], "0.0.0.0:4000", Bind::V4, &["203.0.113.7:1"]);
        check(&[], "127.0.0.1:4000", Bind::LoopbackV4, &["127.0.0.1:4000"]);
        let found = carriers(&UdpConfig::default(), "[::]:4000".parse().unwrap(), Bind::Dual, &[]);
        for Carrier::Udp(address) in found {
            assert!(!address.ip().is_loopback() && !address.ip().is_unspecified() && address.port() == 4000);
            assert!(is_own(address.ip()));
        }
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
