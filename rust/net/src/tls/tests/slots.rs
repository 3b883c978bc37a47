use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::fs::{FileError, write_private};
use crate::testing::TempDir;

#[tokio::test]
async fn a_new_certificate_is_presented_from_the_next_connection_on() {
    let root = Authority::root("root");
    let (first, second) = (
        root.identity(server(&["acme.example"]), &[&root]),
        root.identity(server(&["acme.example"]), &[&root]),
    );
    let slot = IdentitySlot::new(first);
    let served = server_config(Arc::clone(&slot), Alpn::Http1).unwrap();
    let client = pinned(root.pin());
    let presented = async || {
        connection(Arc::clone(&client), Arc::clone(&served), "acme.example")
            .await
            .client
            .unwrap()
            .certificates
    };
    let before = presented().await;
    assert_eq!(presented().await, before);
    slot.replace(second);
    let after = presented().await;
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

#[test]
fn a_certificate_is_renewed_in_the_middle_of_its_life() {
    let mut leaf = server(&["acme.example"]);
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 1, 3));
    let identity = Authority::root("root").identity(leaf, &[]);
    assert_eq!(identity.half_life(), identity.not_before() + DAY);
    assert_eq!(identity.not_after(), identity.not_before() + 2 * DAY);
}

#[test]
fn a_certificate_and_its_key_from_files() {
    let root = Authority::root("root");
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = server(&["acme.example"]).signed_by(&key, &root.0).unwrap();
    let dir = TempDir::new();
    let (chain_path, key_path) = (dir.path("chain.pem"), dir.path("key.pem"));
    write(&chain_path, format!("{}{}", certificate.pem(), root.0.pem())).unwrap();
    write_private(&key_path, key.serialize_pem().as_bytes()).unwrap();
    let load = || Identity::from_pem_files(&chain_path, &key_path);
    load().unwrap();

    set_permissions(&key_path, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(load(), Err(IdentityError::Key(FileError::Exposed { .. }))));
    write_private(&key_path, other.serialize_pem().as_bytes()).unwrap();
    assert!(matches!(load(), Err(IdentityError::Mismatch)));
    write_private(&key_path, b"no key").unwrap();
    assert!(matches!(load(), Err(IdentityError::UnreadableKey)));
    write(&chain_path, "").unwrap();
    write_private(&key_path, key.serialize_pem().as_bytes()).unwrap();
    assert!(matches!(load(), Err(IdentityError::NoCertificate)));
    std::fs::remove_file(&chain_path).unwrap();
    assert!(matches!(load(), Err(IdentityError::Chain { .. })));
}

#[test]
fn g03_a_private_key_does_not_print() {
    let root = Authority::root("root");
    let identity = root.identity(server(&["acme.example"]), &[&root]);
    let printed = format!("{identity:?} {:?}", IdentitySlot::new(identity.clone()));
    assert!(!printed.contains("key"), "{printed}");
}
