//! What every store promises, checked on each implementation alike.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use ztna_broker::store::sqlite::{Options, Sqlite};
use ztna_broker::store::{Change, Edit, Line, Store};
use ztna_model::{OrgId, WallTime, minutes, secs};
use ztna_net::clock::Clock;

use crate::dir::TempDir;

mod crash; // a writer that is killed
mod files; // what is special about a file
mod suite; // the promises

/// Opens the store at a place, of whatever kind; what was kept there is there again.
type Open = fn(&Path) -> Pin<Box<dyn Future<Output = Arc<dyn Store>> + '_>>;

/// Runs every promise on one kind of store. Another database adds one line to `promises!`.
macro_rules! promises {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::suite::$name(super::open_sqlite).await;
            })*
        }
    };
}

promises! {
    what_is_written_is_read_back,
    a_change_is_made_wholly_or_not_at_all,
    b01_a_hundred_claim_and_one_gets_it,
    b04_organisations_do_not_see_each_other,
    a_document_changes_only_as_it_was_read,
    h05_the_chain_goes_on_over_restarts_and_between_writers,
    the_log_can_be_forgotten_and_erased_and_still_verifies,
    batches_of_one_commit_fare_alone,
    a_copy_holds_what_was_kept_at_its_moment,
    what_may_be_forgotten_is_not_in_the_way,
}

fn open_sqlite(path: &Path) -> Pin<Box<dyn Future<Output = Arc<dyn Store>> + '_>> {
    Box::pin(async move { Arc::new(sqlite(path).await) as Arc<dyn Store> })
}

async fn sqlite(path: &Path) -> Sqlite {
    let options = Options { writer: "broker-1".into(), patience: secs(5) };
    Sqlite::open(path, options).await.unwrap()
}

fn acme() -> OrgId {
    "https://acme.example".parse().unwrap()
}

fn later() -> WallTime {
    Clock.wall() + minutes(5)
}

fn put(key: &str, text: &str) -> Edit {
    Edit::Put { table: "things", key: key.into(), text: text.into(), until: None }
}

fn edits(edits: Vec<Edit>) -> Change {
    Change { edits, ..Change::default() }
}

fn line(record: &str) -> Line {
    Line { record: record.into(), personal: vec![] }
}

fn lines(records: &[&str]) -> Change {
    Change { audit: records.iter().map(|record| line(record)).collect(), ..Change::default() }
}

/// Follows the whole chain of `writer` and returns its records.
async fn verified(store: &dyn Store, writer: &str) -> Vec<String> {
    let rows = store.audit(&acme(), writer, 0, u32::MAX).await.unwrap();
    let chain = ztna_pdp::audit::Chain::new(&acme(), writer);
    chain.verify(rows.iter().map(|row| &row.sealed)).unwrap();
    rows.into_iter().map(|row| row.sealed.record).collect()
}

/// The documents of `things` as `key=text`.
async fn things(store: &dyn Store, org: &OrgId) -> Vec<String> {
    let documents = store.documents(org, &["things"]).await.unwrap();
    documents.into_iter().map(|document| format!("{}={}", document.key, document.text)).collect()
}

struct Kept {
    dir: TempDir,
    open: Open,
}

impl Kept {
    fn new(open: Open) -> Self {
        Self { dir: TempDir::new(), open }
    }

    async fn open(&self) -> Arc<dyn Store> {
        (self.open)(&self.dir.path("store")).await
    }
}
