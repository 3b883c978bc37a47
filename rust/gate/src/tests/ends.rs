//! When a lease is over: who is told, what is cut, and who is still there (5.5, 5.7, 5.8).

use ztna_api::gateway::{Floor, List, Offered, Over, ToGateway};
use ztna_datapath::{Opened, Sealed};
use ztna_model::{DenyReason, Epoch, SessionId, millis, secs};

use super::draft::Draft;
use super::site::{Came, Device, Site, TTL, flow, packet, to_app};
use crate::Output;

/// A device with two leases, two flows under the first and one under the second.
fn two() -> (Site, Device, [Draft; 2]) {
    let mut site = Site::new();
    let mut device = Device::new(1);
    let drafts = [1, 2].map(|app| Draft::new(&site, &device, app));
    for draft in &drafts {
        site.offer(draft).unwrap();
    }
    for (port, app) in [(5_000, 1), (5_001, 1), (5_000, 2)] {
        assert!(matches!(device.send(&mut site, to_app(port, app)), Came::Through(_)));
    }
    site.told.clear();
    (site, device, drafts)
}

#[test]
fn p5_5_every_end_cuts_the_flows_and_tells_device_and_broker_once() {
    type Way = fn(&mut Site, &Draft);
    let ways: [(&str, Way, DenyReason); 6] = [
        ("over", |site, _| site.after(TTL), DenyReason::LeaseExpired),
        (
            "ended",
            |site, draft| site.hear(Over { lease: draft.lease.id, reason: DenyReason::Held }),
            DenyReason::Held,
        ),
        ("floored", |site, _| site.floor(1, 2), DenyReason::DeviceUnfit),
        ("not listed", |site, _| site.end_all(), DenyReason::Revoked),
        ("paused", |site, _| site.jump(), DenyReason::LeaseExpired),
        ("restored", |site, _| another_life(site), DenyReason::Revoked),
    ];
    for (name, end, reason) in ways {
        let (mut site, mut device, [first, second]) = two();
        end(&mut site, &first);
        site.run(secs(1));
        let id = first.lease.id;
        assert_eq!(site.ended().iter().filter(|ended| **ended == (id, reason)).count(), 1, "{name}");
        let cuts: Vec<_> = site.cuts.iter().filter(|cut| cut.lease == id).cloned().collect();
        assert_eq!(cuts.len(), 1, "{name}");
        assert_eq!(cuts[0].flows, [to_app(5_000, 1), to_app(5_001, 1)], "{name}");
        assert_eq!(cuts[0].reason, reason, "{name}");
        let notice = format!(r#"{{"lease":"{id}","reason":"{}"}}"#, reason.code());
        assert_eq!(device.notices(&mut site).iter().filter(|text| **text == notice).count(), 1, "{name}");

        // Nothing passes any more, either way.
        let peer = cuts[0].peer;
        let back = packet(to_app(5_000, 1).reversed());
        let sealed = site.batch(|gate, wire| gate.datapath.seal_for(peer, &back, wire));
        assert_eq!(sealed, Sealed::Denied(DenyReason::NoRule), "{name}");
        let alone = !site.leases().contains(&second.lease.id);
        let expected = if alone { Came::ToNobody } else { Came::Denied(DenyReason::NoRule) };
        assert_eq!(device.send(&mut site, to_app(5_000, 1)), expected, "{name}");
    }
}

fn another_life(site: &mut Site) {
    site.broker.incarnation.0 = [9; 16];
    site.welcome();
}

#[test]
fn p5_5_an_end_that_is_told_twice_happens_once() {
    let (mut site, mut device, [first, _]) = two();
    let mut notices = Vec::new();
    for _ in 0..2 {
        site.hear(Over { lease: first.lease.id, reason: DenyReason::Held });
        site.floor(1, 2);
        site.end_all();
        notices.extend(device.notices(&mut site));
        site.after(TTL);
    }
    assert_eq!((site.ended().len(), site.cuts.len(), notices.len()), (2, 2, 2));
}

#[test]
fn p5_7_e08_the_deadline_is_compared_in_every_batch_and_not_by_a_timer() {
    let (mut site, mut device, _) = two();
    let datagram = device.seal(&packet(to_app(5_000, 1)), site.now);
    let peer = site.gate.leases().next().unwrap().peer;
    let back = packet(to_app(5_000, 1).reversed());
    // Cut off from its broker, and nobody has woken it in between.
    site.now += TTL;
    let address = device.address;
    site.batch(|gate, wire| {
        assert_eq!(gate.datapath.seal_for(peer, &back, wire), Sealed::Denied(DenyReason::NoRule));
        let mut buffer = [0; 2_048];
        let opened = gate.datapath.open(&datagram, address, &mut buffer, wire);
        assert_eq!(opened, Opened::Denied { peer, reason: DenyReason::NoRule });
    });
    assert_eq!(site.leases(), []);
}

#[test]
fn p5_7_a_moment_before_its_deadline_a_lease_holds() {
    let (mut site, mut device, [first, _]) = two();
    site.after(TTL - millis(1));
    assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Through(first.lease.id));
}

