//! When the broker hears of this gateway: beats (5.1) and renewals (5.4).

use std::time::Duration;

use ztna_api::gateway::{BeatPlease, FromGateway, Offered, Renew, Renewed};
use ztna_model::{DenyReason, LeaseId, Time, millis, secs};

use super::draft::{Draft, named};
use super::site::{Came, Device, RUN, START, Site, TTL, flow, to_app};

/// When renewals were asked for, and which.
pub(super) fn asked(site: &Site) -> Vec<(Duration, Vec<LeaseId>)> {
    let renew = |frame: &FromGateway| {
        let FromGateway::Renew(Renew { beat, leases }) = frame else { return None };
        Some((Time::from_millis(beat.now).since(START), leases.clone()))
    };
    site.told.iter().filter_map(renew).collect()
}

fn asked_at(site: &Site) -> Vec<Duration> {
    asked(site).into_iter().map(|(at, _)| at).collect()
}

pub(super) fn beats(site: &Site) -> usize {
    site.told.iter().filter(|frame| matches!(frame, FromGateway::Beat(_))).count()
}

/// A device with a lease whose flow lives.
fn one() -> (Site, Device, Draft) {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut Draft)) -> (Site, Device, Draft) {
    let mut site = Site::new();
    let mut device = Device::new(1);
    let mut draft = Draft::new(&site, &device, 1);
    change(&mut draft);
    site.offer(&draft).unwrap();
    assert_eq!(device.send(&mut site, to_app(5_000, 1)), Came::Through(draft.lease.id));
    site.told.clear();
    (site, device, draft)
}

/// Signs the lease anew by the site's clock.
fn renew(site: &mut Site, draft: &mut Draft) {
    draft.lease.at = site.now.as_millis();
    let text = draft.text(site);
    site.hear(Renewed { leases: vec![text] });
}

#[test]
fn p5_1_a_gateway_beats_at_connect_and_on_request() {
    let mut site = Site::unwelcomed(10);
    site.run(secs(100));
    assert_eq!(site.told, [], "nobody is there to hear it");
    site.welcome();
    let beat =
        |site: &Site| FromGateway::Beat(ztna_api::gateway::Beat { run: RUN, now: site.now.as_millis() });
    assert_eq!(site.told, [beat(&site)]);
    site.told.clear();
    site.after(millis(700));
    site.hear(BeatPlease {});
    assert_eq!(site.told, [beat(&site)]);
}

#[test]
fn p5_1_beats_come_every_20_s_or_six_in_the_shortest_lease_s_life() {
    let rows =
        [(300_000, 20_000), (120_000, 20_000), (119_994, 19_999), (30_000, 5_000), (10_000, 1_666), (6, 100)];
    for (ttl, every) in rows {
        let mut site = Site::new();
        let mut draft = Draft::new(&site, &Device::new(1), 1);
        draft.lease.ttl = ttl;
        site.offer(&draft).unwrap();
        site.told.clear();
        let first = site.gate.next_wake().unwrap().since(site.now).min(millis(every));
        site.run(first.max(millis(every)) + millis(1));
        assert!(beats(&site) >= 1, "{ttl}: the first beat comes after {every} ms");
        if ttl > 60_000 {
            site.run(millis(3 * every) - millis(1));
            assert_eq!(beats(&site), 4, "{ttl}: beats come every {every} ms");
        }
    }
}

#[test]
fn p5_1_when_the_shortest_lease_is_over_beats_are_slow_again() {
    let mut site = Site::new();
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    draft.lease.ttl = 6_000;
    site.offer(&draft).unwrap();
    site.run(secs(7));
    site.told.clear();
    site.run(secs(100));
    assert_eq!(beats(&site), 5);
}

#[test]
fn p5_1_a_request_for_renewal_bears_a_beat() {
    let (mut site, ..) = one();
    site.run(secs(60) + millis(1));
    let [FromGateway::Renew(renew)] =
        &site.told.iter().filter(|frame| frame.kind() == "renew").cloned().collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", site.told)
    };
    assert_eq!((renew.beat.run, renew.beat.now), (RUN, (START + secs(60)).as_millis()));
}

