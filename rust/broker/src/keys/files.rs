use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use ztna_model::{OrgId, Random as _, Secret, WallTime, base64url};
use ztna_net::fs::{FileError, create_private_dir, read_private, write_private};
use ztna_net::keys::{Ed25519Key, KeyError, P256Key};
use ztna_net::random::SystemRandom;

use super::KeysError;
use super::authority::{self, Authority};

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Root,
    TlsCa,
    GatewayCa,
    Lease,
    OpenId,
    Audit,
    Store,
    Master,
}

/// The directory of keys: PKCS #8 and certificates as PEM, secrets as base64url.
pub(super) struct KeyFiles<'a> {
    dir: &'a Path,
}

/// Makes every key, in a directory that takes its name when it is complete.
pub(super) fn make(dir: &Path, org: &OrgId, now: WallTime) -> Result<(), KeysError> {
    let mut draft = dir.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let refused = |cause| KeysError::File(FileError::Refused { path: draft.clone(), cause });
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(refused)?; // of a start that did not get this far
    }
    create_private_dir(&draft)?;
    let files = KeyFiles::new(&draft);
    for name in [Name::Root, Name::TlsCa, Name::GatewayCa, Name::OpenId] {
        files.write_key(name, P256Key::generate(), &PKCS_ECDSA_P256_SHA256)?;
    }
    for name in [Name::Lease, Name::Audit] {
        files.write_key(name, Ed25519Key::generate(), &PKCS_ED25519)?;
    }
    for name in [Name::Store, Name::Master] {
        let fresh: [u8; 32] = SystemRandom::new().array();
        write_private(&files.key_path(name), base64url::encode(fresh).as_bytes())?;
    }
    let random = &mut SystemRandom::new();
    let root = authority::root(files.pair(Name::Root)?, org, now, random);
    let root = root.map_err(|cause| files.bad_certificate(Name::Root, &cause))?;
    files.write_certificate(Name::Root, root.pem().as_bytes())?;
    for (name, kind) in [(Name::TlsCa, authority::Kind::Tls), (Name::GatewayCa, authority::Kind::Gateways)] {
        let below = authority::below(&root, &files.pair(name)?, kind, org, now, random);
        let below = below.map_err(|cause| files.bad_certificate(name, &cause))?;
        files.write_certificate(name, below.pem().as_bytes())?;
    }
    std::fs::rename(&draft, dir).map_err(refused)
}

impl<'a> KeyFiles<'a> {
    pub(super) const fn new(dir: &'a Path) -> Self {
        Self { dir }
    }

    pub(super) fn key_path(&self, name: Name) -> PathBuf {
        self.dir.join(format!("{}.key", name.as_str()))
    }

    pub(super) fn certificate_path(&self, name: Name) -> PathBuf {
        self.dir.join(format!("{}.crt", name.as_str()))
    }

    /// Where the signed key set lies.
    pub(super) fn set_path(&self) -> PathBuf {
        self.dir.join("keys.jws")
    }

    /// Where a key lies that waits for its turn.
    pub(super) fn next_path(&self, name: Name) -> PathBuf {
        self.dir.join(format!("{}.next.key", name.as_str()))
    }

