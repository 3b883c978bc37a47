//! A change of person, device, policy or context cuts live flows within seconds; a cut-off gateway fails closed when
//! the lease ends.

use ztna_api::admin::{HoldTarget, Op};
use ztna_model::{DenyReason, FactKind, FactValue, millis, secs};

use crate::world::{DeviceId, World, person};

fn reaching_the_wiki() -> (World, DeviceId) {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    (world, ana)
}

/// Within a second, no lease is left at the gateway, and its flows were cut for this reason.
#[track_caller]
fn assert_cut_within_a_second(world: &mut World, reason: DenyReason) {
    world.after(secs(1));
    assert_eq!(world.gateways[0].gate.leases().count(), 0);
    assert_eq!(world.gateways[0].cuts.last(), Some(&reason));
}

#[test]
fn a_hold_on_a_person_cuts_what_lives_and_lasts() {
    let (mut world, ana) = reaching_the_wiki();
    world.hold(HoldTarget::Person(person("ana")));
    assert_cut_within_a_second(&mut world, DenyReason::Held);
    world.after(secs(60));
    world.assert_out_of_reach(ana, "wiki.demo");
}

#[test]
fn a_hold_on_a_resource_cuts_that_resource_alone() {
    let (mut world, ana) = reaching_the_wiki();
    world.assert_reachable(ana, "payroll.demo");
    world.hold(HoldTarget::Resource("wiki".parse().unwrap()));
    world.after(secs(1));
    world.assert_denied(ana, "wiki.demo", DenyReason::Held);
    world.assert_reachable(ana, "payroll.demo");
    let (cut, left) = (world.gateways[0].cuts.len(), world.gateways[0].gate.leases().count());
    assert_eq!((cut, left), (1, 1), "what stays is undisturbed");
}

#[test]
fn a_session_that_an_administrator_ends_is_over_at_once() {
    let (mut world, ana) = reaching_the_wiki();
    let sid = world.devices[ana.0].session.snapshot().sid.unwrap();
    world.admin(Op::SessionEnd { sid });
    world.after(secs(1));
    assert_eq!(world.gateways[0].gate.leases().count(), 0);
    assert_eq!(world.devices[ana.0].session.state().name(), "signed out");
}

#[test]
fn a_policy_that_goes_takes_its_rights_along() {
    let (mut world, ana) = reaching_the_wiki();
    world.admin(Op::PolicyRemove { policy: "wiki".parse().unwrap() });
    world.after(secs(1));
    assert_eq!(world.gateways[0].gate.leases().count(), 0);
    world.assert_denied(ana, "wiki.demo", DenyReason::NotEntitled);
}

#[test]
fn a_fact_that_turns_bad_cuts_and_one_that_turns_good_gives_back() {
    let (mut world, ana) = reaching_the_wiki();
    world.assert_reachable(ana, "payroll.demo");
    world.report(ana, FactKind::DiskEncrypted, FactValue::Bool(false));
    world.after(secs(1));
    world.assert_denied(ana, "payroll.demo", DenyReason::DeviceUnfit);
    world.assert_reachable(ana, "wiki.demo");
    world.report(ana, FactKind::DiskEncrypted, FactValue::Bool(true));
    world.after(secs(1));
    world.assert_reachable(ana, "payroll.demo");
}

#[test]
fn p5_11_e08_a_gateway_that_is_cut_off_closes_within_the_lease() {
    let (mut world, ana) = reaching_the_wiki();
    world.gateways[0].cut_off = true;
    world.hold(HoldTarget::Person(person("ana")));
    // It cannot know, and goes on until the lease is over: at most two minutes.
    world.after(secs(121));
    assert_eq!(world.gateways[0].gate.leases().count(), 0);
    world.assert_out_of_reach(ana, "wiki.demo");
}

#[test]
fn with_the_broker_away_leases_run_out_and_nothing_is_granted() {
    let (mut world, ana) = reaching_the_wiki();
    world.network.broker_reachable = false;
    world.assert_reachable(ana, "wiki.demo");
    world.after(secs(121));
    assert_eq!(world.gateways[0].gate.leases().count(), 0, "fail closed");
    world.assert_out_of_reach(ana, "wiki.demo");
    world.network.broker_reachable = true;
    world.after(secs(90));
    world.assert_reachable(ana, "wiki.demo");
}

#[test]
fn a_broker_that_restarts_costs_nobody_a_sign_in() {
    let (mut world, ana) = reaching_the_wiki();
    let sid = world.devices[ana.0].session.snapshot().sid;
    world.restart_broker();
    world.after(secs(5));
    world.assert_reachable(ana, "wiki.demo");
    assert_eq!(world.devices[ana.0].session.snapshot().sid, sid);
}

#[test]
fn p5_6_a_gateway_that_restarts_holds_nothing_and_is_reached_again() {
    let (mut world, ana) = reaching_the_wiki();
    world.restart_gateway(0);
    assert_eq!(world.gateways[0].gate.leases().count(), 0);
    world.after(secs(5));
    world.assert_reachable(ana, "wiki.demo");
}

#[test]
fn a_store_that_takes_no_writes_grants_nothing_new_and_revokes_all_the_same() {
    let (mut world, ana) = reaching_the_wiki();
    world.broker.store_up = false;
    world.assert_out_of_reach(ana, "payroll.demo");
    world.hold(HoldTarget::Person(person("ana")));
    assert_cut_within_a_second(&mut world, DenyReason::Held);
    assert!(!world.broker.alarms.is_empty(), "somebody is told");
}

#[test]
fn p5_11_a_revocation_is_quick() {
    let (mut world, _) = reaching_the_wiki();
    let began = world.now;
    world.hold(HoldTarget::Person(person("ana")));
    while world.gateways[0].gate.leases().count() > 0 {
        world.after(millis(1));
    }
    // One way through the network, and no timer in between.
    assert!(world.now.since(began) <= world.network.latency + millis(2));
}
