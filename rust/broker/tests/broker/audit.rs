//! The audit log outside the store: followed, compared with what was signed, exported, forgotten.

use std::sync::Arc;

use ztna_broker::audit::{self, HeadError, Log, SignedHead, VerifyError, write_line};
use ztna_broker::store::sqlite::{Options, Sqlite};
use ztna_broker::store::{AuditRow, Change, Edit, Line, Store};
use ztna_model::{OrgId, PublicKey, Signer as _, WallTime, secs};
use ztna_net::keys::Ed25519Key;
use ztna_pdp::audit::{Broken, Chain, Head};

use crate::dir::TempDir;

const NOW: WallTime = WallTime::from_secs(1_800_000_000);

struct World {
    _dir: TempDir,
    store: Arc<dyn Store>,
    org: OrgId,
    key: Ed25519Key,
    keys: [PublicKey; 1],
}

impl World {
    /// A log of `rows` rows, one a second.
    async fn new(rows: u64) -> Self {
        let dir = TempDir::new();
        let options = Options { writer: "broker-1".into(), patience: secs(5) };
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir.path("store"), options).await.unwrap());
        let key = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let keys = [key.public_key()];
        let org: OrgId = "https://acme.example".parse().unwrap();
        let record = |n: u64| format!(r#"{{"at":{},"event":"e{n}"}}"#, n * 1_000);
        let audit = (1..=rows).map(|n| Line { record: record(n), personal: vec![] }).collect();
        store.write_one(&org, Change { audit, ..Change::default() }).await.unwrap().unwrap();
        Self { _dir: dir, store, org, key, keys }
    }

    fn log(&self) -> Log<'_> {
        Log { org: &self.org, writer: "broker-1", keys: &self.keys }
    }

    async fn rows(&self) -> Vec<AuditRow> {
        self.store.audit(&self.org, "broker-1", 0, u32::MAX).await.unwrap()
    }

    fn sign(&self, head: Head) -> String {
        SignedHead::sign(self.log(), head, NOW, &self.key).unwrap()
    }

    async fn head_after(&self, number: usize) -> Head {
        let row = self.rows().await.remove(number - 1).sealed;
        Head { length: row.number, hash: row.hash }
    }

    async fn verify(&self, witness: Option<&str>) -> Result<u64, VerifyError> {
        audit::verify(&*self.store, self.log(), witness).await.map(|head| head.length)
    }
}

