//! A device learns nothing of resources hidden from it: no name, no address, no port, no timing.

use ztna_api::device::{Ask, FromDevice, ToDevice, Wanted};
use ztna_model::{Port, Protocol, Synthetic, millis};

use crate::world::World;

/// What the broker says to a client that was modified to ask for anything.
fn answer_to(world: &mut World, device: crate::world::DeviceId, name: &str, request: u64) -> Vec<ToDevice> {
    let wanted = Wanted::Name { name: name.parse().unwrap(), synthetic: Synthetic::from_index(77) };
    let port = Port::new(7).unwrap();
    let ask = Ask { request, wanted, protocol: Protocol::Udp, port, carriers: vec![], avoid: None };
    world.devices[device.0].heard_frames.clear();
    world.devices[device.0].say(FromDevice::Ask(ask), world.now, &mut world.network);
    world.after(millis(100));
    std::mem::take(&mut world.devices[device.0].heard_frames)
}

#[test]
fn p4_3_hidden_and_absent_are_the_same_bytes() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    // Asking gains rights, so the key must have shown itself: by reaching something first.
    world.assert_reachable(ana, "wiki.demo");
    let said = |frames: Vec<ToDevice>| -> Vec<String> { frames.iter().map(ToDevice::write).collect() };
    let hidden = said(answer_to(&mut world, ana, "ledger.demo", 900));
    let absent = said(answer_to(&mut world, ana, "qzx7.demo", 900));
    assert_eq!(hidden.len(), 1);
    assert_eq!(hidden, absent);
    assert!(hidden[0].contains("not-found"), "{hidden:?}");
}

#[test]
fn p4_3_a_device_is_told_of_what_it_may_know_and_of_nothing_else() {
    let mut world = World::new();
    let ana = world.device("ana");
    world.sign_in(ana);
    let known: Vec<String> = world.devices[ana.0]
        .session
        .snapshot()
        .resources
        .iter()
        .map(|visible| visible.resource.to_string())
        .collect();
    assert_eq!(known, ["payroll", "wiki"]);
    let everything: String =
        world.devices[ana.0].all_frames.iter().map(ToDevice::write).collect::<Vec<_>>().join("\n");
    assert!(everything.contains("wiki"), "something was said");
    assert!(!everything.contains("ledger"), "the hidden name was never said");
    assert!(!everything.contains("10.0.0.1"), "no target is ever said to a device");
}
