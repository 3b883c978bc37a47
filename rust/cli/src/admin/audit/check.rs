use std::path::Path;

use ztna_api::discovery::{self, Discovery};
use ztna_api::keyset::{KeySet, KeyUse};
use ztna_broker::audit::{Log, verify_export};
use ztna_model::{OrgString, PublicKey};
use ztna_net::tls::{self, Alpn, Trust};

use super::{CallError, read};
use crate::counted::counted;
use crate::exit::Exit;
use crate::progress::awaited;

/// Checks an exported log against the keys that the organisation publishes under its root.
pub(super) async fn run(
    file: &Path,
    org: &OrgString,
    keys: Option<&Path>,
    writer: &str,
    witness: Option<&Path>,
) -> Result<Exit, CallError> {
    let text = read(file)?;
    let witness = witness.map(read).transpose()?;
    let keys = match keys {
        // Nobody has proven the copy: without the root's hash, whoever wrote the log anew could have written it, too.
        Some(_) if org.root.is_none() => {
            Err("with --keys, --org must end with #sha256-…, the root's hash".into())
        }
        Some(copy) => copied(&read(copy)?, org),
        None => awaited("asking the organisation for its keys", published(org)).await,
    };
    let keys = keys.map_err(CallError::NotFound)?;
    let keys: Vec<PublicKey> = keys.of(KeyUse::Audit).map(|key| key.jwk).collect();
    let log = Log { org: &org.org, writer, keys: &keys };
    match verify_export(&text, log, witness.as_deref()) {
        Ok(head) => {
            let rows = counted(head.length, "row", "rows");
            println!("The log holds: {rows}, none changed, none missing.");
            Ok(Exit::Done)
        }
        Err(error) => {
            println!("The log does not hold: {error}.");
            Ok(Exit::Denied)
        }
    }
}

/// The organisation's keys, as its broker gives them to everybody and its root has signed them.
async fn published(org: &OrgString) -> Result<KeySet, String> {
    let trust = org.root.map_or(Trust::Platform, Trust::Pinned);
    let tls = tls::client_config(&trust, None, Alpn::Http).map_err(|error| error.to_string())?;
    let http = reqwest::Client::builder().tls_backend_preconfigured((*tls).clone()).no_proxy().build();
    let http = http.map_err(|error| error.to_string())?;
    let away = |error: reqwest::Error| {
        let hint = if org.root.is_none() { "; does its string end with #sha256-…?" } else { "" };
        format!("{} cannot be asked for its keys: {error}{hint}", org.org)
    };
    let answer = http.get(format!("{}{}", org.org, discovery::PATH)).send().await.map_err(away)?;
    copied(&answer.text().await.map_err(away)?, org)
}

/// The same from what the broker answered, once it is checked against the root.
fn copied(text: &str, org: &OrgString) -> Result<KeySet, String> {
    let discovery: Discovery =
        serde_json::from_str(text).map_err(|error| format!("that is no discovery document: {error}"))?;
    let root = match org.root {
        Some(root) => root,
        None => KeySet::claimed_root(&discovery.keys).map_err(|error| error.to_string())?,
    };
    KeySet::verify(&discovery.keys, &org.org, &root, 0).map_err(|error| error.to_string())
}
