use ztna_api::admin::{AdminError, Op};
use ztna_model::{GroupId, PersonId, Random as _, Secret, base64url};
use ztna_net::random::SystemRandom;
use ztna_pdp::audit::By;

use super::ask;
use super::local::{AccountShown, LocalAnswer};
use super::office::{Office, down};
use crate::accounts::{AccountBook, AccountError};
use crate::openid::{Account, Email, PasswordHash, Subject, UserName, hash_password};

impl Office {
    pub(super) async fn list_accounts(&self, uid: u32) -> Result<LocalAnswer, AdminError> {
        let (book, issuer) = self.book()?;
        self.note(uid, "accounts", None).await?;
        let mut accounts = book.list(&self.org).await.map_err(refused)?;
        accounts.sort_by(|one, other| one.name.cmp(&other.name));
        let accounts = accounts.iter().map(|account| shown(account, issuer)).collect();
        Ok(LocalAnswer::Accounts { accounts })
    }

    pub(super) async fn add_account(
        &self,
        uid: u32,
        name: &str,
        password: Option<Secret<String>>,
        display_name: String,
        email: Option<String>,
        groups: Vec<GroupId>,
    ) -> Result<LocalAnswer, AdminError> {
        let (book, issuer) = self.book()?;
        let name = user_name(name)?;
        if display_name.is_empty() || display_name.len() > LONGEST_NAME {
            return Err(invalid("people's names have 1 to 200 bytes"));
        }
        let (password, made) = chosen_or_made(password);
        let account = Account {
            subject: Subject::random(&mut SystemRandom::new()),
            name,
            password: hashed(password).await?,
            display_name,
            email: email.map(|address| Email { address, verified: true }),
            groups,
            disabled: false,
            not_before: ztna_model::WallTime::EPOCH,
        };
        book.add(&self.org, &account, By::Local { uid }, self.clock.wall()).await.map_err(refused)?;
        Ok(LocalAnswer::Account { account: shown(&account, issuer), password: made })
    }

    pub(super) async fn set_password(
        &self,
        uid: u32,
        name: &str,
        password: Option<Secret<String>>,
    ) -> Result<LocalAnswer, AdminError> {
        let (password, made) = chosen_or_made(password);
        let hash = hashed(password).await?;
        let now = self.clock.wall();
        let change = |account: &mut Account| {
            account.password = hash;
            account.not_before = now;
        };
        let account = self.change_account(uid, name, "account-password", change).await?;
        Ok(LocalAnswer::Account { account, password: made })
    }

    pub(super) async fn disable_account(
        &self,
        uid: u32,
        name: &str,
        disabled: bool,
    ) -> Result<LocalAnswer, AdminError> {
        let change = |account: &mut Account| account.disabled = disabled;
        let account = self.change_account(uid, name, "account-disable", change).await?;
        Ok(LocalAnswer::Account { account, password: None })
    }

    /// Removes the account first, so that nobody signs in again while the person goes.
    pub(super) async fn remove_account(&self, uid: u32, name: &str) -> Result<LocalAnswer, AdminError> {
        let (book, issuer) = self.book()?;
        let (by, now) = (By::Local { uid }, self.clock.wall());
        let account = book.remove(&self.org, &user_name(name)?, by, now).await.map_err(refused)?;
        let person = shown(&account, issuer).person;
        match ask(&self.desk, uid, Op::PersonRemove { person }).await {
            Ok(_) | Err(AdminError::Unknown { .. }) => Ok(LocalAnswer::Done {}),
            Err(error) => Err(error),
        }
    }

    async fn change_account(
        &self,
        uid: u32,
        name: &str,
        op: &str,
        change: impl FnOnce(&mut Account),
    ) -> Result<AccountShown, AdminError> {
        let (book, issuer) = self.book()?;
        let (by, now) = (By::Local { uid }, self.clock.wall());
        let account = book.change(&self.org, &user_name(name)?, op, by, now, change).await;
        Ok(shown(&account.map_err(refused)?, issuer))
    }

    fn book(&self) -> Result<(&AccountBook, &str), AdminError> {
        let book = self.accounts.as_ref().map(|(book, issuer)| (book, issuer.as_str()));
        book.ok_or_else(|| invalid("people sign in elsewhere: the provider is an external one"))
    }
}

fn shown(account: &Account, issuer: &str) -> AccountShown {
    let subject = account.subject.as_str().to_owned();
    AccountShown {
        name: account.name.as_str().to_owned(),
        person: PersonId { issuer: issuer.to_owned(), subject },
        display_name: account.display_name.clone(),
        email: account.email.as_ref().map(|email| email.address.clone()),
        groups: account.groups.clone(),
        disabled: account.disabled,
    }
}

/// A password as it was chosen, or a fresh one, which its owner has to be told.
fn chosen_or_made(chosen: Option<Secret<String>>) -> (Secret<String>, Option<Secret<String>>) {
    let Some(chosen) = chosen else {
        let fresh: [u8; 15] = SystemRandom::new().array();
        let made = Secret::new(base64url::encode(fresh));
        return (made.clone(), Some(made));
    };
    (chosen, None)
}

/// Hashing takes a tenth of a second of a processor: not on a thread that serves others.
async fn hashed(password: Secret<String>) -> Result<PasswordHash, AdminError> {
    let hashing = tokio::task::spawn_blocking(move || hash_password(&password, &mut SystemRandom::new()));
    let hash = hashing.await.map_err(|cause| invalid(&cause.to_string()))?;
    hash.map_err(|error| invalid(&error.to_string()))
}

fn user_name(text: &str) -> Result<UserName, AdminError> {
    text.parse().map_err(|error: crate::openid::UserNameError| invalid(&error.to_string()))
}

fn refused(error: AccountError) -> AdminError {
    let kind = || "account".to_owned();
    match error {
        AccountError::Unknown(name) => AdminError::Unknown { kind: kind(), id: name.to_string() },
        AccountError::Exists(name) => AdminError::Exists { kind: kind(), id: name.to_string() },
        AccountError::Overtaken => AdminError::Overtaken,
        AccountError::Down(cause) => down(cause),
        AccountError::Unreadable(message) => AdminError::Invalid { message },
    }
}

fn invalid(message: &str) -> AdminError {
    AdminError::Invalid { message: message.to_owned() }
}

const LONGEST_NAME: usize = 200;
