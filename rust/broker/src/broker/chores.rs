use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use ztna_model::{Host, OrgId, PublicKey, minutes, secs};
use ztna_net::clock::Clock;
use ztna_net::fs::write_private;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{Identity, IdentitySlot};
use ztna_pdp::audit::Head;

use crate::audit::{Log, SignedHead, forget_before, still_holds};
use crate::desk::Alarms;
use crate::keys::KeyRing;
use crate::server::stopped;
use crate::store::Store;

/// What has to be done now and then.
pub(super) struct Chores {
    pub(super) org: OrgId,
    pub(super) keys: KeyRing,
    pub(super) store: Arc<dyn Store>,
    /// What the broker's own certificate proves.
    pub(super) names: Vec<Host>,
    pub(super) own: Arc<IdentitySlot>,
    /// Certificates of the public listener in files, and where they are shown.
    pub(super) files: Option<(PathBuf, PathBuf, Arc<IdentitySlot>)>,
    /// 0 for ever.
    pub(super) keep_days: u64,
    pub(super) head_file: PathBuf,
    pub(super) alarms: Alarms,
    pub(super) clock: Clock,
}

impl Chores {
    /// Does them until `stop` says so, and some of them once more then.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let (mut signed, mut round) = (None, 0_u64);
        loop {
            self.renew_certificates(round);
            self.sign_head(&mut signed).await;
            if round.is_multiple_of(FORGET_EVERY) {
                self.forget().await;
            }
            round += 1;
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        self.sign_head(&mut signed).await;
    }

    /// The own certificate at half its life, files as they come.
    fn renew_certificates(&self, round: u64) {
        let now = self.clock.wall();
        if now >= self.own.current().half_life() {
            match self.keys.tls_ca().server(&self.names, now, &mut SystemRandom::new()) {
                Ok(identity) => self.own.replace(identity),
                Err(error) => tracing::error!(%error, "the broker's certificate could not be renewed"),
            }
        }
        if let Some((certificate, key, slot)) =
            self.files.as_ref().filter(|_| round.is_multiple_of(READ_EVERY))
        {
            match Identity::from_pem_files(certificate, key) {
                Ok(identity) => slot.replace(identity),
                Err(error) => tracing::warn!(%error, "the public listener keeps the certificate it has"),
            }
        }
    }

    /// Signs where this broker's chain ends: what is cut off before that is missed from then on. A head that the log does
    /// not hold any more is evidence, and stays.
    async fn sign_head(&self, signed: &mut Option<Head>) {
        let writer = self.store.writer();
        let chains = self.store.chains(&self.org).await.unwrap_or_default();
        let Some((_, head)) = chains.into_iter().find(|(name, _)| name == writer) else { return };
        if *signed == Some(head) {
            return;
        }
        let keys: Vec<PublicKey> = self.keys.audit_keys().copied().collect();
        let log = Log { org: &self.org, writer, keys: &keys };
        if !self.holds_what_was_signed(log).await {
            return;
        }
        match SignedHead::sign(log, head, self.clock.wall(), &**self.keys.audit()) {
            Ok(text) => match write_private(&self.head_file, text.as_bytes()) {
                Ok(()) => *signed = Some(head),
                Err(error) => tracing::warn!(%error, "the audit log's head could not be kept"),
            },
            Err(error) => tracing::error!(%error, "the audit key does not sign"),
        }
    }

    async fn holds_what_was_signed(&self, log: Log<'_>) -> bool {
        let Ok(known) = std::fs::read_to_string(&self.head_file) else { return true };
        let why = match still_holds(&*self.store, log, known.trim()).await {
            Ok(true) => return true,
            Ok(false) => "rows that were signed for are missing, or are others".to_owned(),
            Err(error) => error.to_string(),
        };
        self.alarms.tell(format!("the audit log does not hold: {why}"), self.clock.wall());
        false
    }

    async fn forget(&self) {
        if self.keep_days == 0 {
            return;
        }
        let now = self.clock.wall();
        let before = now - secs(self.keep_days.saturating_mul(24 * 3600));
        let keys: Vec<PublicKey> = self.keys.audit_keys().copied().collect();
        let log = Log { org: &self.org, writer: self.store.writer(), keys: &keys };
        match forget_before(&*self.store, log, before, now, &**self.keys.audit()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "rows of the audit log were old enough to be forgotten"),
            Err(error) => tracing::error!(%error, "old rows of the audit log were not forgotten"),
        }
    }
}

const ROUND: Duration = minutes(1);
/// In rounds.
const READ_EVERY: u64 = 10;
const FORGET_EVERY: u64 = 60;
