//! The store in one SQLite file: many readers, one writer that commits what waits in groups.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, SqlitePool};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use ztna_model::OrgId;
use ztna_net::fs::{FileError, create_private_file};
use ztna_pdp::audit::Head;

use super::{AuditRow, Change, Document, Down, Refusal, Reply, Store};

mod schema; // the tables, and how they came to be
mod read; // what is asked
mod write; // what is changed, in groups
use write::{Job, Writer};

/// A store in one file on this machine.
#[derive(Debug)]
pub struct Sqlite {
    readers: SqlitePool,
    jobs: mpsc::Sender<Job>,
    name: String,
    writing: JoinHandle<()>,
}

/// How a file is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Whose chain of the audit log grows here.
    pub writer: String,
    /// How long to wait for another process that has the file locked.
    pub patience: Duration,
}

/// Why a file cannot be used as a store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be made, or others may read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is another program's.
    #[error("`{}` is not a store of this program", .0.display())]
    NotOurs(PathBuf),
    /// It was last used by a newer version of this program.
    #[error("`{}` was written by a newer version of this program", .0.display())]
    Newer(PathBuf),
    /// The database refused.
    #[error("cannot open the store `{}`: {cause}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Its words.
        cause: String,
    },
}

impl Sqlite {
    /// Opens the store at `path`, and makes it if there is none.
    pub async fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        create_private_file(path)?;
        let refused = |cause: sqlx::Error| OpenError::Refused { path: path.into(), cause: cause.to_string() };
        let connect = connect_options(path, &options);
        let mut connection = SqliteConnection::connect_with(&connect).await.map_err(refused)?;
        schema::prepare(&mut connection, path).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).min_connections(0);
        let readers = readers.connect_lazy_with(connect.clone().read_only(true).create_if_missing(false));
        let (jobs, inbox) = mpsc::channel(MOST_WAITING);
        let writer = Writer::new(connection, connect, options.writer.clone());
        let writing = tokio::spawn(writer.serve(inbox));
        Ok(Self { readers, jobs, name: options.writer, writing })
    }

    /// Ends once all that was asked for is done.
    pub async fn close(self) {
        let Self { readers, jobs, writing, .. } = self;
        readers.close().await;
        drop(jobs);
        let _ = writing.await; // it ends with its inbox
    }
}

impl Store for Sqlite {
    fn documents<'a>(&'a self, org: &'a OrgId, tables: &'a [&'a str]) -> Reply<'a, Vec<Document>> {
        Box::pin(read::documents(&self.readers, org, tables))
    }

    fn find<'a>(&'a self, org: &'a OrgId, table: &'a str, key: &'a str) -> Reply<'a, Option<Document>> {
        Box::pin(read::find(&self.readers, org, table, key))
    }

    fn write<'a>(&'a self, org: &'a OrgId, changes: Vec<Change>) -> Reply<'a, Vec<Result<(), Refusal>>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let job = Job { org: org.clone(), changes, answer };
            self.jobs.send(job).await.map_err(|_| Down("it is closed".into()))?;
            answered.await.unwrap_or_else(|_| Err(Down("it is closed".into())))
        })
    }

    fn audit<'a>(
        &'a self,
        org: &'a OrgId,
        writer: &'a str,
        after: u64,
        most: u32,
    ) -> Reply<'a, Vec<AuditRow>> {
        Box::pin(read::audit(&self.readers, org, writer, after, most))
    }

    fn chains<'a>(&'a self, org: &'a OrgId) -> Reply<'a, Vec<(String, Head)>> {
        Box::pin(read::chains(&self.readers, org))
    }

    fn writer(&self) -> &str {
        &self.name
    }

    fn back_up<'a>(&'a self, to: &'a Path) -> Reply<'a, ()> {
        Box::pin(read::back_up(&self.readers, to))
    }
}

fn connect_options(path: &Path, options: &Options) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full) // an answer rests on what it reports being on the disk
        .foreign_keys(true)
        .pragma("secure_delete", "ON") // what is erased is not left in free pages
        .busy_timeout(options.patience)
}

impl From<sqlx::Error> for Down {
    fn from(cause: sqlx::Error) -> Self {
        Self(cause.to_string())
    }
}

/// Reading is for administrators and for the start.
const READERS: u32 = 4;
/// Who comes after that waits to be heard at all.
const MOST_WAITING: usize = 1024;
