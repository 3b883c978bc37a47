use tokio::task::JoinSet;
use ztna_broker::store::{Claim, Expected, Refusal};
use ztna_net::random::SystemRandom;
use ztna_pdp::audit::{By, Chain, Entry, Event, Personal, Record};
use ztna_pdp::rows::Write;
use ztna_pdp::{Batch, BatchId, ClaimKind, NotCommitted};

use super::*;

pub(super) async fn what_is_written_is_read_back(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let outcome = store.write_one(&acme(), edits(vec![put("a", "1"), put("b", "2"), put("a", "3")])).await;
    assert_eq!(outcome, Ok(Ok(())));
    assert_eq!(things(&*store, &acme()).await, ["a=3", "b=2"]);
    drop(store);
    let store = kept.open().await;
    let found = store.find(&acme(), "things", "a").await.unwrap().unwrap();
    assert_eq!((found.text.as_str(), found.version), ("3", 2));
    assert_eq!(store.find(&acme(), "other", "a").await, Ok(None));
    let delete = Edit::Delete { table: "things", key: "a".into() };
    store.write_one(&acme(), edits(vec![delete])).await.unwrap().unwrap();
    assert_eq!(things(&*store, &acme()).await, ["b=2"]);
}

pub(super) async fn a_change_is_made_wholly_or_not_at_all(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let claim = |id: &str| Claim { kind: "test", id: id.into(), until: later() };
    let change = |ids: &[&str], key: &str| Change {
        claims: ids.iter().map(|id| claim(id)).collect(),
        expects: vec![],
        edits: vec![put(key, "1")],
        audit: vec![line(key)],
    };
    let outcomes = store
        .write(&acme(), vec![change(&["1"], "a"), change(&["2", "1"], "b"), change(&["2"], "c")])
        .await
        .unwrap();
    assert_eq!(outcomes, [Ok(()), Err(Refusal::Claimed(1)), Ok(())]);
    assert_eq!(things(&*store, &acme()).await, ["a=1", "c=1"]);
    assert_eq!(verified(&*store, "broker-1").await, ["a", "c"]);
}

pub(super) async fn b01_a_hundred_claim_and_one_gets_it(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let mut claims = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&store);
        claims.spawn(async move { store.claim_once(&acme(), "enrolment", "token".into(), later()).await });
    }
    let winners = claims.join_all().await.into_iter().filter(|won| *won == Ok(true)).count();
    assert_eq!(winners, 1);
    assert_eq!(store.claim_once(&acme(), "other", "token".into(), later()).await, Ok(true));
}

pub(super) async fn b04_organisations_do_not_see_each_other(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let other: OrgId = "https://other.example".parse().unwrap();
    let change = Change { edits: vec![put("a", "1")], audit: vec![line("a")], ..Change::default() };
    store.write_one(&acme(), change).await.unwrap().unwrap();
    assert_eq!(store.claim_once(&acme(), "test", "1".into(), later()).await, Ok(true));
    assert_eq!(store.find(&other, "things", "a").await, Ok(None));
    assert_eq!(things(&*store, &other).await, [""; 0]);
    assert_eq!(store.chains(&other).await, Ok(vec![]));
    assert_eq!(store.audit(&other, "broker-1", 0, 10).await, Ok(vec![]));
    assert_eq!(store.claim_once(&other, "test", "1".into(), later()).await, Ok(true));
    let delete = Edit::Delete { table: "things", key: "a".into() };
    let forget = Edit::Forget { writer: "broker-1".into(), up_to: 9 };
    store.write_one(&other, edits(vec![delete, forget])).await.unwrap().unwrap();
    assert_eq!(things(&*store, &acme()).await, ["a=1"]);
    let batch = Batch { org: other, ..batch(1, vec![]) };
    assert_eq!(store.commit(&acme(), &[batch]).await, [Err(NotCommitted::StoreDown)]);
}

pub(super) async fn a_document_changes_only_as_it_was_read(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let change = |version, text| Change {
        expects: vec![Expected { table: "things", key: "a".into(), version }],
        ..edits(vec![put("a", text)])
    };
    let rows = [
        (change(Some(1), "0"), Err(Refusal::Overtaken)),
        (change(None, "1"), Ok(())),
        (change(None, "2"), Err(Refusal::Overtaken)),
        (change(Some(1), "3"), Ok(())),
        (change(Some(1), "4"), Err(Refusal::Overtaken)),
    ];
    for (change, expected) in rows {
        assert_eq!(store.write_one(&acme(), change).await, Ok(expected));
    }
    assert_eq!(things(&*store, &acme()).await, ["a=3"]);
}

pub(super) async fn h05_the_chain_goes_on_over_restarts_and_between_writers(open: Open) {
    let kept = Kept::new(open);
    let (first, second) = (kept.open().await, kept.open().await);
    for (number, store) in [&first, &second, &first, &second].into_iter().enumerate() {
        store.write_one(&acme(), lines(&[&number.to_string(), "x"])).await.unwrap().unwrap();
    }
    drop((first, second));
    let store = kept.open().await;
    store.write_one(&acme(), lines(&["4"])).await.unwrap().unwrap();
    assert_eq!(verified(&*store, "broker-1").await, ["0", "x", "1", "x", "2", "x", "3", "x", "4"]);
    let chains = store.chains(&acme()).await.unwrap();
    assert_eq!(chains.len(), 1);
    assert_eq!((chains[0].0.as_str(), chains[0].1.length), (store.writer(), 9));
    let page = store.audit(&acme(), "broker-1", 3, 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.sealed.number).collect::<Vec<_>>(), [4, 5]);
}

