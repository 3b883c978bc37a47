use std::os::unix::fs::PermissionsExt as _;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use ztna_broker::store::Down;
use ztna_broker::store::sqlite::OpenError;
use ztna_model::millis;

use super::*;

#[tokio::test]
async fn g03_no_file_of_it_can_be_read_by_others() {
    let dir = TempDir::new();
    let store = sqlite(&dir.path("store")).await;
    store.write(&acme(), vec![edits(vec![put("a", "1")])]).await.unwrap();
    store.back_up(&dir.path("copy")).await.unwrap();
    let mut names = vec![];
    for entry in std::fs::read_dir(dir.root()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["copy", "store", "store-shm", "store-wal"]);
    std::os::unix::fs::symlink(dir.path("elsewhere"), dir.path("link")).unwrap();
    assert!(store.back_up(&dir.path("link")).await.is_err(), "a copy is never written through a link");
    assert!(!dir.path("elsewhere").exists());
    std::fs::set_permissions(dir.path("copy"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let options = Options { writer: "broker-1".into(), patience: secs(5) };
    assert!(matches!(Sqlite::open(&dir.path("copy"), options).await, Err(OpenError::File(_))));
}

#[tokio::test]
async fn while_another_process_has_the_file_nothing_is_written_and_afterwards_it_is() {
    let dir = TempDir::new();
    let path = dir.path("store");
    let options = Options { writer: "broker-1".into(), patience: millis(50) };
    let store = Sqlite::open(&path, options).await.unwrap();
    store.write(&acme(), vec![edits(vec![put("a", "1")])]).await.unwrap();

    let other = SqliteConnectOptions::new().filename(&path);
    let mut other = SqliteConnection::connect_with(&other).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let refused = store.write(&acme(), vec![edits(vec![put("a", "2")]), lines(&["x"])]).await;
    assert!(matches!(refused, Err(Down(_))), "{refused:?}");
    assert_eq!(things(&store, &acme()).await, ["a=1"], "reading goes on");
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();

    store.write(&acme(), vec![edits(vec![put("a", "3")]), lines(&["y"])]).await.unwrap();
    assert_eq!(things(&store, &acme()).await, ["a=3"]);
    assert_eq!(verified(&store, "broker-1").await, ["y"]);
    store.close().await;
}
