use std::path::{Path, PathBuf};
use std::sync::Arc;

use ztna_api::admin::{AdminError, Answer, Op};
use ztna_api::key::thumbprint;
use ztna_model::{OrgId, Secret};
use ztna_net::clock::Clock;
use ztna_net::tls::IdentitySlot;
use ztna_pdp::audit::{By, Event, Record};

use super::ask;
use super::local::{KeyShown, KeysShown, LocalAnswer, LocalOp};
use crate::accounts::AccountBook;
use crate::desk::{Alarms, Handle};
use crate::keys::KeyRing;
use crate::store::{Change, Down, Line, Store};

/// Who does what administrators ask for.
pub(crate) struct Office {
    pub(crate) org: OrgId,
    /// The account that this process runs under.
    pub(crate) uid: u32,
    pub(crate) desk: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: KeyRing,
    /// Accounts of the own provider, and its issuer; none where the provider is somebody else's.
    pub(crate) accounts: Option<(AccountBook, String)>,
    pub(crate) alarms: Alarms,
    pub(crate) certificate: Arc<IdentitySlot>,
    /// Whether the public listener proves the root that strings could carry.
    pub(crate) proves_root: bool,
    pub(crate) setup_token: PathBuf,
    /// Where the latest signed head of this broker's chain is kept.
    pub(crate) head_file: PathBuf,
    pub(crate) clock: Clock,
}

impl Office {
    /// Asks the desk for a decision.
    pub(super) async fn decided(&self, uid: u32, op: Op) -> Result<Answer, AdminError> {
        let sets_up = matches!(op, Op::SetUp { .. });
        let answer = ask(&self.desk, uid, op).await?;
        if sets_up {
            let _ = std::fs::remove_file(&self.setup_token); // it has served
        }
        Ok(self.passable(answer))
    }

    /// Does what is this broker's own matter.
    pub(super) async fn local(&self, uid: u32, op: LocalOp) -> Result<LocalAnswer, AdminError> {
        let name = op.name();
        match op {
            LocalOp::Accounts {} => self.list_accounts(uid).await,
            LocalOp::AccountAdd { name, password, display_name, email, groups } => {
                self.add_account(uid, &name, password, display_name, email, groups).await
            }
            LocalOp::AccountPassword { name, password } => self.set_password(uid, &name, password).await,
            LocalOp::AccountDisable { name, disabled } => self.disable_account(uid, &name, disabled).await,
            LocalOp::AccountRemove { name } => self.remove_account(uid, &name).await,
            LocalOp::AuditVerify { writer, witness } => self.verify_log(uid, writer, witness).await,
            LocalOp::AuditExport { writer, after } => self.export_log(uid, writer, after).await,
            LocalOp::AuditErase { text } => self.erase(uid, &text).await,
            LocalOp::BackUp { to } => self.back_up(uid, &to).await,
            LocalOp::Keys {} => {
                self.note(uid, name, None).await?;
                Ok(LocalAnswer::Keys(self.keys_shown()))
            }
            LocalOp::Alarms {} => {
                self.note(uid, name, None).await?;
                Ok(LocalAnswer::Alarms { alarms: self.alarms.latest() })
            }
        }
    }

    /// Writes down what is done, before it is.
    pub(super) async fn note(&self, uid: u32, op: &str, about: Option<String>) -> Result<(), AdminError> {
        let event = Event::Administered { op: op.into(), about };
        let record = Record { at: self.clock.wall(), by: By::Local { uid }, event }.document();
        let change = Change { audit: vec![Line { record, personal: vec![] }], ..Change::default() };
        let written = self.store.write_one(&self.org, change).await;
        written.map_err(down)?.map_err(|_| AdminError::Overtaken)
    }

    async fn back_up(&self, uid: u32, to: &Path) -> Result<LocalAnswer, AdminError> {
        let invalid = |message: String| AdminError::Invalid { message };
        if !to.is_absolute() {
            return Err(invalid(
                "the file's path must be absolute: the broker has another current directory".into(),
            ));
        }
        self.note(uid, "back-up", None).await?;
        self.store.back_up(to).await.map_err(|Down(cause)| invalid(cause))?;
        let bytes = std::fs::metadata(to).map_err(|cause| invalid(cause.to_string()))?.len();
        Ok(LocalAnswer::BackedUp { bytes })
    }

    fn keys_shown(&self) -> KeysShown {
        let set = self.keys.set();
        let shown = |key: &ztna_api::keyset::Key| KeyShown {
            usage: key.usage,
            state: key.state,
            thumbprint: thumbprint(&key.jwk),
        };
        KeysShown {
            root: self.keys.root(),
            root_is_here: self.keys.has_root(),
            seq: set.seq,
            keys: set.keys.iter().map(shown).collect(),
            certificate_until: self.certificate.current().not_after(),
        }
    }

    /// A token that names the root is of use only where the public listener proves it.
    fn passable(&self, answer: Answer) -> Answer {
        if self.proves_root {
            return answer;
        }
        let Answer::Token { token, expires } = answer else { return answer };
        let named = format!("#{}", self.keys.root());
        Answer::Token { token: Secret::new(token.expose().replacen(&named, "", 1)), expires }
    }
}

pub(super) fn down(Down(cause): Down) -> AdminError {
    tracing::warn!(cause, "an administrator's request was not written down");
    AdminError::StoreDown
}
