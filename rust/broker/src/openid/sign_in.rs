use std::net::IpAddr;
use std::time::Duration;

use ztna_model::Secret;
use ztna_net::random::SystemRandom;

use super::account::{Account, UserName};
use super::authentication::Authentication;
use super::authorization::{Authorization, Refused};
use super::browser::{BrowserId, Cookies, KnownBrowser};
use super::provider::{Login, LoginForm};
use super::service::{Failure, Service};
use super::store::{Accounts, Change, Event, Grants, StoreError};
use super::throttle::{Attempt, Name, TooMany, party};
use super::ticket::Standing;

/// What a login form comes to.
pub(crate) enum SignIn {
    /// The browser goes to the client.
    Done {
        /// Where.
        address: String,
        /// The cookie by which the browser is known from here on.
        known: String,
    },
    /// The page is shown again.
    Again {
        /// The page.
        login: Login,
        /// What was typed as the name.
        name: String,
        /// What to tell the person.
        notice: Notice,
    },
}

/// What a person is told above the form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// Name or password are wrong, and nobody says which.
    Wrong,
    /// One of them is missing.
    Incomplete,
    /// Too many tries.
    TooMany(Duration),
    /// Too many people at once.
    Busy,
    /// The page was open for too long.
    Stale,
    /// The browser did not send its cookie along.
    NoCookie,
}

/// What a name and a password come to.
enum Verdict {
    In(Box<Account>),
    Wrong,
    Busy,
}

impl<S: Accounts + Grants> Service<S> {
    /// Signs in whoever filled the form.
    pub(crate) async fn sign_in(
        &self,
        form: &[u8],
        cookies: &Cookies,
        browser: BrowserId,
        source: IpAddr,
    ) -> Result<SignIn, Failure<Refused>> {
        let form =
            self.provider.login_form(form, cookies.browser, self.clock.wall()).map_err(Failure::Refused)?;
        match self.verify(&form, cookies, source).await? {
            Ok(account) => Ok(self.admit(&form.authorization, &account).await?),
            Err(notice) => {
                let name = form.name.clone();
                Ok(SignIn::Again {
                    login: self.provider.ask_again(form, browser, self.clock.wall()),
                    name,
                    notice,
                })
            }
        }
    }

    /// Whose name and password these are, or what to tell the person instead.
    async fn verify(
        &self,
        form: &LoginForm,
        cookies: &Cookies,
        source: IpAddr,
    ) -> Result<Result<Account, Notice>, StoreError> {
        if let Some(notice) = objection(form) {
            return Ok(Err(notice));
        }
        let (seal, name) = (self.provider.seal(), form.name.parse().ok());
        let known = name.as_ref().and_then(|name| cookies.known(seal, name));
        let party = party(seal, name.as_ref(), known.is_some());
        let attempt = Attempt::new(seal, name.as_ref(), known, source);
        if let Err(TooMany { wait }) = self.throttle().begin(&attempt, self.clock.now()) {
            return Ok(Err(Notice::TooMany(wait)));
        }
        let verdict = self.verdict(party, name.as_ref(), &form.password).await;
        match &verdict {
            Ok(Verdict::In(_)) => self.throttle().succeeded(&attempt, self.clock.now()),
            Ok(Verdict::Busy) | Err(_) => self.throttle().withdrawn(&attempt, self.clock.now()),
            Ok(Verdict::Wrong) => {}
        }
        Ok(match verdict? {
            Verdict::In(account) => Ok(*account),
            Verdict::Wrong => Err(Notice::Wrong),
            Verdict::Busy => Err(Notice::Busy),
        })
    }

    /// The same steps for every name, whether there is such an account or not.
    async fn verdict(
        &self,
        party: Name,
        name: Option<&UserName>,
        password: &Secret<String>,
    ) -> Result<Verdict, StoreError> {
        let account = match name {
            Some(name) => self.store.named(self.org(), name).await?,
            None => None,
        };
        let hash = account.as_ref().map(|account| &account.password);
        let Ok(is_of) = self.hashing.check(party, hash, password.clone()).await else {
            return Ok(Verdict::Busy);
        };
        match account {
            Some(account) if is_of && !account.disabled => Ok(Verdict::In(Box::new(account))),
            account => {
                let event = Event::Refused { subject: account.map(|account| account.subject) };
                self.store.note(self.org(), event, self.clock.wall()).await?;
                Ok(Verdict::Wrong)
            }
        }
    }

    /// Lets `account` in. A second factor has its place between `verify` and here.
    async fn admit(&self, authorization: &Authorization, account: &Account) -> Result<SignIn, StoreError> {
        let (mut random, now) = (SystemRandom::new(), self.clock.wall());
        let authentication = Authentication::by_password(now);
        let (grant, address) = self.provider.offer(authorization, account, authentication, &mut random);
        let event = Some(Event::SignedIn { subject: grant.subject.clone(), sid: grant.id });
        let change = Change { grant, over: None, claims_code: None, event, now };
        if self.store.change(self.org(), change).await?.is_err() {
            return Err(StoreError("a fresh sign-in is there already".into()));
        }
        let known = KnownBrowser::random(&mut random).set_cookie(self.provider.seal(), &account.name);
        Ok(SignIn::Done { address, known })
    }
}

/// Why a form does not count, whatever stands in it.
fn objection(form: &LoginForm) -> Option<Notice> {
    match form.standing {
        Standing::Stale => Some(Notice::Stale),
        Standing::Foreign => Some(Notice::NoCookie),
        Standing::Good if form.name.trim().is_empty() || form.password.expose().is_empty() => {
            Some(Notice::Incomplete)
        }
        Standing::Good => None,
    }
}
