//! Accounts of the broker's own provider, as the store keeps them.

use std::sync::Arc;

use ztna_broker::accounts::{AccountBook, AccountError};
use ztna_broker::openid::{Account, Accounts as _, Grants as _, StoreError, Subject, hash_password};
use ztna_broker::store::sqlite::{Options, Sqlite};
use ztna_broker::store::{Store, StoreKey};
use ztna_model::{OrgId, Secret, WallTime, secs};
use ztna_net::random::SystemRandom;
use ztna_pdp::audit::By;

use crate::dir::TempDir;

const NOW: WallTime = WallTime::from_secs(1_800_000_000);
const BY: By = By::Local { uid: 0 };

async fn book(dir: &TempDir, key: u8) -> (AccountBook, Arc<dyn Store>) {
    let options = Options { writer: "broker-1".into(), patience: secs(5) };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir.path("store"), options).await.unwrap());
    (AccountBook::new(Arc::clone(&store), StoreKey::new(Secret::new([key; 32]))), store)
}

fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

fn account(name: &str) -> Account {
    let random = &mut SystemRandom::new();
    Account {
        subject: Subject::random(random),
        name: name.parse().unwrap(),
        password: hash_password(&Secret::new("correct horse battery".into()), random).unwrap(),
        display_name: "Ana".into(),
        email: None,
        groups: vec![],
        disabled: false,
        not_before: WallTime::EPOCH,
    }
}

#[tokio::test]
async fn an_account_is_added_found_changed_and_removed() {
    let dir = TempDir::new();
    let (book, store) = book(&dir, 1).await;
    let ana = account("ana");
    book.add(&org(), &ana, BY, NOW).await.unwrap();
    let again = book.add(&org(), &account("ana"), BY, NOW).await;
    assert_eq!(again, Err(AccountError::Exists(ana.name.clone())));
    assert_eq!(book.named(&org(), &ana.name).await, Ok(Some(ana.clone())));
    assert_eq!(book.of(&org(), &ana.subject).await, Ok(Some(ana.clone())));
    assert_eq!(book.named(&org(), &"bob".parse().unwrap()).await, Ok(None));
    let other = "https://other.example".parse().unwrap();
    assert_eq!(book.named(&other, &ana.name).await, Ok(None));

    let changed = book.change(&org(), &ana.name, "account-disable", BY, NOW, |ana| ana.disabled = true).await;
    assert!(changed.unwrap().disabled);
    assert_eq!(book.list(&org()).await.unwrap().len(), 1);
    book.remove(&org(), &ana.name, BY, NOW).await.unwrap();
    assert_eq!(book.remove(&org(), &ana.name, BY, NOW).await, Err(AccountError::Unknown(ana.name.clone())));
    assert_eq!(book.list(&org()).await, Ok(vec![]));

    let log = store.audit(&org(), "broker-1", 0, 10).await.unwrap();
    let records: Vec<_> = log.iter().map(|row| row.sealed.record.as_str()).collect();
    for (record, op) in records.iter().zip(["account-add", "account-disable", "account-remove"]) {
        assert!(record.contains(op), "{record}");
    }
    assert_eq!(records.len(), 3, "what was refused changed nothing: {records:?}");
}

#[tokio::test]
async fn c01_nothing_of_an_account_can_be_read_or_moved_in_the_file() {
    let dir = TempDir::new();
    let (book, store) = book(&dir, 1).await;
    let (ana, mallory) = (account("ana"), account("mallory"));
    book.add(&org(), &ana, BY, NOW).await.unwrap();
    book.add(&org(), &mallory, BY, NOW).await.unwrap();
    let documents = store.documents(&org(), &["accounts", "account-names"]).await.unwrap();
    assert_eq!(documents.len(), 4);
    assert!(documents.iter().all(|document| !document.text.contains(['{', '$'])));

    let (other, _) = self::book(&dir, 2).await;
    assert!(matches!(other.named(&org(), &ana.name).await, Err(StoreError(_))));
    let mallorys = store.find(&org(), "accounts", mallory.subject.as_str()).await.unwrap().unwrap();
    let (table, key) = ("accounts", ana.subject.as_str().to_owned());
    let edits = vec![ztna_broker::store::Edit::Put { table, key, text: mallorys.text, until: None }];
    let change = ztna_broker::store::Change { edits, ..Default::default() };
    store.write_one(&org(), change).await.unwrap().unwrap();
    assert!(matches!(book.named(&org(), &ana.name).await, Err(StoreError(_))));
}

#[tokio::test]
async fn g03_the_log_names_people_by_commitment() {
    let dir = TempDir::new();
    let (book, store) = book(&dir, 1).await;
    let ana = account("ana");
    let event = ztna_broker::openid::Event::Refused { subject: Some(ana.subject.clone()) };
    book.note(&org(), event, NOW).await.unwrap();
    let row = store.audit(&org(), "broker-1", 0, 10).await.unwrap().remove(0);
    assert!(row.sealed.record.contains("provider-refused"), "{}", row.sealed.record);
    assert!(!row.sealed.record.contains(ana.subject.as_str()));
    assert!(row.sealed.record.contains(&row.personal[0].commitment().to_string()));
}
