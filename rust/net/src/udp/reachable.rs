use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::bind::Bind;

/// Where a port of number `port`, open to `bound`, can be reached: for each address family the address from which
/// this machine would reach the internet, IPv4 first. Nothing is sent to find out.
pub(super) fn addresses(bound: Bind, port: u16) -> Vec<SocketAddr> {
    let v4 = || source_towards(DOCUMENTATION_V4.into());
    let v6 = || source_towards(DOCUMENTATION_V6.into());
    let found = match bound {
        Bind::V4 => [v4(), None],
        Bind::V6 => [None, v6()],
        Bind::Dual => [v4(), v6()],
        Bind::LoopbackV4 => [Some(Ipv4Addr::LOCALHOST.into()), None],
        Bind::LoopbackV6 => [None, Some(Ipv6Addr::LOCALHOST.into())],
    };
    found.into_iter().flatten().map(|address| SocketAddr::new(address, port)).collect()
}

/// The address that the kernel would choose as the source of datagrams to `destination`.
fn source_towards(destination: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket only looks up the route.
    socket.connect((destination, DISCARD)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified() && !source.is_loopback()).then_some(source)
}

/// Addresses that are nobody's (RFC 5737, RFC 3849), so that the way to them is the way to everybody.
const DOCUMENTATION_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DOCUMENTATION_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The port of the discard service (RFC 863).
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_port_is_reached_by_loopback_alone() {
        assert_eq!(addresses(Bind::LoopbackV4, 7), ["127.0.0.1:7".parse().unwrap()]);
        assert_eq!(addresses(Bind::LoopbackV6, 7), ["[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn any_other_port_is_not_reached_by_loopback() {
        for bound in [Bind::V4, Bind::V6, Bind::Dual] {
            let found = addresses(bound, 7);
            assert!(found.iter().all(|at| !at.ip().is_loopback() && bound.reaches(*at)), "{found:?}");
        }
    }
}
