//! OIDC as any provider speaks it; IPv4 and IPv6, translators of the strictest kind, roaming and loss.

use std::net::SocketAddr;

use ztna_model::{LeaseId, SessionId, secs};

use crate::world::{DeviceId, Manner, Nat, World};

fn leases(world: &World) -> Vec<LeaseId> {
    world.gateways[0].gate.leases().map(|held| held.lease.id).collect()
}

/// What must not change when a network does: the session, and what it holds.
fn standing(world: &World, device: DeviceId) -> (Option<SessionId>, Vec<LeaseId>) {
    (world.devices[device.0].session.snapshot().sid, leases(world))
}

fn reaching_the_wiki() -> (World, DeviceId) {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    (world, ana)
}

#[test]
fn whatever_manners_a_provider_has_it_signs_in() {
    for manner in Manner::ALL {
        let mut world = World::new();
        world.identity.manner = manner;
        let ana = world.device("ana");
        world.sign_in(ana);
        assert_eq!(world.devices[ana.0].session.state().name(), "connected", "{manner:?}");
        world.assert_reachable(ana, "wiki.demo");
    }
}

#[test]
fn a_device_that_roams_keeps_its_session_and_its_leases() {
    let (mut world, ana) = reaching_the_wiki();
    let before = standing(&world, ana);
    for address in ["203.0.113.7:1024", "[2600::7]:40000", "198.51.100.9:5000"] {
        world.devices[ana.0].address = address.parse().unwrap();
        world.assert_reachable(ana, "wiki.demo");
        assert_eq!(standing(&world, ana), before, "at {address}");
    }
}

#[test]
fn ipv6_alone_is_enough() {
    let mut world = World::new();
    world.gateways[0].address = "[2600::100]:4000".parse().unwrap();
    world.restart_gateway(0);
    world.after(secs(2));
    let ana = world.device("ana");
    world.devices[ana.0].address = "[2600::7]:40000".parse().unwrap();
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
}

#[test]
fn behind_a_symmetric_translator_that_forgets() {
    let mut world = World::new();
    let ana = world.device("ana");
    let inside: SocketAddr = "192.168.1.20:5000".parse().unwrap();
    world.devices[ana.0].address = inside;
    world.network.nat = Some(Nat::new(inside, "203.0.113.1".parse().unwrap()));
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    let before = standing(&world, ana);
    let nat = world.network.nat.as_mut().unwrap();
    assert_eq!(nat.ports(), 1, "nothing goes anywhere but to the gateway");
    nat.forget();
    world.assert_reachable(ana, "wiki.demo");
    assert_eq!(standing(&world, ana), before);
}

#[test]
fn a_fifth_of_all_datagrams_may_be_lost() {
    let mut world = World::new();
    world.network.loss = 20;
    let ana = world.device("ana");
    world.sign_in(ana);
    let first = standing(&world, ana).0;
    // An application that sends datagrams sends them again.
    let reached = (0..50).filter(|_| world.reach(ana, "wiki.demo").is_ok()).count();
    assert!((20..50).contains(&reached), "{reached} of 50");
    assert_eq!(standing(&world, ana).0, first, "loss costs nobody a sign-in");
}
