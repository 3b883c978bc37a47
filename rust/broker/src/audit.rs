//! The audit log outside the store: verified, signed at its end, exported, forgotten when its time is over.
//!
//! ```text
//!   {"number":1,"hash":"…","personal":[…],"record":{"at":…,"by":…,"event":…}}      one line a row
//!   {"head":"eyJ…"}                                                               the signed end of the chain
//! ```
//!
//! A chain alone shows an edit and a gap; only a head that somebody kept shows a history that was written anew.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_api::jws::{self, Header, JwsError, Unverified};
use ztna_model::{OrgId, PublicKey, SignError, Signer, WallTime, base64url};
use ztna_pdp::audit::{Broken, Chain, Head, Personal};

use crate::store::{AuditRow, Down, Store};

mod line; // one row as a line of JSON
pub use line::{Line, LineError, read_line, write_line};

mod keep; // for how long
pub use keep::forget_before;
pub(crate) use keep::signed_start;

/// The signed end of a chain (JWS EdDSA, `openztna-audit+jws`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    /// The organisation.
    pub org: OrgId,
    /// Whose chain.
    pub writer: String,
    /// How many rows it has.
    pub length: u64,
    /// The hash of the last, base64url.
    pub hash: String,
    /// When this was so, by the broker's clock.
    pub at: WallTime,
}

/// Where a log does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum VerifyError {
    /// A row is not what it was, or not where it was.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The log ends before a row that was signed for.
    #[error("the log ends after row {found}: {signed} rows were signed for")]
    CutOff {
        /// Its last row.
        found: u64,
        /// How many there were.
        signed: u64,
    },
    /// History was written anew: it holds, and is another one than the witness saw.
    #[error("history was written anew: row {0} is not the one that was signed")]
    Rewritten(u64),
    /// What a row says of people is not what it was written down with.
    #[error("row {0} says something else of people than when it was written")]
    Reworded(u64),
    /// A line of an exported log cannot be read.
    #[error("line {number} cannot be read: {cause}")]
    Unreadable {
        /// The line, from 1.
        number: usize,
        /// What is wrong with it.
        cause: LineError,
    },
    /// An exported log says in its middle that it begins there.
    #[error("line {0} says that the log begins there, and rows stand before it")]
    Misplaced(usize),
    /// An exported log ends without a signed head.
    #[error("nobody has signed for the end of the log")]
    Unsigned,
    /// A head is not signed by the audit key, or is about another chain.
    #[error("the head is not good: {0}")]
    BadHead(#[from] HeadError),
    /// The store does not answer.
    #[error(transparent)]
    Down(#[from] Down),
}

/// Why a signed head is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum HeadError {
    /// No audit key signed it.
    #[error("{0}")]
    Unsound(#[from] JwsError),
    /// It is another organisation's, or another writer's.
    #[error("it is about another log")]
    Elsewhere,
}

/// Which chain, and who signs for it.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// The organisation.
    pub org: &'a OrgId,
    /// Whose chain.
    pub writer: &'a str,
    /// The keys that may have signed.
    pub keys: &'a [PublicKey],
}

impl SignedHead {
    /// Signs that `log` ends with `head` at this moment.
    pub fn sign(log: Log<'_>, head: Head, at: WallTime, signer: &dyn Signer) -> Result<String, SignError> {
        Self::sign_as(TYP, log, head, at, signer)
    }

    /// The end of `log` that `text` signs for.
    pub fn verify(text: &str, log: Log<'_>) -> Result<Head, HeadError> {
        Self::verify_as(TYP, text, log)
    }

    /// Signs that all rows of `log` up to `head` were forgotten in good order. A head says nothing of the kind: everybody
    /// who was given one could pass off as forgotten what stands before it.
    fn sign_start(log: Log<'_>, head: Head, at: WallTime, signer: &dyn Signer) -> Result<String, SignError> {
        Self::sign_as(START_TYP, log, head, at, signer)
    }

    fn verify_start(text: &str, log: Log<'_>) -> Result<Head, HeadError> {
        Self::verify_as(START_TYP, text, log)
    }

    fn sign_as(
        typ: &str,
        log: Log<'_>,
        head: Head,
        at: WallTime,
        signer: &dyn Signer,
    ) -> Result<String, SignError> {
        let (org, writer) = (log.org.clone(), log.writer.to_owned());
        let head = Self { org, writer, length: head.length, hash: base64url::encode(head.hash), at };
        jws::sign(signer, typ, &head, Header::default())
    }