pub(super) async fn the_log_can_be_forgotten_and_erased_and_still_verifies(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let personal = vec![Personal::new("ana@acme.example", &mut SystemRandom::new())];
    let named = Change { audit: vec![Line { record: "1".into(), personal }], ..Change::default() };
    store.write(&acme(), vec![named, lines(&["2", "3"])]).await.unwrap();
    let erase = Edit::Erase { writer: "broker-1".into(), number: 1, left: vec![] };
    let org = acme();
    let read = |after| store.audit(&org, "broker-1", after, 10);
    assert_eq!(read(0).await.unwrap()[0].personal.len(), 1);
    store.write_one(&acme(), edits(vec![erase])).await.unwrap().unwrap();
    assert_eq!(read(0).await.unwrap()[0].personal, []);
    assert_eq!(verified(&*store, "broker-1").await, ["1", "2", "3"]);

    let two = read(0).await.unwrap()[1].sealed.clone();
    let head = ztna_pdp::audit::Head { length: two.number, hash: two.hash };
    let forget = |up_to| edits(vec![Edit::Forget { writer: "broker-1".into(), up_to }]);
    store.write_one(&acme(), forget(2)).await.unwrap().unwrap();
    store.write_one(&acme(), forget(9)).await.unwrap().unwrap(); // the last one stays
    store.write_one(&acme(), lines(&["4"])).await.unwrap().unwrap();
    let left = read(0).await.unwrap();
    assert_eq!(left.iter().map(|row| row.sealed.number).collect::<Vec<_>>(), [3, 4]);
    Chain::from_head(head).verify(left.iter().map(|row| &row.sealed)).unwrap();
}

pub(super) async fn batches_of_one_commit_fare_alone(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let claim = ztna_pdp::Claim { kind: ClaimKind::Jti, id: "1".into(), until: later() };
    let batches = [batch(1, vec![claim.clone()]), batch(2, vec![claim.clone()]), batch(3, vec![])];
    let outcomes = store.commit(&acme(), &batches).await;
    assert_eq!(outcomes, [Ok(()), Err(NotCommitted::AlreadyClaimed(claim)), Ok(())]);
    assert_eq!(verified(&*store, "broker-1").await.len(), 2);
    drop(store);
    let rows = kept.open().await.load(&acme()).await.unwrap();
    assert_eq!(rows.groups.keys().map(ToString::to_string).collect::<Vec<_>>(), ["g1", "g3"]);
    assert_eq!(kept.open().await.incarnation(&acme()).await, Ok(None));
}

pub(super) async fn a_copy_holds_what_was_kept_at_its_moment(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let change = Change { edits: vec![put("a", "1")], audit: vec![line("a")], ..Change::default() };
    store.write_one(&acme(), change).await.unwrap().unwrap();
    let copy = kept.dir.path("copy");
    store.back_up(&copy).await.unwrap();
    store.write_one(&acme(), edits(vec![put("a", "2")])).await.unwrap().unwrap();
    assert!(store.back_up(&copy).await.is_err(), "a copy is never written over");
    let copied = open(&copy).await;
    assert_eq!(things(&*copied, &acme()).await, ["a=1"]);
    assert_eq!(verified(&*copied, "broker-1").await, ["a"]);
    assert_eq!(things(&*store, &acme()).await, ["a=2"]);
}

pub(super) async fn what_may_be_forgotten_is_not_in_the_way(open: Open) {
    let kept = Kept::new(open);
    let store = kept.open().await;
    let long_ago = WallTime::from_secs(1_000);
    assert_eq!(store.claim_once(&acme(), "test", "1".into(), long_ago).await, Ok(true));
    let fleeting = Edit::Put { table: "things", key: "a".into(), text: "1".into(), until: Some(long_ago) };
    store.write_one(&acme(), edits(vec![fleeting, put("b", "1")])).await.unwrap().unwrap();
    let store = kept.open().await; // sweeps when it first writes
    assert_eq!(store.claim_once(&acme(), "test", "1".into(), later()).await, Ok(true));
    assert_eq!(things(&*store, &acme()).await, ["b=1"]);
}

/// A batch that makes group `gN` and says so.
fn batch(number: u64, claims: Vec<ztna_pdp::Claim>) -> Batch {
    let group = ztna_api::admin::Group {
        id: format!("g{number}").parse().unwrap(),
        title: "Group".into(),
        claims: Default::default(),
    };
    let event = Event::Administered { op: "group-put".into(), about: Some(group.id.to_string()) };
    let record = Record { at: WallTime::from_secs(number), by: By::Local { uid: 0 }, event };
    Batch {
        org: acme(),
        id: BatchId(number),
        claims,
        writes: vec![Write::put(group)],
        audit: vec![Entry { record, personal: vec![] }],
        urgent: false,
    }
}
