use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use ztna_model::{OrgId, Time, WallTime, minutes};
use ztna_net::clock::Clock;
use ztna_pdp::audit::{Chain, Personal};

use super::super::{Change, Claim, Down, Edit, Expected, Line, Refusal};
use super::read;

/// Changes that somebody waits for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) org: OrgId,
    pub(super) changes: Vec<Change>,
    pub(super) answer: oneshot::Sender<Outcome>,
}

type Outcome = Result<Vec<Result<(), Refusal>>, Down>;

/// The one task that writes: whoever comes while it commits shares the next commit.
pub(super) struct Writer {
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    name: String,
    /// The ends of the chains, as far as this transaction has written them.
    chains: BTreeMap<OrgId, Chain>,
    clock: Clock,
    swept: Time,
}

impl Writer {
    pub(super) fn new(connection: SqliteConnection, options: SqliteConnectOptions, name: String) -> Self {
        Self { connection, options, name, chains: BTreeMap::new(), clock: Clock, swept: Time::ZERO }
    }

    pub(super) async fn serve(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut jobs = vec![];
        while inbox.recv_many(&mut jobs, MOST_AT_ONCE).await > 0 {
            let outcomes = self.commit(&jobs).await;
            for (number, job) in jobs.drain(..).enumerate() {
                let outcome = outcomes.as_ref().map(|all| all.get(number).cloned().unwrap_or_default());
                let _ = job.answer.send(outcome.map_err(Clone::clone)); // whoever asked may be gone
            }
        }
        let _ = self.connection.close().await; // all that was answered is on the disk already
    }

    async fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Vec<Result<(), Refusal>>>, Down> {
        let outcomes = self.transact(jobs).await;
        self.chains.clear();
        let erases = |edit: &Edit| matches!(edit, Edit::Erase { .. } | Edit::Forget { .. });
        if jobs.iter().flat_map(|job| &job.changes).flat_map(|change| &change.edits).any(erases) {
            // The log of writes still holds what was erased, until it is emptied.
            let _ = self.run("PRAGMA wal_checkpoint(TRUNCATE)").await; // a reader in between delays it to the next one
        }
        outcomes.map_err(|cause| {
            tracing::warn!(%cause, "the store takes no writes");
            Down::from(cause)
        })
    }

    async fn transact(&mut self, jobs: &[Job]) -> Result<Vec<Vec<Result<(), Refusal>>>, sqlx::Error> {
        self.begin().await?;
        let mut written = self.write(jobs).await;
        if written.is_ok() {
            written = self.run("COMMIT").await.and(written);
        }
        if written.is_err() {
            let _ = self.run("ROLLBACK").await; // `begin` sees to what is left
        }
        written
    }

