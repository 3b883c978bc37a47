//! Whose word counts, and for what.

use ztna_api::gateway::{Floor, LeaseError, Renewed};
use ztna_model::{DenyReason, Epoch, Holder};

use super::changes::*;
use super::draft::Draft;
use super::refusals::check;
use super::site::{Device, Site, TTL};
use LeaseError::*;

#[test]
fn p5_3_nothing_is_taken_from_a_broker_that_has_not_said_who_it_is() {
    let mut site = Site::unwelcomed(10);
    let draft = Draft::new(&site, &Device::new(1), 1);
    assert_eq!(site.offer(&draft), Err(BadSignature));
}

#[test]
fn p1_2_keys_that_the_root_did_not_sign_leave_those_in_place_that_it_did() {
    let mut site = Site::new();
    let (other, seq) = (Site::new().broker.root, site.broker.seq);
    // Another root, and an older set of the same one.
    let ours = std::mem::replace(&mut site.broker.root, other);
    site.welcome();
    site.broker.root = ours;
    site.broker.seq = 0;
    site.welcome();
    assert_eq!(site.refused_keys, 2);
    site.broker.seq = seq;
    let draft = Draft::new(&site, &Device::new(1), 1);
    assert_eq!(site.offer(&draft), Ok(()));
}

#[test]
fn p1_2_a_key_that_has_left_the_set_signs_no_more() {
    let mut site = Site::new();
    let gone = std::mem::replace(&mut site.broker.lease_key, some_key());
    site.broker.seq += 1;
    site.welcome();
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    assert_eq!(site.offer(&draft), Ok(()));
    draft.lease.at += 1;
    draft.signer = Some(gone);
    assert_eq!(site.offer(&draft), Err(BadSignature));
}

#[test]
fn p1_1_b04_another_organisation_s_ids_open_nothing() {
    let mut site = Site::new();
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    draft.lease.org = "https://other.example".parse().unwrap();
    restate(&mut draft, elsewhere);
    assert_eq!(site.offer(&draft), Err(WrongOrg), "a lease of another organisation, sound in itself");
    draft.lease.org = "https://acme.example".parse().unwrap();
    assert_eq!(site.offer(&draft), Err(BadStatement), "with a statement made to another organisation");
}

#[test]
fn c02_a_lease_that_was_changed_or_meant_for_somebody_else() {
    check(&[
        ("for another WireGuard key", |_, draft| another_key(draft), Err(BadStatement)),
        (
            "of a lower epoch",
            |site, draft| (site.floor(1, 5), draft.lease.epoch = Epoch(4)).1,
            Err(BelowFloor),
        ),
        ("with an edited ttl", |_, draft| draft.edit = longer_ttl, Err(BadSignature)),
        ("for another gateway", |_, draft| draft.lease.gw = "gw-2".parse().unwrap(), Err(WrongGateway)),
    ]);
}

#[test]
fn c02_a_statement_that_was_believed_once_is_believed_for_the_same_words_alone() {
    let mut site = Site::new();
    let device = Device::new(1);
    let draft = Draft::new(&site, &device, 1);
    site.offer(&draft).unwrap();
    let mut second = Draft::new(&site, &device, 2);
    second.lease.holder = draft.lease.holder.clone();
    assert_eq!(site.offer(&second), Ok(()));
    let mut third = Draft::new(&site, &device, 3);
    third.put_statement("not a statement".into());
    assert_eq!(site.offer(&third), Err(BadStatement));
    // The same words, said to be another device key's.
    third.lease.holder = draft.lease.holder.clone();
    third.lease.jkt.0 = [0; 32];
    assert_eq!(site.offer(&third), Err(BadStatement));
    // And in another session.
    let mut fourth = Draft::new(&site, &imposter(2, 9), 4);
    let Holder::Tunnel { statement, .. } = &draft.lease.holder;
    fourth.put_statement(statement.clone());
    assert_eq!(site.offer(&fourth), Err(BadStatement));
}

#[test]
fn p5_4_a_renewal_that_comes_too_late_brings_nothing_back() {
    let mut site = Site::new();
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    site.offer(&draft).unwrap();
    site.after(TTL);
    site.told.clear();
    draft.lease.at = site.now.as_millis();
    let text = draft.text(&site);
    site.hear(Renewed { leases: vec![text.clone()] });
    assert_eq!((site.leases(), site.told.len()), (vec![], 0));
    site.hear(Floor { sid: draft.lease.sid, epoch: Epoch(1), keep: vec![text], reason: DenyReason::Revoked });
    assert_eq!(site.leases(), []);
}

#[test]
fn f03_a_thousand_texts_that_cannot_be_read_bring_no_thousand_answers() {
    let mut site = Site::new();
    site.hear(Renewed { leases: vec![String::new(); 1_000] });
    assert_eq!(site.told, []);
    assert_eq!(site.gate.declined()[&BadSignature], 1_000);
}
