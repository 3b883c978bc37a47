use ztna_model::Synthetic;
use ztna_net::udp::Bind;
use ztna_packet::{Content, IcmpErrorKind, parse};

use super::device::Device;
use super::nets::{Net, Nets};
use super::site::{For, Site};
use super::*;
use crate::dial::DialRefusal;
use crate::resolver::Resolver;

/// A gateway on its own machine.
fn site(net: &Net, reach: &[&str]) -> Site {
    net.within(|| {
        let mut site = Site::enrolled(reach);
        site.config.udp.bind = Bind::V4;
        site.config.udp.port = 51_820;
        site.config.udp.advertise = vec!["10.77.0.1:51820".parse().unwrap()];
        site.start(Resolver::System);
        site
    })
}

fn pinged(device: &mut Device, to: IpAddr, sequence: u16) {
    device.others.clear();
    // Who has just been made may not hear the first.
    let mut next = Clock.now();
    let answer = device.until(|device| {
        if Clock.now() >= next {
            device.ping(to, 9_000, sequence, b"anybody there?");
            next = Clock.now() + ztna_model::millis(300);
        }
        device.turn(next);
        device.others.pop()
    });
    let answer = parse(&answer).unwrap();
    let Content::Echo(echo) = answer.content() else { panic!("{answer:?}") };
    assert_eq!((echo.identifier, echo.sequence, answer.payload()), (9_000, sequence, &b"anybody there?"[..]));
    assert_eq!(answer.source(), to);
}

#[test]
fn a_lease_lets_echoes_through_by_whatever_socket_there_may_be() {
    // With ping sockets for everybody, and for nobody: then raw ones.
    for group in ["0 2147483647", "1 0"] {
        let nets = Nets::new();
        nets.gateway.set("ipv4/ping_group_range", group);
        let mut site = site(&nets.gateway, &["10.78.0.0/24", "fd78::/64"]);
        let mut device = site.introduce(nets.device.within(|| Device::bound(Bind::V4)));
        for (index, target) in [(7, "10.78.0.2"), (8, "fd78::2")] {
            let lease = site.grant(&device, &For::echo(index, target));
            // Either family of the stand-in, whatever the host's.
            for to in [Synthetic::from_index(index).v4.into(), Synthetic::from_index(index).v6.into()] {
                pinged(&mut device, to, 1);
                pinged(&mut device, to, 2);
            }
            assert_eq!(site.status().plane.flows, 2);
            site.link()
                .say(ztna_api::gateway::Over { lease: lease.id, reason: ztna_model::DenyReason::Revoked });
            site.plane_when(|plane| plane.flows == 0 && plane.leases == 0);
            // With its last lease it was forgotten.
            device.reconnect();
        }
        assert!(site.status().plane.refused_dials.is_empty());
    }
}

#[test]
fn e02_e03_an_echo_of_this_machine_or_out_of_reach_is_refused_and_counted() {
    let nets = Nets::new();
    let mut site = site(&nets.gateway, &["10.78.0.0/25", "10.78.0.200:80"]);
    let mut device = site.introduce(nets.device.within(|| Device::bound(Bind::V4)));
    site.grant(&device, &For::echo(7, "10.78.0.1"));
    site.grant(&device, &For::echo(8, "10.78.0.200"));
    for index in [7, 8] {
        device.ping(Synthetic::from_index(index).v4.into(), 1, 1, b"x");
        let answer = device.until(|device| device.others.pop());
        let Content::IcmpError(error) = parse(&answer).unwrap().content() else { panic!() };
        assert_eq!(error.kind, IcmpErrorKind::Unreachable { code: 13 });
    }
    let refused = site.status().plane.refused_dials;
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), [(DialRefusal::OutOfReach, 2)]);
}
