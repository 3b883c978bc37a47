use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use ztna_api::admin::{Answer, Op};
use ztna_model::{Incarnation, OrgId, PublicKey, secs};
use ztna_net::clock::Clock;
use ztna_net::fs::{FileError, create_private_dir, write_private};
use ztna_net::random::SystemRandom;
use ztna_pdp::audit::{By, Event, Record};
use ztna_pdp::rows::{Organisation, Row, Rows, Write};

use crate::admin::Office;
use crate::audit::{self, Log, VerifyError};
use crate::config::{Config, OrganisationConfig};
use crate::desk::Handle;
use crate::keys::{KeyRing, KeysError};
use crate::store::sqlite::{OpenError, Options, Sqlite};
use crate::store::{Change, Down, Edit, Expected, Line, LoadError, Store};

/// A broker's state directory, of which one process at a time has charge.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    _lock: File,
}

/// Why a state directory cannot be used, or a back-up not be restored.
#[derive(Debug, Error)]
pub enum HomeError {
    /// It is not private, or cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another broker has it.
    #[error("another broker runs in `{}`", .0.display())]
    Taken(PathBuf),
    /// The operating system refused.
    #[error("`{}`: {cause}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Its words.
        cause: std::io::Error,
    },
    /// The settings lack something.
    #[error("{0}")]
    Config(String),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The copy is none of a store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read or written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It holds nothing of this organisation.
    #[error("the back-up holds nothing of `{0}`")]
    AnotherOrganisation(OrgId),
    /// Its audit log does not hold.
    #[error("the audit log of the back-up: {0}")]
    Audit(#[from] VerifyError),
}

/// What a restore did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The life that begins.
    pub incarnation: Incarnation,
    /// Where the store of before was put; none if there was none.
    pub replaced: Option<PathBuf>,
}

impl Home {
    /// Takes charge of the directory, which is made if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, HomeError> {
        create_private_dir(dir)?;
        let path = dir.join("lock");
        let refused = |cause| HomeError::Refused { path: path.clone(), cause };
        let mut options = OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(HomeError::Taken(dir.into())),
            Err(TryLockError::Error(cause)) => Err(refused(cause)),
        }
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store.sqlite")
    }

    /// Where the token lies by which the first owner sets the organisation up.
    pub(crate) fn setup_token(&self) -> PathBuf {
        self.dir.join("setup-token")
    }

    /// Where the latest signed head of the audit chain lies.
    pub(crate) fn head_file(&self) -> PathBuf {
        self.dir.join("audit-head.jws")
    }
}

/// How the store's file is used.
pub(crate) fn options(config: &Config) -> Options {
    Options { writer: config.name.clone(), patience: secs(5) }
}

/// The life of the store; an organisation that is not there yet begins with what the settings say.
pub(crate) async fn settle(
    store: &dyn Store,
    org: &OrgId,
    settings: &OrganisationConfig,
) -> Result<Incarnation, LoadError> {
    if let Some(incarnation) = store.incarnation(org).await? {
        return Ok(incarnation);
    }
    let incarnation = Incarnation::random(&mut SystemRandom::new());
    let organisation = Organisation { incarnation, settings: settings.settings() };
    let write = Write::put(organisation);
    let (table, key) = (write.key().table(), write.key().text());
    let change = Change {
        claims: vec![],
        expects: vec![Expected { table, key, version: None }],
        edits: vec![Edit::from(&write)],
        audit: vec![line(Event::Administered { op: "organisation-made".into(), about: None })],
    };
    // Refused, if another broker was faster: then its word counts.
    let _ = store.write_one(org, change).await?;
    let settled = store.incarnation(org).await?;
    settled.ok_or_else(|| LoadError::Down(Down("the organisation was not written".into())))
}

