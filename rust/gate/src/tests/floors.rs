//! What a re-decision leaves standing (5.6).

use ztna_api::gateway::{Floor, FloorHeld, FromGateway, List};
use ztna_datapath::Sealed;
use ztna_model::{DenyReason, Epoch, LeaseId, RunId, SessionId, millis, secs};

use super::changes::*;
use super::draft::Draft;
use super::site::{Came, Device, Site, TTL, packet, to_app};
use ztna_api::gateway::LeaseError::*;

/// Two leases of device 1 and one of device 2, each with a live flow.
fn busy() -> (Site, [Device; 2], [Draft; 3]) {
    let mut site = Site::new();
    let mut devices = [Device::new(1), Device::new(2)];
    let drafts = [(0, 1), (0, 2), (1, 3)].map(|(device, app)| {
        let draft = Draft::new(&site, &devices[device], app);
        site.offer(&draft).unwrap();
        let came = devices[device].send(&mut site, to_app(5_000, app));
        assert_eq!(came, Came::Through(draft.lease.id));
        draft
    });
    devices.iter_mut().for_each(|device| assert_eq!(device.notices(&mut site), [""; 0]));
    site.told.clear();
    (site, devices, drafts)
}

fn acknowledged(site: &Site) -> Vec<u64> {
    let held = |frame: &FromGateway| {
        let FromGateway::FloorHeld(FloorHeld { epoch, .. }) = frame else { return None };
        Some(epoch.0)
    };
    site.told.iter().filter_map(held).collect()
}

