//! No wakeups when idle, and no packets.

use ztna_model::secs;

use crate::world::World;

#[test]
fn an_idle_device_sleeps() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    // What was sent is answered and acknowledged, and then there is nothing.
    world.after(secs(60));
    let (datagrams, now) = (world.network.datagrams, world.now);
    let wake = world.devices[ana.0].next_wake();
    assert!(wake.is_none_or(|at| at >= now + secs(3_600)), "{wake:?} is soon after {now:?}");
    world.after(secs(600));
    assert_eq!(world.network.datagrams, datagrams, "ten idle minutes cost no packet");
}

#[test]
fn a_device_that_is_off_never_wakes() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.devices[ana.0].session.disconnect();
    world.after(secs(1));
    assert_eq!(world.devices[ana.0].next_wake(), None);
}