#[test]
fn p5_7_a_clock_that_runs_backwards_gives_nothing_back() {
    let (mut site, mut device, _) = two();
    site.after(TTL);
    site.now = super::site::START;
    assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::ToNobody);
    assert_eq!(site.leases(), []);
}

#[test]
fn p5_7_what_a_paused_machine_was_given_is_asked_for_anew() {
    let (mut site, mut device, [first, _]) = two();
    let (old, _) = (first.text(&site), site.jump());
    assert_eq!(site.leases(), []);
    // What was on its way is of before.
    site.hear(Offered { lease: old, carriers: vec![] });
    assert_eq!(site.leases(), []);
    site.told.clear();
    site.run(millis(2));
    assert_eq!(super::renewals::beats(&site), 1, "the broker gets a beat to sign on");
    let anew = Draft::new(&site, &device, 1);
    assert_eq!(site.offer(&anew), Ok(()));
    assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Through(anew.lease.id));
}

#[test]
fn p5_8_no_lease_no_peer() {
    let (mut site, mut device, [first, second]) = two();
    assert_eq!((site.gate.datapath.tunnel.peers().count(), site.gate.sessions()), (1, 1));
    site.hear(Over { lease: first.lease.id, reason: DenyReason::Held });
    assert_eq!(site.gate.datapath.tunnel.peers().count(), 1, "it holds another lease");
    assert_eq!(device.send(&mut site, to_app(5_000, 2)), Came::Through(second.lease.id));
    site.hear(Over { lease: second.lease.id, reason: DenyReason::Held });
    assert_eq!((site.gate.datapath.tunnel.peers().count(), site.gate.sessions()), (0, 0));
    assert_eq!(device.notices(&mut site).len(), 2);
    assert_silence(&mut site, &mut device);
}

#[test]
fn p5_8_h01_a_handshake_by_an_unknown_key_gets_no_byte() {
    let mut site = Site::new();
    let known = Draft::new(&site, &Device::new(1), 1);
    site.offer(&known).unwrap();
    for number in 2..=100 {
        assert_silence(&mut site, &mut Device::new(number));
    }
    assert_eq!(site.gate.datapath.tunnel.peers().count(), 1);
}

fn assert_silence(site: &mut Site, device: &mut Device) {
    site.after(millis(25));
    site.sent.clear();
    let initiation = device.initiation(site.now);
    assert_eq!(site.open(&initiation, device.address), None);
    site.run(secs(1));
    assert_eq!(site.sent, []);
}

#[test]
fn p5_8_in_the_batch_of_its_end_a_peer_gets_its_last_word_and_no_handshake() {
    let (mut site, mut device, _) = two();
    device.receive(&mut site);
    device.received.clear();
    let initiation = {
        site.after(millis(25));
        device.initiation(site.now)
    };
    let (address, reset) = (device.address, packet(flow("198.18.0.1:53", "198.19.0.1:5000")));
    site.batch(|gate, wire| {
        gate.handle_frame(ToGateway::List(List { live: vec![] }), wire);
        while let Some(output) = gate.poll() {
            if let Output::Cut { peer, .. } = output {
                gate.datapath.seal_own(peer, &reset, wire);
            }
        }
        let mut buffer = [0; 2_048];
        assert_eq!(gate.datapath.open(&initiation, address, &mut buffer, wire), Opened::Nothing);
    });
    let sent = site.sent_to(device.address);
    assert_eq!(
        sent.len(),
        4,
        "two notices and two resets: {:?}",
        sent.iter().map(Vec::len).collect::<Vec<_>>()
    );
    assert!(sent.iter().all(|datagram| datagram[0] == 4), "data, and no answer to the handshake");
    assert_eq!(site.gate.datapath.tunnel.peers().count(), 0);
}

#[test]
fn p5_8_whoever_comes_in_the_batch_in_which_the_last_lease_ends_is_let_in() {
    // The same session with the same key or a new one, or another session with the key that has become free.
    for (session, key) in [(1, 1), (1, 77), (2, 1)] {
        let (mut site, ..) = two();
        let mut device = Device::new(session);
        device.restart(key, site.now);
        let draft = Draft::new(&site, &device, 3);
        let frames: [ToGateway; 2] = [
            Floor { sid: SessionId([1; 16]), epoch: Epoch(2), keep: vec![], reason: DenyReason::Revoked }
                .into(),
            Offered { lease: with_epoch(draft, &site, 2), carriers: vec![] }.into(),
        ];
        site.batch(|gate, wire| frames.into_iter().for_each(|frame| gate.handle_frame(frame, wire)));
        assert_eq!(site.leases().len(), 1, "{session} {key}: {:?}", site.told);
        assert_eq!(site.gate.datapath.tunnel.peers().count(), 1, "{session} {key}");
        let came = device.send(&mut site, to_app(5_000, 3));
        assert_eq!(came, Came::Through(site.leases()[0]), "{session} {key}");
        assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Denied(DenyReason::NoRule));
    }
}

fn with_epoch(mut draft: Draft, site: &Site, epoch: u64) -> String {
    draft.lease.epoch = Epoch(epoch);
    draft.text(site)
}
