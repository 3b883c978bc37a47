//! Fresh keys for this crate's tests.

use ztna_net::keys::{Ed25519Key, P256Key};

pub(crate) fn p256_key() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

pub(crate) fn ed25519_key() -> Ed25519Key {
    Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap()
}