#[test]
fn p5_4_renewals_are_asked_for_at_half_life_all_together() {
    let mut site = Site::new();
    let mut devices = [Device::new(1), Device::new(2)];
    let mut all = Vec::new();
    for device in &mut devices {
        for app in [1, 2] {
            site.after(millis(10));
            let draft = Draft::new(&site, device, app);
            site.offer(&draft).unwrap();
            device.send(&mut site, to_app(5_000, app));
            all.push(draft.lease.id);
        }
    }
    site.run(secs(59));
    assert_eq!(asked(&site), []);
    site.run(secs(2));
    assert_eq!(asked(&site), [(millis(60_100), all)]);
}

#[test]
fn p5_4_requests_are_of_a_size_whose_answer_holds_nothing_up() {
    let mut site = Site::with_room_for(1_000);
    let device = Device::new(1);
    let statement = Draft::new(&site, &device, 0);
    for number in 0..70 {
        let mut draft = Draft::new(&site, &device, number);
        draft.lease.holder = statement.lease.holder.clone();
        site.offer(&draft).unwrap();
    }
    site.run(secs(61));
    let sizes: Vec<usize> = asked(&site).iter().map(|(_, leases)| leases.len()).collect();
    assert_eq!(sizes, [32, 32, 6]);
}

#[test]
fn p5_4_of_very_many_leases_that_are_due_together_packets_wait_for_a_few_at_a_time() {
    let mut site = Site::with_room_for(1_000);
    let device = Device::new(1);
    let statement = Draft::new(&site, &device, 0);
    for number in 0..600_u16 {
        let mut draft = Draft::new(&site, &device, 0);
        draft.lease.id.0[2..4].copy_from_slice(&number.to_be_bytes());
        draft.lease.rule.covers = named(&format!("n{number}.demo"), number);
        draft.lease.holder = statement.lease.holder.clone();
        site.offer(&draft).unwrap();
    }
    site.told.clear();
    for expected in [256, 256, 88, 0] {
        let before: usize = asked(&site).iter().map(|(_, leases)| leases.len()).sum();
        site.now = START + secs(61);
        site.after(secs(0));
        let asked: Vec<LeaseId> = asked(&site).into_iter().flat_map(|(_, leases)| leases).collect();
        assert_eq!(asked.len() - before, expected);
        assert_eq!(site.gate.next_wake().is_some_and(|wake| wake <= site.now), asked.len() < 600);
        assert!(asked.is_sorted(), "each is asked for once");
    }
}

#[test]
fn p5_4_what_is_renewed_is_asked_for_again_at_its_next_half_life() {
    let (mut site, mut device, mut draft) = one();
    for round in 1..5 {
        site.run(secs(60) + millis(101));
        assert_eq!(asked_at(&site).len(), round);
        renew(&mut site, &mut draft);
        device.send(&mut site, to_app(5_000, 1));
    }
    assert_eq!(site.ended(), []);
}