    fn verify_as(typ: &str, text: &str, log: Log<'_>) -> Result<Head, HeadError> {
        let jws = Unverified::parse(text, typ, &[])?;
        let signed = log.keys.iter().find_map(|key| jws.verify::<Self>(key).ok());
        let Self { org, writer, length, hash, .. } = signed.ok_or(JwsError::BadSignature)?;
        if org != *log.org || writer != log.writer {
            return Err(HeadError::Elsewhere);
        }
        let hash = base64url::decode(&hash).and_then(|hash| hash.try_into().ok());
        Ok(Head { length, hash: hash.ok_or(JwsError::BadClaims)? })
    }
}

/// Follows `log` in the store from its first row to its last, and compares it with what a `witness` signed for.
pub async fn verify(store: &dyn Store, log: Log<'_>, witness: Option<&str>) -> Result<Head, VerifyError> {
    let mut following = Following::begin(log, keep::start_of(store, log).await?, witness)?;
    loop {
        let rows = store.audit(log.org, log.writer, following.head.length, PAGE).await?;
        if rows.is_empty() {
            return following.end();
        }
        following.take(&rows)?;
    }
}

/// Follows an exported log, which ends with a signed head. That counts as a witness, and so does `witness`.
pub fn verify_export(text: &str, log: Log<'_>, witness: Option<&str>) -> Result<Head, VerifyError> {
    let (mut following, mut own_head): (Option<Following>, Option<String>) = (None, None);
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let unreadable = |cause| VerifyError::Unreadable { number: number + 1, cause };
        match read_line(text).map_err(unreadable)? {
            Line::Head(head) => own_head = Some(head),
            Line::Start(_) if following.is_some() => return Err(VerifyError::Misplaced(number + 1)),
            Line::Start(start) => {
                let start = SignedHead::verify_start(&start, log)?;
                following = Some(Following::begin(log, start, witness)?);
            }
            Line::Row(row) => {
                let following = match &mut following {
                    Some(following) => following,
                    none => none.insert(Following::begin(log, beginning(log), witness)?),
                };
                following.take(&[row])?;
            }
        }
    }
    let head = match following {
        Some(following) => following.end()?,
        None => beginning(log),
    };
    match own_head.map(|text| SignedHead::verify(&text, log)).transpose()? {
        Some(signed) if signed.length > head.length => {
            Err(VerifyError::CutOff { found: head.length, signed: signed.length })
        }
        Some(signed) if signed != head => Err(VerifyError::Rewritten(signed.length)),
        Some(_) => Ok(head),
        None => Err(VerifyError::Unsigned), // anybody can make a chain that holds
    }
}

/// Whether the log in the store still holds the row that `head` signs for, or has forgotten it in good order.
pub(crate) async fn still_holds(store: &dyn Store, log: Log<'_>, head: &str) -> Result<bool, VerifyError> {
    let signed = SignedHead::verify(head, log)?;
    if signed.length <= keep::start_of(store, log).await?.length {
        return Ok(true);
    }
    let row = store.audit(log.org, log.writer, signed.length.saturating_sub(1), 1).await?;
    let found = row.first().map(|row| Head { length: row.sealed.number, hash: row.sealed.hash });
    Ok(found == Some(signed))
}

/// The end of a chain that nobody has written to.
fn beginning(log: Log<'_>) -> Head {
    Chain::new(log.org, log.writer).head()
}

/// A chain on the way from its first row to its last.
struct Following {
    head: Head,
    witness: Option<Head>,
}

impl Following {
    fn begin(log: Log<'_>, head: Head, witness: Option<&str>) -> Result<Self, VerifyError> {
        let witness = witness.map(|text| SignedHead::verify(text, log)).transpose()?;
        // What the witness saw and what was forgotten since cannot be compared.
        let witness = witness.filter(|witness| witness.length >= head.length);
        let mut following = Self { head, witness };
        following.compare()?;
        Ok(following)
    }

    fn take(&mut self, rows: &[AuditRow]) -> Result<(), VerifyError> {
        for row in rows {
            self.head = Chain::from_head(self.head).verify([&row.sealed])?;
            // The record holds a commitment to each text; a text that was erased is just not there.
            let meant = |personal: &Personal| row.sealed.record.contains(&personal.commitment().to_string());
            if !row.personal.iter().all(meant) {
                return Err(VerifyError::Reworded(row.sealed.number));
            }
            self.compare()?;
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), VerifyError> {
        match self.witness.filter(|witness| witness.length == self.head.length) {
            Some(witness) if witness.hash != self.head.hash => Err(VerifyError::Rewritten(witness.length)),
            Some(_) => {
                self.witness = None; // seen
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn end(self) -> Result<Head, VerifyError> {
        match self.witness {
            Some(witness) => Err(VerifyError::CutOff { found: self.head.length, signed: witness.length }),
            None => Ok(self.head),
        }
    }
}

const TYP: &str = "openztna-audit+jws";
const START_TYP: &str = "openztna-audit-start+jws";
/// Rows that are in memory at once.
const PAGE: u32 = 500;
