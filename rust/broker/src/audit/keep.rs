use serde::Deserialize;
use ztna_model::{Signer, WallTime};
use ztna_pdp::audit::Head;

use super::{Log, SignedHead, VerifyError, beginning};
use crate::store::{Change, Down, Edit, Store};

/// Forgets the rows of `log` from before `before`, but for its last one. What is left begins with a signed head, so
/// that it still verifies. Returns how many rows went.
pub async fn forget_before(
    store: &dyn Store,
    log: Log<'_>,
    before: WallTime,
    now: WallTime,
    signer: &dyn Signer,
) -> Result<u64, VerifyError> {
    let start = start_of(store, log).await?;
    let mut last = start;
    'pages: loop {
        let rows = store.audit(log.org, log.writer, last.length, super::PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if written(&row.sealed.record).is_none_or(|at| at >= before) {
                break 'pages;
            }
            last = Head { length: row.sealed.number, hash: row.sealed.hash };
        }
    }
    if last == start {
        return Ok(0);
    }
    let signed = SignedHead::sign_start(log, last, now, signer).map_err(|cause| Down(cause.to_string()))?;
    let key = log.writer.to_owned();
    let edits = vec![
        Edit::Put { table: STARTS, key, text: signed, until: None },
        Edit::Forget { writer: log.writer.to_owned(), up_to: last.length },
    ];
    let change = Change { edits, ..Change::default() };
    store.write_one(log.org, change).await?.map_err(|refusal| Down(refusal.to_string()))?;
    Ok(last.length - start.length)
}

/// After which row the log begins.
pub(super) async fn start_of(store: &dyn Store, log: Log<'_>) -> Result<Head, VerifyError> {
    match signed_start(store, log).await? {
        Some(text) => Ok(SignedHead::verify_start(&text, log)?),
        None => Ok(beginning(log)),
    }
}

/// The signed head of what was forgotten, if anything was.
pub(crate) async fn signed_start(store: &dyn Store, log: Log<'_>) -> Result<Option<String>, Down> {
    Ok(store.find(log.org, STARTS, log.writer).await?.map(|document| document.text))
}

/// When a record was written; a record that does not say stays.
fn written(record: &str) -> Option<WallTime> {
    #[derive(Deserialize)]
    struct Dated {
        at: WallTime,
    }
    serde_json::from_str::<Dated>(record).ok().map(|dated| dated.at)
}

const STARTS: &str = "audit-starts";
