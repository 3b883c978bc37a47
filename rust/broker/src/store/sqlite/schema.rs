use std::path::Path;

use sqlx::sqlite::SqliteConnection;

use super::OpenError;

/// Brings the file up to date.
pub(super) async fn prepare(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let refused = |cause: sqlx::Error| OpenError::Refused { path: path.into(), cause: cause.to_string() };
    let read = |pragma: &'static str| sqlx::query_scalar::<_, i64>(pragma);
    let application = read("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(refused)?;
    let version = read("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(refused)?;
    let tables =
        read("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await.map_err(refused)?;
    let fresh = (application, version, tables) == (0, 0, 0);
    if !fresh && application != APPLICATION {
        return Err(OpenError::NotOurs(path.into()));
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let left = VERSIONS.get(done..).ok_or_else(|| OpenError::Newer(path.into()))?;
    for version in left {
        sqlx::raw_sql(*version).execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// `OZTN` in the file's header.
const APPLICATION: i64 = 0x4f5a_544e;

/// What each version adds to the one before; a version that was ever published never changes.
const VERSIONS: [&str; 1] = ["
    BEGIN IMMEDIATE;
    CREATE TABLE documents (
        org TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL,
        version INTEGER NOT NULL, until INTEGER, document TEXT NOT NULL,
        PRIMARY KEY (org, tbl, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX documents_until ON documents (until) WHERE until IS NOT NULL;
    CREATE TABLE claims (
        org TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (org, kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX claims_until ON claims (until);
    CREATE TABLE audit (
        org TEXT NOT NULL, writer TEXT NOT NULL, number INTEGER NOT NULL,
        record TEXT NOT NULL, hash BLOB NOT NULL, personal TEXT NOT NULL,
        PRIMARY KEY (org, writer, number)
    ) STRICT, WITHOUT ROWID;
    PRAGMA application_id = 0x4f5a544e;
    PRAGMA user_version = 1;
    COMMIT;
"];

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    async fn check(before: &'static str) -> Result<(), OpenError> {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(before).execute(&mut connection).await.unwrap();
        prepare(&mut connection, Path::new("store")).await
    }

    #[tokio::test]
    async fn files_that_are_not_ours_are_left_alone() {
        check("").await.unwrap();
        check(VERSIONS[0]).await.unwrap();
        let foreign = check("CREATE TABLE precious (a)").await;
        assert!(matches!(foreign, Err(OpenError::NotOurs(_))), "{foreign:?}");
        let newer = check("PRAGMA application_id = 0x4f5a544e; PRAGMA user_version = 2").await;
        assert!(matches!(newer, Err(OpenError::Newer(_))), "{newer:?}");
    }
}
