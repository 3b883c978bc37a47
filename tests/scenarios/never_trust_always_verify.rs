//! Every flow is allowed by a live, signed, short lease, or it is dropped. Default deny everywhere.

use ztna_model::{DenyReason, secs};

use crate::world::World;

#[test]
fn what_is_granted_is_reached_and_nothing_else() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.assert_denied(ana, "wiki.demo", DenyReason::SignedOut);
    world.sign_in(ana);
    assert_eq!(world.devices[ana.0].session.state().name(), "connected");
    world.assert_reachable(ana, "wiki.demo");
    world.assert_reachable(ana, "payroll.demo");
    world.assert_denied(ana, "ledger.demo", DenyReason::NotFound);
    world.assert_denied(ana, "qzx7.demo", DenyReason::NotFound);
}

#[test]
fn a_lease_lives_on_while_it_is_used_and_ends_in_silence() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    for _ in 0..10 {
        world.after(secs(55));
        world.assert_reachable(ana, "wiki.demo");
    }
    world.after(secs(13 * 60));
    assert_eq!(
        world.gateways[0].gate.leases().count(),
        0,
        "ten minutes of silence, and at most one lease more"
    );
    world.assert_reachable(ana, "wiki.demo");
}