    /// Begins a transaction that may write; on a new connection, if this one is spoilt.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let Err(cause) = self.run("BEGIN IMMEDIATE").await else { return Ok(()) };
        let _ = self.run("ROLLBACK").await; // of a transaction that did not end, if that was it
        let Ok(connection) = SqliteConnection::connect_with(&self.options).await else { return Err(cause) };
        self.connection = connection;
        self.run("BEGIN IMMEDIATE").await
    }

    async fn write(&mut self, jobs: &[Job]) -> Result<Vec<Vec<Result<(), Refusal>>>, sqlx::Error> {
        self.sweep().await?;
        let mut outcomes = vec![];
        for job in jobs {
            let mut of_job = vec![];
            for change in &job.changes {
                of_job.push(self.change(&job.org, change).await?);
            }
            outcomes.push(of_job);
        }
        Ok(outcomes)
    }

    async fn change(&mut self, org: &OrgId, change: &Change) -> Result<Result<(), Refusal>, sqlx::Error> {
        self.run("SAVEPOINT change").await?;
        let outcome = self.attempt(org, change).await?;
        if outcome.is_err() {
            self.run("ROLLBACK TO change").await?;
        }
        self.run("RELEASE change").await?;
        Ok(outcome)
    }

    /// What can be refused comes first, so a refused change has not touched the chain.
    async fn attempt(&mut self, org: &OrgId, change: &Change) -> Result<Result<(), Refusal>, sqlx::Error> {
        for (number, claim) in change.claims.iter().enumerate() {
            if !self.claim(org, claim).await? {
                return Ok(Err(Refusal::Claimed(number)));
            }
        }
        for expected in &change.expects {
            if !self.is_as(org, expected).await? {
                return Ok(Err(Refusal::Overtaken));
            }
        }
        for edit in &change.edits {
            self.edit(org, edit).await?;
        }
        for line in &change.audit {
            self.append(org, line).await?;
        }
        Ok(Ok(()))
    }

    async fn is_as(&mut self, org: &OrgId, expected: &Expected) -> Result<bool, sqlx::Error> {
        let query = "SELECT version FROM documents WHERE org = ? AND tbl = ? AND key = ?";
        let query = sqlx::query_scalar::<_, i64>(query);
        let query = query.bind(org.as_str()).bind(expected.table).bind(&expected.key);
        let version = query.fetch_optional(&mut self.connection).await?;
        Ok(version.and_then(|version| u64::try_from(version).ok()) == expected.version)
    }

    /// Whether nobody was there before.
    async fn claim(&mut self, org: &OrgId, claim: &Claim) -> Result<bool, sqlx::Error> {
        let query = "INSERT INTO claims (org, kind, id, until) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let query = sqlx::query(query).bind(org.as_str()).bind(claim.kind).bind(&claim.id);
        let done = query.bind(millis_of(claim.until)).execute(&mut self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn edit(&mut self, org: &OrgId, edit: &Edit) -> Result<(), sqlx::Error> {
        let query = match edit {
            Edit::Put { .. } => {
                "INSERT INTO documents (org, tbl, key, until, document, version) VALUES (?, ?, ?, ?, ?, 1)
                ON CONFLICT DO UPDATE SET
                    version = version + 1, until = excluded.until, document = excluded.document"
            }
            Edit::Delete { .. } => "DELETE FROM documents WHERE org = ? AND tbl = ? AND key = ?",
            Edit::Forget { .. } => {
                "DELETE FROM audit WHERE org = ?1 AND writer = ?2 AND number <= ?3
                AND number < (SELECT max(number) FROM audit WHERE org = ?1 AND writer = ?2)"
            }
            Edit::Erase { .. } => {
                "UPDATE audit SET personal = ?4 WHERE org = ?1 AND writer = ?2 AND number = ?3"
            }
        };
        let query = sqlx::query(query).bind(org.as_str());
        let query = match edit {
            Edit::Put { table, key, text, until } => {
                query.bind(*table).bind(key).bind(until.map(millis_of)).bind(text)
            }
            Edit::Delete { table, key } => query.bind(*table).bind(key),
            Edit::Forget { writer, up_to } => query.bind(writer).bind(signed(*up_to)),
            Edit::Erase { writer, number, left } => {
                query.bind(writer).bind(signed(*number)).bind(personal_text(left))
            }
        };
        query.execute(&mut self.connection).await.map(|_| ())
    }

    async fn append(&mut self, org: &OrgId, line: &Line) -> Result<(), sqlx::Error> {
        let mut chain = match self.chains.get(org) {
            Some(chain) => chain.clone(),
            None => self.chain(org).await?,
        };
        let row = chain.push(line.record.clone());
        let query =
            "INSERT INTO audit (org, writer, number, record, hash, personal) VALUES (?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(query).bind(org.as_str()).bind(&self.name).bind(signed(row.number));
        let query = query.bind(row.record).bind(row.hash.to_vec()).bind(personal_text(&line.personal));
        query.execute(&mut self.connection).await?;
        self.chains.insert(org.clone(), chain);
        Ok(())
    }

    /// This writer's chain, as it is in the file.
    async fn chain(&mut self, org: &OrgId) -> Result<Chain, sqlx::Error> {
        let query =
            "SELECT number, hash FROM audit WHERE org = ? AND writer = ? ORDER BY number DESC LIMIT 1";
        let query = sqlx::query(query).bind(org.as_str()).bind(&self.name);
        match query.fetch_optional(&mut self.connection).await? {
            Some(row) => read::head(&row).map(Chain::from_head).map_err(|down| sqlx::Error::Protocol(down.0)),
            None => Ok(Chain::new(org, &self.name)),
        }
    }

    /// Forgets what may be forgotten, now and then.
    async fn sweep(&mut self) -> Result<(), sqlx::Error> {
        let now = self.clock.now();
        if now < self.swept + BETWEEN_SWEEPS {
            return Ok(());
        }
        self.swept = now;
        let before = millis_of(self.clock.wall() - GRACE);
        for query in ["DELETE FROM claims WHERE until < ?", "DELETE FROM documents WHERE until < ?"] {
            sqlx::query(query).bind(before).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(&mut self.connection).await.map(|_| ())
    }
}

fn millis_of(time: WallTime) -> i64 {
    signed(time.as_millis())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn personal_text(personal: &[Personal]) -> String {
    // Our own types are maps with text keys: they always have a JSON form.
    serde_json::to_string(personal).unwrap_or_default()
}

/// One commit is one wait for the disk, however many share it.
const MOST_AT_ONCE: usize = 256;
const BETWEEN_SWEEPS: Duration = minutes(1);
/// What is swept can be claimed again: a clock that ran ahead for a while must not open that door.
const GRACE: Duration = minutes(60);