#[test]
fn p5_4_a_device_that_sends_nothing_is_not_renewed_for() {
    let (mut site, mut device, draft) = with(|draft| draft.lease.limits.silence = 30_000);
    site.run(secs(119));
    assert_eq!(asked(&site), []);
    site.run(secs(1));
    assert_eq!(site.ended(), [(draft.lease.id, DenyReason::Silent)]);
    assert_eq!(site.cuts[0].flows, [to_app(5_000, 1)]);
    let notice = format!(r#"{{"lease":"{}","reason":"silent"}}"#, draft.lease.id);
    assert_eq!(device.notices(&mut site), [notice]);
}

#[test]
fn p5_4_a_device_that_speaks_again_in_time_is_renewed_for() {
    let (mut site, mut device, _) = with(|draft| draft.lease.limits.silence = 30_000);
    site.run(secs(80));
    assert_eq!(asked(&site), []);
    device.send(&mut site, to_app(5_000, 1));
    site.run(millis(1_200));
    assert_eq!(asked(&site).len(), 1);
}

#[test]
fn p5_4_neither_keepalives_nor_what_is_denied_nor_what_comes_back_count_as_speaking() {
    let (mut site, mut device, draft) = with(|draft| draft.lease.limits.silence = 30_000);
    let peer = site.gate.leases().next().unwrap().peer;
    for _ in 0..11 {
        site.run(secs(10));
        let keepalive = device.keepalive(site.now);
        assert_eq!(site.open(&keepalive, device.address), None);
        let denied = device.send(&mut site, flow("198.19.0.1:5000", "198.18.0.1:54"));
        assert_eq!(denied, Came::Denied(DenyReason::NoRule));
        let back = super::site::packet(to_app(5_000, 1).reversed());
        site.batch(|gate, wire| gate.datapath.seal_for(peer, &back, wire));
    }
    site.run(secs(10));
    assert_eq!(asked(&site), []);
    assert_eq!(site.ended(), [(draft.lease.id, DenyReason::Silent)]);
}

#[test]
fn p5_4_a_request_that_nobody_answers_is_made_again_while_there_is_time() {
    let (mut site, mut device, draft) = one();
    for _ in 0..13 {
        site.run(secs(10));
        device.send(&mut site, to_app(5_000, 1));
    }
    assert_eq!(asked_at(&site), [secs(60), secs(90), secs(105)]);
    // It was asked for and not given: that the device has sent nothing lately is not why.
    assert_eq!(site.ended(), [(draft.lease.id, DenyReason::LeaseExpired)]);
}

#[test]
fn p5_4_on_a_new_stream_what_was_asked_for_on_the_old_one_is_asked_for_again() {
    let (mut site, device, asked_for) = one();
    site.after(secs(30));
    let young = Draft::new(&site, &device, 2);
    site.offer(&young).unwrap();
    site.run(secs(35));
    assert_eq!(asked_at(&site), [secs(60)]);
    site.told.clear();
    site.welcome();
    site.run(millis(1));
    assert_eq!(asked(&site), [(secs(65), vec![asked_for.lease.id])]);
}

#[test]
fn p5_4_the_same_offer_again_is_held_again() {
    let (mut site, _, draft) = one();
    for _ in 0..2 {
        assert_eq!(site.offer(&draft), Ok(()), "the answer may have been lost with the stream");
    }
    assert_eq!(site.leases(), [draft.lease.id]);
}

#[test]
fn p5_4_a_broker_that_signs_on_an_old_beat_is_not_asked_without_end() {
    let (mut site, mut device, draft) = one();
    let text = draft.text(&site);
    site.run(secs(59));
    device.send(&mut site, to_app(5_000, 1));
    site.told.clear();
    for _ in 0..100 {
        site.run(millis(10));
        site.hear(Renewed { leases: vec![text.clone()] });
    }
    site.run(secs(1));
    assert!(asked(&site).len() <= 11, "{}", asked(&site).len());
    assert_eq!(site.gate.leases().next().unwrap().lease.deadline(), START + TTL);
}

#[test]
fn p5_1_nothing_but_a_later_signature_lengthens_a_lease() {
    let (mut site, mut device, mut draft) = one();
    let deadline = |site: &Site| site.gate.datapath.table.next_deadline();
    assert_eq!(deadline(&site), Some(START + TTL));
    site.run(secs(30));
    device.send(&mut site, to_app(5_000, 1));
    site.welcome();
    site.hear(BeatPlease {});
    site.hear(Offered { lease: draft.text(&site), carriers: vec![] });
    assert_eq!(deadline(&site), Some(START + TTL), "an answer that was long on its way");
    renew(&mut site, &mut draft);
    assert_eq!(deadline(&site), Some(START + secs(30) + TTL));
    draft.lease.ttl = 20_000;
    renew(&mut site, &mut draft);
    assert_eq!(deadline(&site), Some(START + secs(50)), "it may come earlier");
    site.run(secs(20));
    assert_eq!(site.leases(), []);
}
