//! A provider, its people, and requests that are right but for one thing.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use openidconnect::url::form_urlencoded;
use ztna_model::{OrgId, Secret, Signer as _, WallTime};
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;

use crate::openid::account::{Account, Email, Subject};
use crate::openid::browser::BrowserId;
use crate::openid::client::Client;
use crate::openid::keys::SigningKeys;
use crate::openid::password::PasswordHash;
use crate::openid::provider::{Provider, Setup};

pub(super) const ORG: &str = "https://acme.example";
pub(super) const ISSUER: &str = "https://acme.example/openid";
pub(super) const BACK: &str = "http://127.0.0.1:7777/back";
pub(super) const PASSWORD: &str = "correct horse battery";
/// RFC 7636, appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(super) const NOW: WallTime = WallTime::from_secs(1_800_000_000);

pub(super) fn org() -> OrgId {
    ORG.parse().unwrap()
}

pub(super) fn random() -> SystemRandom {
    SystemRandom::new()
}

pub(super) fn key() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

pub(super) fn client() -> Client {
    let rules =
        ["http://127.0.0.1/back", "http://[::1]/back", "https://acme.example/back", "com.example.app:/back"];
    Client::new("openztna", rules.map(|rule| rule.parse().unwrap()).to_vec())
}

pub(super) fn provider() -> Provider {
    named("ACME Industries")
}

/// The provider of an organisation with this title.
pub(super) fn named(title: &str) -> Provider {
    let keys = SigningKeys::new(Arc::new(key()), &[key().public_key()]).unwrap();
    let secret = Secret::new([7; 32]);
    let (_, title) = tokio::sync::watch::channel(title.to_owned());
    Provider::new(Setup { org: org(), title, client: client(), keys, secret }).unwrap()
}

/// A browser that came before.
pub(super) fn browser() -> BrowserId {
    BrowserId::random(&mut random())
}

/// Ana, whose password nobody can know.
pub(super) fn ana() -> Account {
    Account {
        subject: Subject::random(&mut random()),
        name: "ana".parse().unwrap(),
        password: PasswordHash::decoy(&mut random()),
        display_name: "Ana <b>Lima</b>".into(),
        email: Some(Email { address: "ana@acme.example".into(), verified: true }),
        groups: vec!["staff".parse().unwrap(), "finance".parse().unwrap()],
        disabled: false,
        not_before: WallTime::EPOCH,
    }
}

/// Ana with [`PASSWORD`], hashed at a price for tests.
pub(super) fn ana_with_password() -> Account {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let hash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), &[5; 16]).unwrap();
    Account { password: hash.to_string().parse().unwrap(), ..ana() }
}

/// The parameters of a request that is granted.
pub(super) fn good_request() -> Vec<(&'static str, &'static str)> {
    vec![
        ("client_id", "openztna"),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid profile email groups offline_access"),
        ("state", "state-1"),
        ("nonce", "nonce-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

pub(super) fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// `fields` with some set to other values (added if absent), or taken out.
pub(super) fn with<'a>(
    fields: &[(&'a str, &'a str)],
    changes: &[(&'a str, Option<&'a str>)],
) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().copied().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let set = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    kept.chain(set).collect()
}

/// The value of a parameter in an address's query.
pub(super) fn parameter(address: &str, name: &str) -> Option<String> {
    let query = address.split_once('?')?.1;
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let value = values.next()?.1.into_owned();
    assert!(values.next().is_none(), "{name} twice in {address}");
    Some(value)
}
