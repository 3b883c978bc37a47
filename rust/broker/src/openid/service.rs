use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use ztna_model::OrgId;
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;

use super::authorization::Refused;
use super::browser::BrowserId;
use super::grant::{GrantState, SignInId};
use super::hashing::Hashing;
use super::provider::{Login, Provider};
use super::store::{Accounts, Change, Event, Grants, StoreError};
use super::throttle::Throttle;

/// The provider at work: asks it what to do, and the store for what it needs.
pub struct Service<S> {
    pub(super) provider: Provider,
    pub(super) store: S,
    pub(super) hashing: Hashing,
    pub(super) clock: Clock,
    throttle: Mutex<Throttle>,
}

/// Why there is nothing to answer.
#[derive(Debug, Error)]
pub(crate) enum Failure<R> {
    /// The request is refused.
    #[error("refused")]
    Refused(R),
    /// Our fault.
    #[error("{0}")]
    Fault(String),
}

impl<S: Accounts + Grants> Service<S> {
    /// Serves `provider` from `store`; `at_once` passwords are checked at a time.
    pub fn new(provider: Provider, store: S, at_once: NonZeroUsize) -> Self {
        let hashing = Hashing::new(at_once, &mut SystemRandom::new());
        Self { provider, store, hashing, throttle: Mutex::new(Throttle::new(MOST_COUNTERS)), clock: Clock }
    }

    /// The provider.
    pub const fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn ask(&self, query: &str, browser: BrowserId) -> Result<Login, Refused> {
        self.provider.ask(query, browser, self.clock.wall())
    }

    /// Ends the grant of sign-in `id`, which is noted as `event` by the call that ends it.
    pub(super) async fn end(&self, id: SignInId, event: Option<Event>) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let kept = self.store.find(self.org(), id).await?;
            let Some(kept) = kept.filter(|kept| kept.grant.state != GrantState::Ended) else { return Ok(()) };
            let now = self.clock.wall();
            let (grant, over) = (kept.grant.ended(), Some(kept.version));
            let change = Change { grant, over, claims_code: None, event: event.clone(), now };
            if self.store.change(self.org(), change).await?.is_ok() {
                return Ok(());
            }
        }
        Err(StoreError("the grant's row is never left alone".into()))
    }

    pub(super) const fn org(&self) -> &OrgId {
        self.provider.issuer().org()
    }

    pub(super) fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> From<StoreError> for Failure<R> {
    fn from(error: StoreError) -> Self {
        Self::Fault(error.to_string())
    }
}

/// Names and addresses whose failures are remembered: some 5 MiB.
const MOST_COUNTERS: usize = 50_000;
/// How often a row may change under our hands before something is wrong.
pub(crate) const TRIES: usize = 5;
