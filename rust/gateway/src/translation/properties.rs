use std::net::IpAddr;

use proptest::prelude::*;
use ztna_model::{Endpoint, Flow, LeaseId, Protocol, Time, minutes, secs};
use ztna_tunnel::PeerId;

use super::PeerRanges;
use super::translations::{Limits, Translations, Way};

#[derive(Clone, Debug)]
enum Step {
    Open { peer: u32, flow: Flow, target: Endpoint, lease: u8 },
    SetAside { peer: u32, flow: Flow, lease: u8 },
    End { peer: u32, flow: Flow },
    EndLease(u8),
    Release(u32),
    Wait(u16),
}

/// Few of everything, so that they meet.
fn flow() -> impl Strategy<Value = Flow> {
    (0..3_usize, any::<bool>(), 1..4_u8, 1..4_u16, 1..3_u16).prop_map(|(protocol, is_v4, name, port, to)| {
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::IcmpEcho][protocol];
        let address = |v4: &str, v6: &str| -> IpAddr { if is_v4 { v4 } else { v6 }.parse().unwrap() };
        let stand_in = address(&format!("198.18.0.{name}"), &format!("2001:2:0:1::{name}"));
        let to = if protocol == Protocol::IcmpEcho { 0 } else { to };
        Flow {
            protocol,
            source: Endpoint::new(address("198.19.0.1", "2001:2::1"), port),
            destination: Endpoint::new(stand_in, to),
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u32, flow(), 1..3_u8, 0..3_u8).prop_map(|(peer, flow, host, lease)| {
            let address = if flow.source.address.is_ipv4() { format!("10.0.0.{host}") } else { format!("fd00::{host}") };
            let target = Endpoint::new(address.parse().unwrap(), flow.destination.port.min(1));
            Step::Open { peer, flow, target, lease }
        }),
        1 => (0..4_u32, flow(), 0..3_u8).prop_map(|(peer, flow, lease)| Step::SetAside { peer, flow, lease }),
        1 => (0..4_u32, flow()).prop_map(|(peer, flow)| Step::End { peer, flow }),
        1 => (0..3_u8).prop_map(Step::EndLease),
        1 => (0..4_u32).prop_map(Step::Release),
        1 => (0..300_u16).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: every flow that the kernel sees is one device's, its answer comes back to that device as the
    /// flow that it knows, and nothing is found that has ended.
    #[test]
    fn e01_what_the_kernel_sees_is_one_flow_of_one_device_s(steps in prop::collection::vec(step(), 1..60)) {
        let ranges = PeerRanges { v4: "100.64.0.0/24".parse().unwrap(), v6: "fd6f::/112".parse().unwrap() };
        let mut table = Translations::new(ranges, Limits { flows: 24, flows_per_peer: 9 });
        let mut plain: Vec<(PeerId, Flow, LeaseId, Option<Flow>)> = Vec::new();
        let mut now = Time::ZERO + secs(1);
        for step in steps {
            match step {
                Step::Open { peer, flow, target, lease } => {
                    let (peer, lease) = (PeerId::from_number(peer), LeaseId([lease; 16]));
                    if table.open(peer, flow, target, lease, now).is_some() {
                        let Way::Kernel(outer) = table.of_device(peer, &flow, now).unwrap().way else { panic!() };
                        prop_assert!(ranges.contains(outer.source.address) && outer.destination == target);
                        plain.push((peer, flow, lease, Some(outer)));
                    }
                }
                Step::SetAside { peer, flow, lease } => {
                    let (peer, lease) = (PeerId::from_number(peer), LeaseId([lease; 16]));
                    if table.set_aside(peer, flow, lease, now).is_some() {
                        plain.push((peer, flow, lease, None));
                    }
                }
                Step::End { peer, flow } => {
                    let peer = PeerId::from_number(peer);
                    let found = plain.iter().position(|known| (known.0, known.1) == (peer, flow));
                    prop_assert_eq!(table.end(peer, &flow).is_some(), found.is_some());
                    found.map(|at| plain.remove(at));
                }
                Step::EndLease(lease) => {
                    let gone = table.end_lease(LeaseId([lease; 16])).len();
                    let before = plain.len();
                    plain.retain(|known| known.2 != LeaseId([lease; 16]));
                    prop_assert_eq!(gone, before - plain.len());
                }
                Step::Release(peer) => {
                    table.release(PeerId::from_number(peer));
                    plain.retain(|known| known.0 != PeerId::from_number(peer));
                }
                Step::Wait(seconds) => {
                    now += secs(seconds.into());
                    for gone in table.end_idle(now) {
                        plain.retain(|known| (known.0, known.1) != (gone.peer, gone.inner));
                    }
                    prop_assert!(table.next_look().is_none_or(|at| at > now && at <= now + minutes(1)));
                }
            }
            prop_assert_eq!(table.by_kernel(), plain.iter().filter(|known| known.3.is_some()).count());
            prop_assert!(plain.len() <= 24);
            // Looking keeps alive, so that it is done on what nobody counts on.
            for (index, (peer, inner, lease, outer)) in plain.clone().into_iter().enumerate() {
                prop_assert!(plain[..index].iter().all(|other| other.3.is_none() || other.3 != outer));
                let Some(outer) = outer else { continue };
                let owner = plain.iter().find(|known| known.3.is_some_and(|o| o.source.address == outer.source.address));
                prop_assert_eq!(owner.unwrap().0, peer, "an address is one peer's");
                let found = table.about(&outer).unwrap();
                prop_assert_eq!((found.peer, found.inner, found.lease), (peer, inner, lease));
            }
        }
        for (peer, inner, _, outer) in plain.into_iter().filter_map(|known| Some((known.0, known.1, known.2, known.3?))) {
            let found = table.of_site(&outer.reversed(), now).map(|found| (found.peer, found.inner));
            prop_assert_eq!(found, Some((peer, inner)));
            // Not backwards, and not from another port.
            prop_assert!(table.of_site(&outer, now).is_none());
            let mut other = outer.reversed();
            other.source.port ^= 0x4000;
            prop_assert!(table.of_site(&other, now).is_none());
        }
    }
}
