use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqlitePool};
use ztna_model::OrgId;
use ztna_pdp::audit::{Head, Sealed};

use super::super::{AuditRow, Document, Down};

pub(super) async fn documents(
    pool: &SqlitePool,
    org: &OrgId,
    tables: &[&str],
) -> Result<Vec<Document>, Down> {
    let mut moment = pool.begin().await?;
    let mut documents = vec![];
    for table in tables {
        let rows = sqlx::query("SELECT tbl, key, version, document FROM documents WHERE org = ? AND tbl = ?")
            .bind(org.as_str())
            .bind(*table)
            .fetch_all(&mut *moment)
            .await?;
        for row in &rows {
            documents.push(document(row)?);
        }
    }
    Ok(documents)
}

pub(super) async fn find(
    pool: &SqlitePool,
    org: &OrgId,
    table: &str,
    key: &str,
) -> Result<Option<Document>, Down> {
    let query = "SELECT tbl, key, version, document FROM documents WHERE org = ? AND tbl = ? AND key = ?";
    let row = sqlx::query(query).bind(org.as_str()).bind(table).bind(key).fetch_optional(pool).await?;
    row.as_ref().map(document).transpose()
}

pub(super) async fn audit(
    pool: &SqlitePool,
    org: &OrgId,
    writer: &str,
    after: u64,
    most: u32,
) -> Result<Vec<AuditRow>, Down> {
    let query = "SELECT number, record, hash, personal FROM audit
        WHERE org = ? AND writer = ? AND number > ? ORDER BY number LIMIT ?";
    let rows = sqlx::query(query)
        .bind(org.as_str())
        .bind(writer)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(most)
        .fetch_all(pool)
        .await?;
    rows.iter().map(audit_row).collect()
}

pub(super) async fn chains(pool: &SqlitePool, org: &OrgId) -> Result<Vec<(String, Head)>, Down> {
    let query = "SELECT writer, number, hash FROM audit AS a WHERE org = ?1 AND number =
        (SELECT max(number) FROM audit WHERE org = ?1 AND writer = a.writer) ORDER BY writer";
    let rows = sqlx::query(query).bind(org.as_str()).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get("writer")?, head(row)?))).collect()
}

pub(super) async fn back_up(pool: &SqlitePool, to: &Path) -> Result<(), Down> {
    let refused =
        |cause: &dyn std::fmt::Display| Down(format!("cannot back up to `{}`: {cause}", to.display()));
    let name = to.to_str().ok_or_else(|| refused(&"its name is not UTF-8"))?;
    // The database fills an empty file, which keeps the mode it was made with. It is made here and now: what somebody
    // else may have put there meanwhile, a link to another place for one, is not written to.
    let mut new = OpenOptions::new();
    let made = new.write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|cause| {
        let is_there = cause.kind() == ErrorKind::AlreadyExists;
        if is_there { refused(&"there is a file already") } else { refused(&cause) }
    })?;
    let copied = sqlx::query("VACUUM INTO ?").bind(name).execute(pool).await;
    let synced = copied.map_err(Down::from).and_then(|_| sync(to).map_err(|cause| refused(&cause)));
    synced.inspect_err(|_| {
        let _ = std::fs::remove_file(to); // half a copy helps nobody
    })
}

/// What a chain ends with.
pub(super) fn head(row: &SqliteRow) -> Result<Head, Down> {
    let hash: Vec<u8> = row.try_get("hash")?;
    let hash = hash.try_into().map_err(|_| Down("a row of the audit log has no hash".into()))?;
    Ok(Head { length: number(row, "number")?, hash })
}

fn document(row: &SqliteRow) -> Result<Document, Down> {
    Ok(Document {
        table: row.try_get("tbl")?,
        key: row.try_get("key")?,
        version: number(row, "version")?,
        text: row.try_get("document")?,
    })
}

fn audit_row(row: &SqliteRow) -> Result<AuditRow, Down> {
    let Head { length, hash } = head(row)?;
    let personal: String = row.try_get("personal")?;
    let personal = serde_json::from_str(&personal).map_err(|error| Down(error.to_string()))?;
    Ok(AuditRow { sealed: Sealed { number: length, record: row.try_get("record")?, hash }, personal })
}

fn number(row: &SqliteRow, column: &str) -> Result<u64, Down> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| Down(format!("`{column}` is negative")))
}

fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
