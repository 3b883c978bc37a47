use ztna_api::admin::AdminError;
use ztna_model::PublicKey;
use ztna_pdp::audit::{Chain, Head, Personal};

use super::local::LocalAnswer;
use super::office::{Office, down};
use crate::audit::{self, Log, SignedHead, VerifyError, write_line};
use crate::store::{Change, Edit};

impl Office {
    /// Follows a chain. This broker's own is compared with the last head that it signed, too.
    pub(super) async fn verify_log(
        &self,
        uid: u32,
        writer: Option<String>,
        witness: Option<String>,
    ) -> Result<LocalAnswer, AdminError> {
        self.note(uid, "audit-verify", writer.clone()).await?;
        let writer = writer.unwrap_or_else(|| self.store.writer().to_owned());
        let keys: Vec<PublicKey> = self.keys.audit_keys().copied().collect();
        let log = Log { org: &self.org, writer: &writer, keys: &keys };
        let own = std::fs::read_to_string(&self.head_file).ok().filter(|_| writer == self.store.writer());
        let own = own.as_deref().map(str::trim);
        for witness in [own, witness.as_deref()].into_iter().flatten() {
            audit::verify(&*self.store, log, Some(witness)).await.map_err(broken)?;
        }
        let head = audit::verify(&*self.store, log, None).await.map_err(broken)?;
        let (length, head) = (head.length, self.sign(log, head)?);
        Ok(LocalAnswer::Verified { writer, length, head })
    }

    pub(super) async fn export_log(
        &self,
        uid: u32,
        writer: Option<String>,
        after: u64,
    ) -> Result<LocalAnswer, AdminError> {
        if after == 0 {
            self.note(uid, "audit-export", writer.clone()).await?;
        }
        let writer = writer.unwrap_or_else(|| self.store.writer().to_owned());
        let keys: Vec<PublicKey> = self.keys.audit_keys().copied().collect();
        let log = Log { org: &self.org, writer: &writer, keys: &keys };
        let mut lines = vec![];
        if after == 0 {
            let start = audit::signed_start(&*self.store, log).await.map_err(down)?;
            lines.extend(start.map(|start| format!(r#"{{"start":"{start}"}}"#)));
        }
        let rows = self.store.audit(&self.org, &writer, after, PAGE).await.map_err(down)?;
        let last = rows.last().map(|row| Head { length: row.sealed.number, hash: row.sealed.hash });
        lines.extend(rows.iter().map(write_line));
        if rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok(LocalAnswer::Lines { lines, next: last.map(|last| last.length) });
        }
        let end = match last {
            Some(last) => last,
            None => self.end_of(&writer).await?,
        };
        lines.push(format!(r#"{{"head":"{}"}}"#, self.sign(log, end)?));
        Ok(LocalAnswer::Lines { lines, next: None })
    }

    /// Removes `text` from what rows commit to; what the chain is taken over stays.
    pub(super) async fn erase(&self, uid: u32, text: &str) -> Result<LocalAnswer, AdminError> {
        self.note(uid, "audit-erase", None).await?;
        let mut rows = 0;
        for (writer, _) in self.store.chains(&self.org).await.map_err(down)? {
            let mut after = 0;
            loop {
                let page = self.store.audit(&self.org, &writer, after, PAGE).await.map_err(down)?;
                let Some(last) = page.last() else { break };
                after = last.sealed.number;
                let edits: Vec<Edit> = page
                    .iter()
                    .filter(|row| row.personal.iter().any(|personal| personal.text == text))
                    .map(|row| erased(&writer, row.sealed.number, &row.personal, text))
                    .collect();
                rows += u64::try_from(edits.len()).unwrap_or(u64::MAX);
                let change = Change { edits, ..Change::default() };
                let written = self.store.write_one(&self.org, change).await.map_err(down)?;
                written.map_err(|_| AdminError::Overtaken)?;
            }
        }
        Ok(LocalAnswer::Erased { rows })
    }

    async fn end_of(&self, writer: &str) -> Result<Head, AdminError> {
        let chains = self.store.chains(&self.org).await.map_err(down)?;
        let found = chains.into_iter().find(|(name, _)| name == writer).map(|(_, head)| head);
        Ok(found.unwrap_or_else(|| Chain::new(&self.org, writer).head()))
    }

    fn sign(&self, log: Log<'_>, head: Head) -> Result<String, AdminError> {
        let signed = SignedHead::sign(log, head, self.clock.wall(), &**self.keys.audit());
        signed.map_err(|error| AdminError::Invalid { message: error.to_string() })
    }
}

fn erased(writer: &str, number: u64, personal: &[Personal], text: &str) -> Edit {
    let left = personal.iter().filter(|personal| personal.text != text).cloned().collect();
    Edit::Erase { writer: writer.to_owned(), number, left }
}

fn broken(error: VerifyError) -> AdminError {
    match error {
        VerifyError::Down(cause) => down(cause),
        error @ (VerifyError::Broken(_)
        | VerifyError::CutOff { .. }
        | VerifyError::Rewritten(_)
        | VerifyError::Reworded(_)
        | VerifyError::Unreadable { .. }
        | VerifyError::Misplaced(_)
        | VerifyError::Unsigned
        | VerifyError::BadHead(_)) => AdminError::Invalid { message: error.to_string() },
    }
}

/// A part of an export stays far below the longest line.
const PAGE: u32 = 500;