    pub(super) fn certificate(&self, name: Name) -> Result<CertificateDer<'static>, KeysError> {
        let path = self.certificate_path(name);
        let pem = read_private(&path)?;
        CertificateDer::from_pem_slice(pem.expose())
            .map_err(|cause| KeysError::Certificate { path, cause: cause.to_string() })
    }

    pub(super) fn p256(&self, name: Name) -> Result<P256Key, KeysError> {
        p256(&self.key_path(name))
    }

    pub(super) fn p256_if_there(&self, name: Name) -> Result<Option<P256Key>, KeysError> {
        if_there(p256(&self.key_path(name)))
    }

    pub(super) fn ed25519(&self, name: Name) -> Result<Ed25519Key, KeysError> {
        ed25519(&self.key_path(name))
    }

    pub(super) fn next_p256(&self, name: Name) -> Result<Option<P256Key>, KeysError> {
        if_there(p256(&self.next_path(name)))
    }

    pub(super) fn next_ed25519(&self, name: Name) -> Result<Option<Ed25519Key>, KeysError> {
        if_there(ed25519(&self.next_path(name)))
    }

    /// An authority with its certificate; `above` are those that stand over it.
    pub(super) fn authority(
        &self,
        name: Name,
        above: &[&CertificateDer<'static>],
    ) -> Result<Authority, KeysError> {
        let pair = self.pair(name)?;
        let authority = Authority::new(pair, self.certificate(name)?, above);
        authority.map_err(|cause| self.bad_certificate(name, &cause))
    }

    pub(super) fn secret(&self, name: Name) -> Result<Secret<Vec<u8>>, KeysError> {
        let path = self.key_path(name);
        let text = read_private(&path)?;
        let text = std::str::from_utf8(text.expose()).ok().map(str::trim);
        let bytes = text.and_then(base64url::decode).filter(|bytes| bytes.len() == 32);
        bytes.map(Secret::new).ok_or(KeysError::Key { path, cause: KeyError::Unreadable })
    }

    pub(super) fn secret32(&self, name: Name) -> Result<Secret<[u8; 32]>, KeysError> {
        let bytes = self.secret(name)?;
        let mut secret = [0; 32];
        secret.copy_from_slice(bytes.expose()); // `secret` has seen to the length
        Ok(Secret::new(secret))
    }

    pub(super) fn bad_certificate(&self, name: Name, cause: &dyn std::fmt::Display) -> KeysError {
        KeysError::Certificate { path: self.certificate_path(name), cause: cause.to_string() }
    }

    fn pair(&self, name: Name) -> Result<KeyPair, KeysError> {
        let path = self.key_path(name);
        let der = pkcs8(&path)?;
        let der = PrivatePkcs8KeyDer::from(der.expose().as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| KeysError::Key { path, cause: KeyError::Unreadable })
    }

    fn write_key(
        &self,
        name: Name,
        fresh: Result<Secret<Vec<u8>>, KeyError>,
        algorithm: &'static SignatureAlgorithm,
    ) -> Result<(), KeysError> {
        let path = self.key_path(name);
        let failed = |cause| KeysError::Key { path: path.clone(), cause };
        let fresh = fresh.map_err(failed)?;
        let der = PrivatePkcs8KeyDer::from(fresh.expose().as_slice());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm);
        let pem = pair.map_err(|_| failed(KeyError::Unreadable))?.serialize_pem();
        Ok(write_private(&path, Secret::new(pem).expose().as_bytes())?)
    }

    fn write_certificate(&self, name: Name, pem: &[u8]) -> Result<(), KeysError> {
        Ok(write_private(&self.certificate_path(name), pem)?)
    }
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::TlsCa => "tls-ca",
            Self::GatewayCa => "gateway-ca",
            Self::Lease => "lease",
            Self::OpenId => "openid",
            Self::Audit => "audit",
            Self::Store => "store",
            Self::Master => "master",
        }
    }
}

fn p256(path: &Path) -> Result<P256Key, KeysError> {
    P256Key::from_pkcs8(&pkcs8(path)?).map_err(|cause| KeysError::Key { path: path.into(), cause })
}

fn ed25519(path: &Path) -> Result<Ed25519Key, KeysError> {
    Ed25519Key::from_pkcs8(&pkcs8(path)?).map_err(|cause| KeysError::Key { path: path.into(), cause })
}

fn pkcs8(path: &Path) -> Result<Secret<Vec<u8>>, KeysError> {
    let pem = read_private(path)?;
    let unreadable = |_| KeysError::Key { path: path.into(), cause: KeyError::Unreadable };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).map_err(unreadable)?;
    Ok(Secret::new(der.secret_pkcs8_der().to_vec()))
}

fn if_there<T>(read: Result<T, KeysError>) -> Result<Option<T>, KeysError> {
    match read {
        Ok(key) => Ok(Some(key)),
        Err(KeysError::File(FileError::Missing { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}
