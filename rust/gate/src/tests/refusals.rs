//! What must hold before a lease is taken. A row changes one thing about a sound lease, or about the gateway it comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use ztna_api::gateway::{Declined, FromGateway, LeaseError};
use ztna_api::statement::Body;
use ztna_model::{RunId, SessionId, secs};

use super::again::AGAIN;
use super::changes::*;
use super::draft::{Draft, named};
use super::site::{Device, Site, TTL};
use LeaseError::*;

/// What is changed, and what the gate says to that.
pub(super) type Row = (&'static str, Change, Result<(), LeaseError>);

type Change = fn(&mut Site, &mut Draft);

pub(super) fn check(rows: &[Row]) {
    for (name, change, expected) in rows {
        let mut site = Site::with_room_for(3);
        let mut draft = Draft::new(&site, &Device::new(1), 1);
        change(&mut site, &mut draft);
        let before = (site.leases(), site.gate.datapath.tunnel.peers().count());
        assert_eq!(site.offer(&draft), *expected, "{name}");
        if expected.is_err() {
            let after = (site.leases(), site.gate.datapath.tunnel.peers().count());
            assert_eq!(before, after, "{name}: what is refused leaves no trace");
        }
    }
}

const SIGNATURE: &[Row] = &[
    ("nothing", |_, _| {}, Ok(())),
    ("signed by the next lease key", |site, draft| sign_with_next(site, draft), Ok(())),
    ("signed by nobody known", |_, draft| draft.signer = Some(some_key()), Err(BadSignature)),
    ("signed by the audit key", |site, draft| sign_with_audit_key(site, draft), Err(BadSignature)),
    ("kid of another key", |site, draft| draft.header.kid = Some(audit_kid(site)), Err(BadSignature)),
    ("of another type", |_, draft| draft.typ = "openztna-device+jws", Err(BadSignature)),
    ("no type of ours", |_, draft| draft.typ = "JWT", Err(BadSignature)),
    ("an edited ttl", |_, draft| draft.edit = longer_ttl, Err(BadSignature)),
    ("claims in clear", |_, draft| draft.edit = unsigned, Err(BadSignature)),
    ("no signature", |_, draft| draft.edit = cut_signature, Err(BadSignature)),
    ("another's signature", |_, draft| draft.edit = flipped_signature, Err(BadSignature)),
    ("no text at all", |_, draft| draft.edit = |_| String::new(), Err(BadSignature)),
    (
        "more than a lease can be",
        |_, draft| draft.edit = |text| text + &"A".repeat(32 * 1024),
        Err(BadSignature),
    ),
    (
        "a restriction that is not understood",
        |_, draft| draft.header.crit = vec!["geo".into()],
        Err(UnknownCritical),
    ),
];

#[test]
fn p5_3_signed_by_a_lease_key_of_the_root_with_typ_and_crit() {
    check(SIGNATURE);
}

const ADDRESSEE: &[Row] = &[
    (
        "another organisation",
        |_, draft| draft.lease.org = "https://other.example".parse().unwrap(),
        Err(WrongOrg),
    ),
    ("another gateway", |_, draft| draft.lease.gw = "gw-2".parse().unwrap(), Err(WrongGateway)),
    ("another run", |_, draft| draft.lease.run = RunId([9; 16]), Err(WrongRun)),
    ("another life of the store", |_, draft| draft.lease.incarnation.0 = [9; 16], Err(WrongIncarnation)),
];

#[test]
fn p5_3_org_gateway_run_and_incarnation_are_its_own() {
    check(ADDRESSEE);
}

const TIME: &[Row] = &[
    ("begins now", |site, draft| draft.lease.at = site.now.as_millis(), Ok(())),
    ("begins in a moment", |site, draft| draft.lease.at = site.now.as_millis() + 1, Err(NotYet)),
    ("begins at the end of time", |_, draft| draft.lease.at = u64::MAX, Err(NotYet)),
    ("the longest", |_, draft| draft.lease.ttl = 300_000, Ok(())),
    ("longer than the longest", |_, draft| draft.lease.ttl = 300_001, Err(TooLong)),
    ("for ever", |_, draft| draft.lease.ttl = u64::MAX, Err(TooLong)),
    ("old and for ever", |_, draft| (draft.lease.at, draft.lease.ttl) = (0, u64::MAX), Err(TooLong)),
    ("at its last moment", |site, _| site.after(TTL - Duration::from_nanos(1)), Ok(())),
    ("over", |site, _| site.after(TTL), Err(Expired)),
    ("over for long", |site, _| site.after(secs(100_000)), Err(Expired)),
    ("without a life", |_, draft| draft.lease.ttl = 0, Err(Expired)),
    ("from the beginning of time", |_, draft| draft.lease.at = 0, Err(Expired)),
    ("from before the clock jumped", |site, _| site.jump(), Err(Expired)),
    (
        "from before the clock jumped a while ago",
        |site, _| (site.jump(), site.after(secs(30))).1,
        Err(Expired),
    ),
    ("from the beat that followed", |site, draft| beat_after_jump(site, draft), Ok(())),
];

#[test]
fn p5_3_begun_and_not_over() {
    check(TIME);
}

#[test]
fn p5_3_at_the_end_of_time_nothing_is_taken() {
    let mut site = Site::new();
    site.now = ztna_model::Time::MAX;
    site.after(secs(1));
    for (at, ttl) in [(u64::MAX, 300_000), (site.now.as_millis(), 300_000), (u64::MAX, 0)] {
        let mut draft = Draft::new(&site, &Device::new(1), 1);
        (draft.lease.at, draft.lease.ttl) = (at, ttl);
        assert_eq!(site.offer(&draft), Err(Expired), "{at} {ttl}");
    }
}

const FLOOR: &[Row] = &[
    ("at the floor", |site, _| site.floor(1, 1), Ok(())),
    ("below the floor", |site, _| site.floor(1, 2), Err(BelowFloor)),
    ("below another session's floor", |site, _| site.floor(2, 2), Ok(())),
    ("below, a long while after", |site, draft| late_after_floor(site, draft, 299_999), Err(BelowFloor)),
    ("below, when nothing is left of before", |site, draft| late_after_floor(site, draft, 300_000), Ok(())),
];

#[test]
fn p5_3_the_epoch_reaches_the_floor_of_the_session() {
    check(FLOOR);
}

const KEY: &[Row] = &[
    ("the session's own key, for another lease", |site, _| take(site, &Device::new(1), 2), Ok(())),
    ("another session's key", |site, _| take(site, &imposter(2, 1), 2), Err(KeyTaken)),
    ("another session's key, with one of its own", |site, _| two_keys(site), Err(KeyTaken)),
    ("a second key", |site, _| take(site, &imposter(1, 77), 2), Err(SecondKey)),
    ("a key that was another session's", |site, _| take_and_lose(site, &imposter(2, 1)), Ok(())),
    ("a second key, when the first is gone", |site, _| take_and_lose(site, &imposter(1, 77)), Ok(())),
];

#[test]
fn p5_3_the_wireguard_key_is_free_or_the_session_s() {
    check(KEY);
}

const STATEMENT: &[Row] = &[
    ("made by another device key", |_, draft| draft.state(&Device::new(1).key), Err(BadStatement)),
    ("made by a key that is not named", |_, draft| draft.lease.jkt.0 = [0; 32], Err(BadStatement)),
    ("made to another organisation", |_, draft| restate(draft, elsewhere), Err(BadStatement)),
    (
        "made in another session",
        |_, draft| restate(draft, |stated| stated.sid = SessionId([2; 16])),
        Err(BadStatement),
    ),
    ("about another key", |_, draft| restate(draft, about_another_key), Err(BadStatement)),
    (
        "about facts",
        |_, draft| restate(draft, |stated| stated.body = Body::Facts { readings: vec![] }),
        Err(BadStatement),
    ),
    (
        "about presence",
        |_, draft| restate(draft, |stated| stated.body = Body::Presence {}),
        Err(BadStatement),
    ),
    ("about another device", |_, draft| restate(draft, confirmation), Err(BadStatement)),
    ("no statement", |_, draft| draft.put_statement(String::new()), Err(BadStatement)),
    ("a lease in its place", |site, draft| draft.put_statement(draft.text(site)), Err(BadStatement)),
    ("about the gateway's own key", |site, draft| own_key(site, draft), Err(BadStatement)),
    ("about a key that shares no secret", |_, draft| zero_key(draft), Err(BadStatement)),
];

#[test]
fn p5_3_the_statement_fits_device_key_organisation_and_session() {
    check(STATEMENT);
}

const TARGET: &[Row] = &[
    ("an address in reach", |_, draft| aim(draft, "10.9.8.7:80"), Ok(())),
    ("an address out of reach", |_, draft| aim(draft, "192.168.1.1:80"), Err(OutOfReach)),
    ("a prefix in reach", |_, draft| cover(draft, "10.1.0.0/16"), Ok(())),
    ("a prefix out of reach", |_, draft| cover(draft, "11.0.0.0/8"), Err(OutOfReach)),
    ("a prefix half in reach", |_, draft| cover(draft, "8.0.0.0/5"), Err(OutOfReach)),
    ("this machine", |_, draft| aim(draft, "127.0.0.1:80"), Err(ForbiddenTarget)),
    ("this machine, as it is named", |_, draft| aim(draft, "127.0.0.1:8080"), Ok(())),
    ("this machine, on ports that are not named", |_, draft| cover(draft, "127.0.0.1"), Err(ForbiddenTarget)),
    ("this machine's prefix", |_, draft| cover(draft, "127.0.0.0/8"), Err(ForbiddenTarget)),
    ("a metadata service", |_, draft| aim(draft, "169.254.169.254:80"), Err(ForbiddenTarget)),
    ("a metadata service, as a prefix", |_, draft| cover(draft, "169.254.169.254"), Err(ForbiddenTarget)),
    ("a stand-in", |_, draft| aim(draft, "198.18.0.9:80"), Err(ForbiddenTarget)),
    ("a mapped address", |_, draft| aim(draft, "[::ffff:10.0.0.1]:80"), Err(ForbiddenTarget)),
    ("everything", |_, draft| cover(draft, "0.0.0.0/0"), Err(ForbiddenTarget)),
];

#[test]
fn p5_3_e02_e03_the_target_is_in_reach_and_not_forbidden() {
    check(TARGET);
}

const STAND_IN: &[Row] = &[
    ("of the same name's other lease", |site, draft| same_name(site, draft), Ok(())),
    ("another session's", |site, draft| stand_in_of(site, draft, 2), Ok(())),
    ("another name's in this session", |site, draft| stand_in_of(site, draft, 1), Err(BadSynthetic)),
    ("another name's that is gone", |site, draft| stand_in_of_the_gone(site, draft), Ok(())),
    ("the device's own address", |_, draft| put_stand_in(draft, device_pair()), Err(BadSynthetic)),
    ("of two minds", |_, draft| put_stand_in(draft, mixed_pair()), Err(BadSynthetic)),
];

#[test]
fn p5_3_the_stand_in_is_in_range_and_nobody_else_s() {
    check(STAND_IN);
}

const CAPS: &[Row] = &[
    ("one less than the most", |site, _| fill(site, 2), Ok(())),
    ("one more than the most", |site, _| fill(site, 3), Err(TooMany)),
];

#[test]
fn p5_3_there_is_a_cap() {
    check(CAPS);
}

#[test]
fn p5_3_every_refusal_has_a_row() {
    let tables = [SIGNATURE, ADDRESSEE, TIME, FLOOR, KEY, STATEMENT, TARGET, STAND_IN, CAPS, AGAIN];
    let found: BTreeSet<LeaseError> =
        tables.concat().iter().filter_map(|(_, _, expected)| expected.err()).collect();
    assert_eq!(found, LeaseError::ALL.iter().copied().collect());
}

/// Two things are wrong, and the one that is checked first is named.
#[test]
fn p5_3_the_order_of_checks() {
    let order: &[(LeaseError, Change)] = &[
        (BadSignature, |_, draft| draft.edit = flipped_signature),
        (WrongOrg, |_, draft| draft.lease.org = "https://other.example".parse().unwrap()),
        (WrongGateway, |_, draft| draft.lease.gw = "gw-2".parse().unwrap()),
        (WrongRun, |_, draft| draft.lease.run = RunId([9; 16])),
        (WrongIncarnation, |_, draft| draft.lease.incarnation.0 = [9; 16]),
        (NotYet, |site, draft| draft.lease.at = site.now.as_millis() + 1),
        (TooLong, |_, draft| draft.lease.ttl = 300_001),
        (Expired, |site, _| (site.jump(), site.after(secs(1))).1),
        (BelowFloor, |site, _| site.floor(1, 2)),
        (KeyTaken, |site, _| take(site, &imposter(2, 1), 2)),
        (BadStatement, |_, draft| draft.put_statement(String::new())),
        (OutOfReach, |_, draft| aim(draft, "192.168.1.1:80")),
        (BadSynthetic, |_, draft| put_stand_in(draft, mixed_pair())),
        (TooMany, |site, _| fill(site, 3 - site.leases().len())),
    ];
    for (at, (first, change_first)) in order.iter().enumerate() {
        for (second, change_second) in &order[at + 1..] {
            let mut site = Site::with_room_for(3);
            let mut draft = Draft::new(&site, &Device::new(1), 1);
            if *second == TooMany {
                change_first(&mut site, &mut draft);
                change_second(&mut site, &mut draft);
            } else {
                change_second(&mut site, &mut draft);
                change_first(&mut site, &mut draft);
            }
            assert_eq!(site.offer(&draft), Err(*first), "{first:?} with {second:?}");
        }
    }
}

#[test]
fn p5_3_a_refusal_is_told_by_name_and_counted() {
    let mut site = Site::new();
    let mut draft = Draft::new(&site, &Device::new(1), 1);
    draft.lease.ttl = u64::MAX;
    for _ in 0..3 {
        site.told.clear();
        assert_eq!(site.offer(&draft), Err(TooLong));
        let lease = Some(draft.lease.id);
        assert_eq!(site.told, [FromGateway::Declined(Declined { lease, code: TooLong })]);
    }
    // Whoever wrote what cannot be verified, its id means nothing.
    draft.edit = flipped_signature;
    site.told.clear();
    assert_eq!(site.offer(&draft), Err(BadSignature));
    assert_eq!(site.told, [FromGateway::Declined(Declined { lease: None, code: BadSignature })]);
    let counted: Vec<_> = site.gate.declined().iter().map(|(code, times)| (*code, *times)).collect();
    assert_eq!(counted, [(BadSignature, 1), (TooLong, 3)]);
}

#[test]
fn p5_3_no_session_has_more_than_its_share() {
    let mut site = Site::with_room_for(10_000);
    let (one, other) = (Device::new(1), Device::new(2));
    let statement = Draft::new(&site, &one, 0);
    let lease = |site: &mut Site, number: u16| {
        let mut draft = Draft::new(site, &one, 0);
        let [high, low] = number.to_be_bytes();
        draft.lease.id.0[2..4].copy_from_slice(&[high, low]);
        draft.lease.holder = statement.lease.holder.clone();
        draft.lease.rule.covers = named(&format!("n{number}.demo"), number);
        site.offer(&draft)
    };
    for number in 0..1_024 {
        assert_eq!(lease(&mut site, number), Ok(()), "{number}");
    }
    assert_eq!(lease(&mut site, 1_024), Err(TooMany));
    let draft = Draft::new(&site, &other, 1);
    assert_eq!(site.offer(&draft), Ok(()));
}