#[tokio::test]
async fn h05_an_exported_log_shows_an_edit_a_gap_and_a_cut() {
    let world = World::new(5).await;
    let lines: Vec<_> = world.rows().await.iter().map(write_line).collect();
    let head = format!(r#"{{"head":"{}"}}"#, world.sign(world.head_after(5).await));
    let verify =
        |lines: &[String]| audit::verify_export(&lines.join("\n"), world.log(), None).map(|head| head.length);
    let whole = [lines.clone(), vec![head.clone()]].concat();
    assert_eq!(verify(&whole), Ok(5));
    assert_eq!(verify(&lines), Err(VerifyError::Unsigned));
    let edited: Vec<_> = whole.iter().map(|line| line.replace("e3", "e4")).collect();
    assert_eq!(verify(&edited), Err(VerifyError::Broken(Broken::Changed { number: 3 })));
    let gap: Vec<_> = whole.iter().filter(|line| !line.contains("e3")).cloned().collect();
    assert_eq!(verify(&gap), Err(VerifyError::Broken(Broken::Gap { expected: 3, found: 4 })));
    let cut = [lines[..3].to_vec(), vec![head.clone()]].concat();
    assert_eq!(verify(&cut), Err(VerifyError::CutOff { found: 3, signed: 5 }));
    let garbled: Vec<_> = whole.iter().map(|line| line.replace("\"number\":2", "\"number\":x")).collect();
    assert!(matches!(verify(&garbled), Err(VerifyError::Unreadable { number: 2, .. })));
    let forged = [lines, vec![head.replace("eyJ", "eyK")]].concat();
    assert!(matches!(verify(&forged), Err(VerifyError::BadHead(_))));
}

#[tokio::test]
async fn h05_a_witness_finds_a_history_written_anew() {
    let world = World::new(5).await;
    let witness = world.sign(world.head_after(3).await);
    assert_eq!(world.verify(Some(&witness)).await, Ok(5));
    let other = World::new(0).await;
    let mut chain = Chain::new(&world.org, "broker-1");
    let anew: Vec<_> = (1..=5)
        .map(|n| AuditRow { sealed: chain.push(format!(r#"{{"at":{n}}}"#)), personal: vec![] })
        .collect();
    let lines = anew.iter().map(write_line).collect::<Vec<_>>().join("\n");
    let unsigned = audit::verify_export(&lines, world.log(), None);
    assert_eq!(unsigned, Err(VerifyError::Unsigned), "the chain itself holds");
    let found = audit::verify_export(&lines, world.log(), Some(&witness));
    assert_eq!(found, Err(VerifyError::Rewritten(3)));
    let elsewhere = Log { writer: "broker-2", ..world.log() };
    let found = audit::verify_export(&lines, elsewhere, Some(&witness));
    assert_eq!(found, Err(VerifyError::BadHead(HeadError::Elsewhere)));
    let found = audit::verify_export(&lines, Log { keys: &other.keys, ..world.log() }, Some(&witness));
    assert!(matches!(found, Err(VerifyError::BadHead(HeadError::Unsound(_)))));
    let late = world.sign(Head { length: 9, hash: [0; 32] });
    assert_eq!(world.verify(Some(&late)).await, Err(VerifyError::CutOff { found: 5, signed: 9 }));
}

#[tokio::test]
async fn h05_rows_that_were_taken_out_do_not_pass_for_forgotten() {
    let world = World::new(5).await;
    let rows: Vec<_> = world.rows().await.iter().map(write_line).collect();
    let head = format!(r#"{{"head":"{}"}}"#, world.sign(world.head_after(5).await));
    let earlier = world.sign(world.head_after(3).await); // as gateways and exports have it
    let with = |before: &[String], start: &str| {
        let start = format!(r#"{{"start":"{start}"}}"#);
        let lines = [before, &[start], &rows[3..], std::slice::from_ref(&head)].concat();
        audit::verify_export(&lines.join("\n"), world.log(), None).map(|head| head.length)
    };
    assert!(matches!(with(&[], &earlier), Err(VerifyError::BadHead(HeadError::Unsound(_)))));
    assert!(with(&rows[..1], &earlier).is_err());
    let old = WallTime::from_secs(4);
    audit::forget_before(&*world.store, world.log(), old, NOW, &world.key).await.unwrap();
    let start = world.store.find(&world.org, "audit-starts", "broker-1").await.unwrap().unwrap().text;
    assert_eq!(with(&[], &start), Ok(5));
    assert_eq!(with(&rows[..1], &start), Err(VerifyError::Misplaced(2)));

    let edits = vec![Edit::Put { table: "audit-starts", key: "broker-1".into(), text: earlier, until: None }];
    world.store.write_one(&world.org, Change { edits, ..Change::default() }).await.unwrap().unwrap();
    assert!(matches!(world.verify(None).await, Err(VerifyError::BadHead(_))), "nor in the store");
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_the_rest_still_verifies() {
    let world = World::new(5).await;
    let witness = world.sign(world.head_after(2).await);
    let forget =
        |secs| audit::forget_before(&*world.store, world.log(), WallTime::from_secs(secs), NOW, &world.key);
    assert_eq!(forget(1).await, Ok(0));
    assert_eq!(forget(4).await, Ok(3));
    assert_eq!(forget(4).await, Ok(0));
    assert_eq!(world.verify(None).await, Ok(5));
    assert_eq!(world.verify(Some(&witness)).await, Ok(5), "what the witness saw is forgotten");
    assert_eq!(forget(1_000).await, Ok(2));
    assert_eq!(world.verify(None).await, Ok(5));
    let audit = vec![Line { record: "{}".into(), personal: vec![] }];
    world.store.write_one(&world.org, Change { audit, ..Change::default() }).await.unwrap().unwrap();
    assert_eq!(world.verify(None).await, Ok(6));

    // Whoever removes rows by hand has no key to sign the new beginning with.
    let edits = vec![Edit::Put {
        table: "audit-starts",
        key: "broker-1".into(),
        text: World::new(1).await.sign(Head { length: 5, hash: [0; 32] }),
        until: None,
    }];
    world.store.write_one(&world.org, Change { edits, ..Change::default() }).await.unwrap().unwrap();
    assert!(matches!(world.verify(None).await, Err(VerifyError::BadHead(_))));
}
