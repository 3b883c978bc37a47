//! Relay and broker never see plaintext and hold no tunnel keys.

use crate::world::World;

#[test]
fn nobody_on_the_way_reads_what_is_sent() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    assert!(world.gateways[0].delivered > 0, "it did arrive");
    let plain = b"this is plain text";
    let heard =
        world.network.heard.iter().filter(|bytes| bytes.windows(plain.len()).any(|part| part == plain));
    assert_eq!(heard.count(), 0, "neither in a datagram nor in anything the broker was told");
}
