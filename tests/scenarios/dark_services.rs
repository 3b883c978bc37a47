//! Gateways only dial out. Nothing at the site answers whoever has no right.

use ztna_model::{Carrier, Random as _, Secret, Time};
use ztna_tunnel::{Role, Tunnel, wg_public};

use crate::world::World;

/// How many datagrams the gateway sends in answer to this one.
fn answers_to(world: &mut World, datagram: Vec<u8>) -> u64 {
    let before = world.network.datagrams;
    let to = world.gateways[0].address;
    let from = "192.0.2.66:6666".parse().unwrap();
    let now = world.now;
    world.network.send(now, crate::world::Cable::Datagram { from, to, bytes: datagram });
    world.after(ztna_model::secs(3));
    world.network.datagrams - before - 1
}

#[test]
fn p5_8_a_stranger_gets_no_byte_back() {
    let mut world = World::new();
    let mut stranger = crate::world::chance(9);
    let mut noise = vec![0; 148];
    stranger.fill(&mut noise);
    assert_eq!(answers_to(&mut world, vec![]), 0, "an empty datagram");
    assert_eq!(answers_to(&mut world, noise), 0, "noise");

    // A valid initiation, by a key that nobody gave a lease: the sender even knows the gateway's public key.
    let gateway = world.gateways[0].gate.datapath.tunnel.public();
    let mallory = Secret::new([66; 32]);
    let mut tunnel = Tunnel::new(&mallory, Tunnel::DEFAULT_MTU, world.now);
    let peer = tunnel.add_peer(gateway, None, Role::Initiator, &mut stranger, world.now).unwrap();
    tunnel.set_carriers(peer, &[Carrier::Udp(world.gateways[0].address)]);
    tunnel.announce(peer, world.now).unwrap();
    let mut initiation = [0; 2_048];
    let length = tunnel.poll(&mut initiation, world.now).unwrap().length;
    assert_ne!(wg_public(&mallory), gateway);
    assert_eq!(answers_to(&mut world, initiation[..length].to_vec()), 0, "a handshake without a lease");
    assert_ne!(world.now, Time::ZERO);
}