#[test]
fn p5_6_what_is_kept_goes_on_undisturbed_and_the_rest_of_the_session_ends() {
    let (mut site, [mut ana, mut ben], [mut kept, gone, other]) = busy();
    let usage = |site: &Site| {
        site.gate.datapath.table.usage(LeaseId([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    };
    let before = usage(&site).unwrap();
    kept.lease.epoch = Epoch(2);
    site.floor_with(1, 2, vec![kept.text(&site)]);

    assert_eq!(site.leases(), [kept.lease.id, other.lease.id]);
    assert_eq!(site.ended(), [(gone.lease.id, DenyReason::DeviceUnfit)]);
    assert_eq!(acknowledged(&site), [2]);
    let cuts: Vec<_> = site.cuts.iter().map(|cut| (cut.lease, cut.flows.clone(), cut.reason)).collect();
    assert_eq!(cuts, [(gone.lease.id, vec![to_app(5_000, 2)], DenyReason::DeviceUnfit)]);
    assert_eq!(ana.notices(&mut site).len(), 1);
    assert_eq!(ben.notices(&mut site), [""; 0]);

    // The kept flow lives on, both ways, and counts as before.
    assert_eq!(usage(&site), Some(before));
    let peer = site.gate.leases().next().unwrap().peer;
    let back = packet(to_app(5_000, 1).reversed());
    assert_eq!(site.batch(|gate, wire| gate.datapath.seal_for(peer, &back, wire)), Sealed::Sent);
    ana.receive(&mut site);
    assert_eq!(ana.received, [back]);
    assert_eq!(ana.send(&mut site, to_app(5_000, 1)), Came::Through(kept.lease.id));
    assert_eq!(ana.send(&mut site, to_app(5_000, 2)), Came::Denied(DenyReason::NoRule));
    assert_eq!(ben.send(&mut site, to_app(5_000, 3)), Came::Through(other.lease.id));
}

#[test]
fn p5_6_a_floor_holds_for_the_very_next_packet_of_its_batch() {
    let (mut site, [mut ana, _], [_, gone, _]) = busy();
    let datagram = ana.seal(&packet(to_app(5_000, 2)), site.now);
    let address = ana.address;
    let frame = Floor { sid: gone.lease.sid, epoch: Epoch(2), keep: vec![], reason: DenyReason::Revoked };
    let opened = site.batch(|gate, wire| {
        gate.handle_frame(frame.into(), wire);
        let mut buffer = [0; 2_048];
        matches!(
            gate.datapath.open(&datagram, address, &mut buffer, wire),
            ztna_datapath::Opened::Denied { .. }
        )
    });
    assert!(opened);
}

#[test]
fn p5_6_what_is_to_be_kept_has_to_hold_by_itself() {
    type Spoil = fn(&mut Draft);
    let spoil: [(&str, Spoil); 5] = [
        ("a signature of nobody's", |draft| draft.edit = flipped_signature),
        ("an epoch below the floor", |draft| draft.lease.epoch = Epoch(1)),
        ("a life that is over", |draft| draft.lease.ttl = 1),
        ("another run's", |draft| draft.lease.run = RunId([9; 16])),
        ("more than before", |draft| draft.lease.rule.ports = "*".parse().unwrap()),
    ];
    for (name, spoil) in spoil {
        let (mut site, _, [mut kept, _, other]) = busy();
        site.after(secs(1));
        kept.lease.epoch = Epoch(2);
        spoil(&mut kept);
        site.floor_with(1, 2, vec![kept.text(&site)]);
        assert_eq!(site.leases(), [other.lease.id], "{name}");
        assert_eq!(site.gate.declined().values().sum::<u64>(), 1, "{name}");
    }
}

#[test]
fn p5_6_a_floor_brings_nothing_up_that_is_not_held() {
    let mut site = Site::new();
    let draft = Draft::new(&site, &Device::new(1), 1);
    site.floor_with(1, 1, vec![draft.text(&site)]);
    assert_eq!((site.leases(), acknowledged(&site)), (vec![], vec![1]));
    // The offer itself comes behind it, or again, and is taken.
    assert_eq!(site.offer(&draft), Ok(()));
}

#[test]
fn e12_p5_6_a_floor_never_sinks() {
    let mut site = Site::new();
    site.floor(1, 5);
    site.floor(1, 3);
    assert_eq!(acknowledged(&site), [5, 3]);
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    draft.lease.epoch = Epoch(4);
    assert_eq!(site.offer(&draft), Err(BelowFloor));
    draft.lease.epoch = Epoch(5);
    assert_eq!(site.offer(&draft), Ok(()));
    // What was sent before and comes again ends nothing that was decided since.
    site.floor(1, 3);
    site.floor(1, 5);
    assert_eq!(site.leases(), [draft.lease.id]);
}

#[test]
fn e12_p5_6_an_older_lease_that_comes_again_is_refused() {
    let (mut site, _, [mut kept, ..]) = busy();
    let old = kept.text(&site);
    kept.lease.epoch = Epoch(2);
    site.floor_with(1, 2, vec![kept.text(&site)]);
    site.hear(ztna_api::gateway::Renewed { leases: vec![old.clone()] });
    assert_eq!(site.gate.declined()[&BelowFloor], 1);
    site.floor_with(1, 2, vec![old]);
    assert_eq!(site.gate.declined()[&BelowFloor], 2);
    assert!(site.leases().contains(&kept.lease.id));
}

#[test]
fn p5_6_a_floor_that_is_raised_again_is_remembered_from_then_on() {
    let mut site = Site::new();
    site.floor(1, 2);
    site.after(secs(200));
    site.floor(1, 2);
    site.after(secs(299));
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    assert_eq!(site.offer(&draft), Err(BelowFloor));
    site.after(secs(1));
    draft.lease.at = site.now.as_millis();
    assert_eq!(site.offer(&draft), Ok(()));
}

#[test]
fn p5_6_a_kept_lease_still_waits_for_the_renewal_that_was_asked_for() {
    let (mut site, [mut ana, _], [mut kept, ..]) = busy();
    site.run(secs(55));
    ana.send(&mut site, to_app(5_000, 1));
    site.run(secs(6));
    let asked = super::renewals::asked(&site);
    assert_eq!(asked.len(), 1, "{asked:?}");
    kept.lease.epoch = Epoch(2);
    site.floor_with(1, 2, vec![kept.text(&site)]);
    site.run(secs(20));
    assert_eq!(super::renewals::asked(&site).len(), 1, "it is not asked for at once again");
}

#[test]
fn p5_6_more_floors_than_can_be_remembered_void_what_was_signed_before() {
    let mut site = Site::new();
    let (ana, ben) = (Device::new(1), Device::new(2));
    let held = Draft::new(&site, &ana, 1);
    site.offer(&held).unwrap();
    let mut draft = Draft::new(&site, &ben, 1);
    site.batch(|gate, wire| {
        for number in 0..=1_u128 << 18 {
            let sid = SessionId((number + (1 << 64)).to_be_bytes());
            let floor = Floor { sid, epoch: Epoch(2), keep: vec![], reason: DenyReason::Revoked };
            gate.handle_frame(floor.into(), wire);
            gate.poll();
        }
    });
    assert_eq!(site.leases(), [held.lease.id]);
    assert_eq!(site.offer(&draft), Err(BelowFloor));
    site.told.clear();
    site.run(millis(2));
    assert_eq!(super::renewals::beats(&site), 1, "the broker gets a beat to sign on");
    draft.lease.at = site.now.as_millis();
    assert_eq!(site.offer(&draft), Ok(()));
}

#[test]
fn p5_6_what_is_not_listed_goes() {
    let (mut site, [mut ana, _], [one, two, three]) = busy();
    let unheard_of = LeaseId([9; 16]);
    site.hear(List { live: vec![two.lease.id, unheard_of] });
    assert_eq!(site.leases(), [two.lease.id]);
    let expected = [one.lease.id, three.lease.id].map(|lease| (lease, DenyReason::Revoked));
    assert_eq!(site.ended(), expected);
    assert_eq!(ana.send(&mut site, to_app(5_000, 2)), Came::Through(two.lease.id));
}

#[test]
fn p5_6_a_restart_is_a_new_run_and_every_earlier_lease_is_void() {
    let (before, _, [draft, ..]) = busy();
    let mut site = Site::of_run(RunId([9; 16]), before.broker);
    assert_eq!(site.leases(), []);
    assert_eq!(site.offer(&draft), Err(WrongRun));
}

#[test]
fn p1_6_another_life_of_the_store_ends_everything() {
    let (mut site, _, [mut draft, ..]) = busy();
    site.broker.incarnation.0 = [9; 16];
    site.welcome();
    assert_eq!(site.leases(), []);
    assert!(site.ended().iter().all(|(_, reason)| *reason == DenyReason::Revoked));
    assert_eq!(site.ended().len(), 3);
    assert_eq!(site.offer(&draft), Err(WrongIncarnation));
    draft.lease.incarnation.0 = [9; 16];
    assert_eq!(site.offer(&draft), Ok(()));
}

#[test]
fn p5_6_the_same_life_of_the_store_ends_nothing() {
    let (mut site, _, drafts) = busy();
    site.welcome();
    assert_eq!(site.leases(), drafts.map(|draft| draft.lease.id));
    site.after(TTL);
}
