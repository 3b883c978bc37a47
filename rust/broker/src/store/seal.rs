use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ztna_api::key::sha256_list;
use ztna_model::{OrgId, Random, Secret, base64url};

/// The key outside the store that seals what in it only the broker may read: accounts and sign-ins.
#[derive(Clone, Debug)]
pub struct StoreKey(Secret<[u8; 32]>);

impl StoreKey {
    /// Seals with `key`, which must be used for nothing else.
    pub const fn new(key: Secret<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Seals `text`, to stand under `key` of `table` and nowhere else.
    pub fn seal(&self, place: Place<'_>, text: &str, random: &mut dyn Random) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut bytes = text.as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key()?.seal_in_place_append_tag(unique, place.aad(), &mut bytes).ok()?;
        Some(base64url::encode([&nonce, bytes.as_slice()].concat()))
    }

    /// What was sealed to stand there.
    pub fn open(&self, place: Place<'_>, sealed: &str) -> Option<Secret<String>> {
        let bytes = base64url::decode(sealed)?;
        let (nonce, bytes) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut bytes) = (Nonce::assume_unique_for_key(*nonce), bytes.to_vec());
        let plain = self.key()?.open_in_place(nonce, place.aad(), &mut bytes).ok()?;
        String::from_utf8(plain.to_vec()).ok().map(Secret::new)
    }

    fn key(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, self.0.expose()).ok().map(LessSafeKey::new)
    }
}

/// Where a sealed text stands; moved elsewhere, it does not open.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The organisation.
    pub org: &'a OrgId,
    /// The table.
    pub table: &'a str,
    /// The key.
    pub key: &'a str,
}

impl Place<'_> {
    fn aad(&self) -> Aad<[u8; 32]> {
        let Self { org, table, key } = self;
        let parts =
            [b"openztna/store/1".as_slice(), org.as_str().as_bytes(), table.as_bytes(), key.as_bytes()];
        Aad::from(sha256_list(&parts))
    }
}

#[cfg(test)]
mod tests {
    use ztna_net::random::SystemRandom;

    use super::*;

    #[test]
    fn c01_a_sealed_document_opens_in_its_own_place_alone() {
        let (acme, other): (OrgId, OrgId) =
            ("https://acme.example".parse().unwrap(), "https://other.example".parse().unwrap());
        let random = &mut SystemRandom::new();
        let key = StoreKey::new(Secret::new([1; 32]));
        let here = Place { org: &acme, table: "accounts", key: "ana" };
        let sealed = key.seal(here, "hunter2", random).unwrap();
        assert!(!sealed.contains("hunter2"));
        assert!(key.open(here, &sealed).unwrap().matches("hunter2"));
        assert!(StoreKey::new(Secret::new([2; 32])).open(here, &sealed).is_none());
        for elsewhere in [
            Place { org: &other, ..here },
            Place { table: "grants", ..here },
            Place { key: "mallory", ..here },
        ] {
            assert!(key.open(elsewhere, &sealed).is_none(), "{elsewhere:?}");
        }
        for broken in ["", "AAAA", sealed.get(1..).unwrap(), &format!("{sealed}A"), "hunter2"] {
            assert!(key.open(here, broken).is_none(), "{broken}");
        }
    }
}
