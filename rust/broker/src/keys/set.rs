use ztna_api::keyset::{Key, KeySet, KeyState, KeyUse};
use ztna_model::{OrgId, RootHash, Signer, base64url};
use ztna_net::fs::{read_private, write_private};
use ztna_net::keys::P256Key;

use super::KeysError;
use super::files::{KeyFiles, Name};

/// The key set as it lies on the disk; signed anew, under the next number, if the keys are others by now.
pub(super) fn open(
    files: &KeyFiles<'_>,
    org: &OrgId,
    root: &RootHash,
    root_key: Option<&P256Key>,
) -> Result<(KeySet, String), KeysError> {
    let path = files.set_path();
    let known = if path.exists() {
        let text = String::from_utf8_lossy(read_private(&path)?.expose()).into_owned();
        let set = KeySet::verify(&text, org, root, 0)
            .map_err(|cause| KeysError::Set { path: path.clone(), cause })?;
        Some((set, text))
    } else {
        None
    };
    let keys = keys(files)?;
    match known {
        Some((set, text)) if set.keys == keys => Ok((set, text)),
        known => {
            let root_key = root_key.ok_or_else(|| KeysError::RootNeeded(files.key_path(Name::Root)))?;
            let seq = known.map_or(0, |(set, _)| set.seq).saturating_add(1);
            let set = KeySet { org: org.clone(), seq, keys };
            let text = set.sign(root_key)?;
            write_private(&path, text.as_bytes())?;
            Ok((set, text))
        }
    }
}

fn keys(files: &KeyFiles<'_>) -> Result<Vec<Key>, KeysError> {
    let key = |usage, state, signer: &dyn Signer, certificate| Key {
        usage,
        state,
        jwk: signer.public_key(),
        certificate,
    };
    let mut keys = vec![];
    for (usage, name) in [(KeyUse::Lease, Name::Lease), (KeyUse::Audit, Name::Audit)] {
        keys.push(key(usage, KeyState::Current, &files.ed25519(name)?, None));
        keys.extend(files.next_ed25519(name)?.map(|next| key(usage, KeyState::Next, &next, None)));
    }
    keys.push(key(KeyUse::OpenId, KeyState::Current, &files.p256(Name::OpenId)?, None));
    keys.extend(files.next_p256(Name::OpenId)?.map(|next| key(KeyUse::OpenId, KeyState::Next, &next, None)));
    let certificate = base64url::encode(files.certificate(Name::GatewayCa)?);
    keys.push(key(KeyUse::GatewayCa, KeyState::Current, &files.p256(Name::GatewayCa)?, Some(certificate)));
    Ok(keys)
}
