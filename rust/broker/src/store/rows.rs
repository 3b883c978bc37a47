use thiserror::Error;
use ztna_model::{Incarnation, OrgId, WallTime};
use ztna_pdp::rows::{Key, One, Row, RowError, Rows, Write};
use ztna_pdp::{Batch, NotCommitted};

use super::change::{Change, Claim, Edit, Line, Refusal};
use super::{Down, Store};

/// Why an organisation's rows cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LoadError {
    /// The store does not answer.
    #[error(transparent)]
    Down(#[from] Down),
    /// It holds something that is no row.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(#[from] RowError),
}

impl dyn Store {
    /// All rows of `org`.
    pub async fn load(&self, org: &OrgId) -> Result<Rows, LoadError> {
        let mut rows = Rows::new(org.clone());
        for document in self.documents(org, Row::TABLES).await? {
            rows.apply(&Write::Put(Row::read(&document.table, &document.text)?));
        }
        Ok(rows)
    }

    /// Commits `batches` of `org` in their order, and says of each how it went.
    pub async fn commit(&self, org: &OrgId, batches: &[Batch]) -> Vec<Result<(), NotCommitted>> {
        let foreign = batches.iter().any(|batch| batch.org != *org);
        let changes = batches.iter().map(Change::from).collect();
        let outcomes = if foreign { None } else { self.write(org, changes).await.ok() };
        let Some(outcomes) = outcomes else {
            return batches.iter().map(|_| Err(NotCommitted::StoreDown)).collect();
        };
        batches
            .iter()
            .zip(outcomes)
            .map(|(batch, outcome)| outcome.map_err(|why| refusal(batch, &why)))
            .collect()
    }

    /// Claims something: true for exactly one caller. The claim may be forgotten after `until`.
    pub async fn claim_once(
        &self,
        org: &OrgId,
        kind: &'static str,
        id: String,
        until: WallTime,
    ) -> Result<bool, Down> {
        let change = Change { claims: vec![Claim { kind, id, until }], ..Change::default() };
        Ok(self.write_one(org, change).await?.is_ok())
    }

    /// Makes a single change.
    pub async fn write_one(&self, org: &OrgId, change: Change) -> Result<Result<(), Refusal>, Down> {
        let outcomes = self.write(org, vec![change]).await?;
        outcomes.into_iter().next().ok_or_else(|| Down("it gave no answer".into()))
    }

    /// The life of the store, as far as `org` is concerned; none before it was set up.
    pub async fn incarnation(&self, org: &OrgId) -> Result<Option<Incarnation>, LoadError> {
        let key = Key::Organisation(One);
        let Some(document) = self.find(org, key.table(), &key.text()).await? else { return Ok(None) };
        let mut rows = Rows::new(org.clone());
        rows.apply(&Write::Put(Row::read(&document.table, &document.text)?));
        Ok(rows.organisation.get(&One).map(|organisation| organisation.incarnation))
    }
}

impl From<&Batch> for Change {
    fn from(batch: &Batch) -> Self {
        let claims = batch.claims.iter().map(|claim| Claim {
            kind: claim.kind.as_str(),
            id: claim.id.clone(),
            until: claim.until,
        });
        Self {
            claims: claims.collect(),
            expects: vec![],
            edits: batch.writes.iter().map(Edit::from).collect(),
            audit: batch.audit.iter().map(Line::from).collect(),
        }
    }
}

impl From<&Write> for Edit {
    fn from(write: &Write) -> Self {
        let (table, key) = (write.key().table(), write.key().text());
        match write {
            Write::Put(row) => Self::Put { table, key, text: row.document(), until: None },
            Write::Delete(_) => Self::Delete { table, key },
        }
    }
}

fn refusal(batch: &Batch, why: &Refusal) -> NotCommitted {
    let claim = match why {
        Refusal::Claimed(number) => batch.claims.get(*number),
        Refusal::Overtaken => None, // a batch expects nothing
    };
    claim.map_or(NotCommitted::StoreDown, |claim| NotCommitted::AlreadyClaimed(claim.clone()))
}
