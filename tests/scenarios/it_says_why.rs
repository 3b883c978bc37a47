//! Every refusal carries a reason a person can act on, and the fix.

use ztna_model::{DenyReason, FactKind, FactValue, Fix, secs};
use ztna_proxy::Verdict;

use crate::world::World;

#[test]
fn a_refusal_names_the_fact_to_mend() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.devices[ana.0].facts.insert(FactKind::DiskEncrypted, FactValue::Bool(false));
    world.sign_in(ana);
    let fixes = vec![Fix::Device { fact: FactKind::DiskEncrypted }];
    let expected = Verdict::Denied { reason: DenyReason::DeviceUnfit, fixes };
    assert_eq!(world.reach(ana, "payroll.demo"), Err(expected));
}

#[test]
fn a_fact_that_was_not_read_never_counts() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.devices[ana.0].facts.clear();
    world.sign_in(ana);
    world.assert_denied(ana, "payroll.demo", DenyReason::DeviceUnproven);
}

#[test]
fn p5_5_a_cut_is_told_inside_the_tunnel() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    world.assert_reachable(ana, "wiki.demo");
    world.hold(ztna_api::admin::HoldTarget::Resource("wiki".parse().unwrap()));
    world.after(secs(1));
    let reasons: Vec<DenyReason> = world.devices[ana.0].notices.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(reasons, [DenyReason::Held]);
}
