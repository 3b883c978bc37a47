//! The organisation's keys on the disk, and what they make.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use ztna_api::keyset::{KeySet, KeySetError, KeyState, KeyUse};
use ztna_broker::keys::{GatewayRequest, KeyRing, KeysError};
use ztna_model::{Incarnation, OrgId, WallTime, base64url, secs};
use ztna_net::clock::Clock;
use ztna_net::fs::FileError;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, IdentitySlot, Trust, check_gateway_chain};

use crate::dir::TempDir;

const DAY: u64 = 24 * 3600;

fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

fn open(dir: &Path) -> Result<KeyRing, KeysError> {
    KeyRing::open(dir, &org(), Clock.wall())
}

#[test]
fn keys_are_made_once_and_nobody_else_may_read_them() {
    let dir = TempDir::new();
    let path = dir.path("keys");
    std::fs::create_dir(dir.path("keys.new")).unwrap(); // a first start that was cut off
    let first = open(&path).unwrap();
    let again = open(&path).unwrap();
    assert_eq!((first.root(), first.signed_set()), (again.root(), again.signed_set()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
    assert!(!dir.path("keys.new").exists());
}

#[test]
fn the_root_vouches_for_every_key() {
    let dir = TempDir::new();
    let ring = open(&dir.path("keys")).unwrap();
    let set = KeySet::verify(ring.signed_set(), &org(), &ring.root(), 0).unwrap();
    assert_eq!(set.seq, 1);
    for usage in [KeyUse::Lease, KeyUse::GatewayCa, KeyUse::OpenId, KeyUse::Audit] {
        assert_eq!(set.of(usage).count(), 1, "{usage:?}");
    }
    let has = |usage, key: ztna_model::PublicKey| set.of(usage).any(|known| known.jwk == key);
    assert!(has(KeyUse::Lease, ring.lease().unwrap().public_key()));
    assert!(has(KeyUse::OpenId, ring.openid().public_key()));
    assert!(has(KeyUse::Audit, ring.audit().public_key()));
}

#[test]
fn without_the_root_all_goes_on_but_a_change_of_keys() {
    let dir = TempDir::new();
    let keys = dir.path("keys");
    let ring = open(&keys).unwrap();
    assert!(ring.has_root());
    std::fs::rename(keys.join("root.key"), dir.path("vault")).unwrap();
    assert!(!open(&keys).unwrap().has_root());

    std::fs::copy(keys.join("audit.key"), keys.join("lease.next.key")).unwrap();
    assert!(matches!(open(&keys), Err(KeysError::RootNeeded(_))));
    std::fs::rename(dir.path("vault"), keys.join("root.key")).unwrap();
    let ring = open(&keys).unwrap();
    assert_eq!(ring.set().seq, 2);
    let states: Vec<_> = ring.set().of(KeyUse::Lease).map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Current, KeyState::Next]);
    assert_eq!(ring.next(KeyUse::Lease), [ring.audit().public_key()]);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let dir = TempDir::new();
    let keys = dir.path("keys");
    open(&keys).unwrap();
    let spoil = |name: &str, text: &str| {
        let path = keys.join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        let error = open(&keys).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        std::fs::write(&path, good).unwrap();
        error
    };
    let other = std::fs::read_to_string(keys.join("lease.key")).unwrap();
    for name in ["openid.key", "tls-ca.key", "root.key"] {
        assert!(matches!(spoil(name, &other), KeysError::Key { .. }), "{name}");
    }
    for name in ["lease.key", "store.key", "master.key"] {
        assert!(matches!(spoil(name, "x"), KeysError::Key { .. }), "{name}");
    }
    assert!(matches!(spoil("keys.jws", "x"), KeysError::Set { .. }));
    std::fs::remove_file(keys.join("lease.key")).unwrap();
    assert!(matches!(open(&keys), Err(KeysError::File(FileError::Missing { .. }))));
    std::fs::write(keys.join("lease.key"), other).unwrap();
    std::fs::set_permissions(keys.join("lease.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let elsewhere = "https://other.example".parse().unwrap();
    let error = KeyRing::open(&keys, &elsewhere, Clock.wall()).unwrap_err();
    assert!(matches!(error, KeysError::Set { cause: KeySetError::WrongOrg, .. }));
}

#[test]
fn a_restore_voids_what_was_made_with_a_secret() {
    let dir = TempDir::new();
    let ring = open(&dir.path("keys")).unwrap();
    let (one, two) = (Incarnation([1; 16]), Incarnation([2; 16]));
    let nonce = ring.secret("nonce", one);
    assert_eq!(nonce, ring.secret("nonce", one));
    assert_ne!(nonce, ring.secret("nonce", two));
    assert_ne!(nonce, ring.secret("openid", one));
    assert_ne!(nonce, open(&TempDir::new().path("keys")).unwrap().secret("nonce", one));
}

#[test]
fn a_gateway_s_certificate_holds_what_the_broker_says_and_not_what_it_asked_for() {
    let dir = TempDir::new();
    let (ring, random, now) = (open(&dir.path("keys")).unwrap(), &mut SystemRandom::new(), Clock.wall());
    let key = KeyPair::generate().unwrap();
    let asked = CertificateParams::new(["acme.example".to_owned()]).unwrap().serialize_request(&key).unwrap();
    let request = GatewayRequest::from_der(asked.der()).unwrap();
    let name: tls::GatewayName = "spiffe://acme.example/gateway/berlin-1".parse().unwrap();
    let leaf = ring.gateway_ca().gateway(&name, &request, now, random).unwrap();

    let certificate = ring.set().of(KeyUse::GatewayCa).next().unwrap().certificate.as_ref().unwrap();
    let authority = base64url::decode(certificate).unwrap();
    let check = |authority: &[u8], org: &OrgId, now| {
        check_gateway_chain(&[leaf.to_vec()], authority, org, now).map(|peer| peer.name)
    };
    assert_eq!(check(&authority, &org(), now).unwrap(), name);
    assert!(check(&authority, &"https://other.example".parse().unwrap(), now).is_err());
    assert!(check(&authority, &org(), now + secs(DAY + 1)).is_err(), "24 hours and no more");
    assert!(check(&authority, &org(), now - secs(3600)).is_err());
    let tls_ca = ring.tls_ca().certificate().unwrap();
    assert!(check(tls_ca, &org(), now).is_err(), "the authorities are apart");
    let bytes = leaf.to_vec();
    assert!(!bytes.windows(5).any(|text| text == b".acme" || text == b"DNS:a"));
}

#[tokio::test]
async fn f01_a_client_that_pins_the_root_takes_the_broker_for_what_it_is() {
    let dir = TempDir::new();
    let ring = open(&dir.path("keys")).unwrap();
    let names = ["acme.example", "127.0.0.1", "::1"].map(|name| name.parse().unwrap());
    let identity = ring.tls_ca().server(&names, Clock.wall(), &mut SystemRandom::new()).unwrap();
    let days = identity.half_life().since(Clock.wall()).as_secs() / DAY;
    assert!((2..7).contains(&days), "{days}");
    let serving = tls::server_config(IdentitySlot::new(identity), Alpn::Http).unwrap();
    let rows = [
        (ring.root(), "https://acme.example", true),
        (ring.root(), "https://127.0.0.1:4433", true),
        (ring.root(), "https://[::1]:4433", true),
        (ring.root(), "https://other.example", false),
        (open(&TempDir::new().path("keys")).unwrap().root(), "https://acme.example", false),
    ];
    for (pin, org, expected) in rows {
        let client = tls::client_config(&Trust::Pinned(pin), None, Alpn::Http1).unwrap();
        let name = tls::server_name(&org.parse().unwrap()).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (seen, _) = tokio::join!(
            tls::connect(near, name, client, secs(5)),
            tls::accept(far, Arc::clone(&serving), secs(5))
        );
        assert_eq!(seen.is_ok(), expected, "{org}: {:?}", seen.err());
    }
}

#[test]
fn certificates_last_until_their_keys_are_changed() {
    let dir = TempDir::new();
    let long_ago = WallTime::from_secs(1_700_000_000);
    KeyRing::open(&dir.path("keys"), &org(), long_ago).unwrap();
    assert!(open(&dir.path("keys")).is_ok());
}