/// Leaves the token by which there can be a first owner, for whoever owns this directory.
pub(crate) async fn offer_set_up(desk: &Handle, office: &Office) {
    let answer = crate::admin::ask(desk, office.uid, Op::SetUpToken {}).await;
    let Ok(Answer::Token { token, .. }) = answer else {
        return tracing::warn!(?answer, "no set-up token could be made");
    };
    let file = office.setup_token.display();
    match write_private(&office.setup_token, token.expose().as_bytes()) {
        Ok(()) => tracing::info!(%file, "there is no owner: a set-up token lies here"),
        Err(error) => tracing::error!(%error, "no set-up token could be left"),
    }
}

/// Puts the copy at `back_up` in the store's place, while no broker runs. The life of the store is another one then: every
/// session ends, every nonce, code and single-use token of before is void.
pub async fn restore(config: &Config, back_up: &Path) -> Result<Restored, HomeError> {
    let origin = config.origin.clone().ok_or_else(|| HomeError::Config("`origin` is missing".into()))?;
    let home = Home::open(&config.state_dir)?;
    let keys = KeyRing::open(&home.keys(), &origin, Clock.wall())?;
    let draft = home.dir.join("store.restoring");
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |cause| HomeError::Refused { path, cause }
    };
    for leftover in with_companions(&draft) {
        if leftover.exists() {
            std::fs::remove_file(&leftover).map_err(refused(&leftover))?;
        }
    }
    ztna_net::fs::create_private_file(&draft)?;
    copy_into(back_up, &draft).map_err(refused(back_up))?;
    let store = Sqlite::open(&draft, options(config)).await?;
    let incarnation = begin_another_life(&store, &origin, &keys).await?;
    store.close().await;
    let replaced = set_aside(&home.store())?;
    std::fs::rename(&draft, home.store()).map_err(refused(&draft))?;
    let _ = std::fs::remove_file(home.head_file()); // it witnesses the log that was set aside
    Ok(Restored { incarnation, replaced })
}

/// Copies what is in a file, and not who may read it.
fn copy_into(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut to = OpenOptions::new().write(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut to)?;
    to.sync_all()
}

async fn begin_another_life(
    store: &dyn Store,
    org: &OrgId,
    keys: &KeyRing,
) -> Result<Incarnation, HomeError> {
    let mut rows = store.load(org).await?;
    let Some(mut organisation) = rows.organisation.pop_first().map(|(_, row)| row) else {
        return Err(HomeError::AnotherOrganisation(org.clone()));
    };
    let audit_keys: Vec<PublicKey> = keys.audit_keys().copied().collect();
    for (writer, _) in store.chains(org).await.map_err(LoadError::from)? {
        audit::verify(store, Log { org, writer: &writer, keys: &audit_keys }, None).await?;
    }
    let incarnation = Incarnation::random(&mut SystemRandom::new());
    organisation.incarnation = incarnation;
    let change = Change {
        edits: std::iter::once(Write::put(organisation))
            .chain(single_use(&rows))
            .map(|write| Edit::from(&write))
            .collect(),
        audit: vec![line(Event::Restored { incarnation })],
        ..Change::default()
    };
    let written = store.write_one(org, change).await.map_err(LoadError::from)?;
    written.map_err(|refusal| LoadError::Down(Down(refusal.to_string())))?;
    Ok(incarnation)
}

/// Tokens that may have been used since the copy was made: nobody may use them again.
fn single_use(rows: &Rows) -> impl Iterator<Item = Write> + '_ {
    rows.enrolments.values().map(|row| Write::Delete(Row::from(row.clone()).key()))
}

fn set_aside(store: &Path) -> Result<Option<PathBuf>, HomeError> {
    if !store.exists() {
        return Ok(None);
    }
    let stamp = Clock.wall().as_millis();
    let aside = store.with_file_name(format!("store.replaced-{stamp}.sqlite"));
    for (from, to) in with_companions(store).into_iter().zip(with_companions(&aside)) {
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|cause| HomeError::Refused { path: from, cause })?;
        }
    }
    Ok(Some(aside))
}

/// A database and the files beside it.
fn with_companions(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

fn line(event: Event) -> Line {
    let record = Record { at: Clock.wall(), by: By::Broker, event };
    Line { record: record.document(), personal: vec![] }
}
