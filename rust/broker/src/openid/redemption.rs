use ztna_model::WallTime;
use ztna_net::random::SystemRandom;

use super::account::Account;
use super::exchange::{CodeExchange, Exchange, ExchangeError, RefreshExchange};
use super::grant::{Grant, GrantError, Presented, SignInId};
use super::id_token::OurTokens;
use super::scope::Scopes;
use super::service::{Failure, Service, TRIES};
use super::store::{Accounts, Change, Event, Grants, Kept, NotChanged};

impl<S: Accounts + Grants> Service<S> {
    /// Answers a token request.
    pub(crate) async fn exchange(
        &self,
        form: &[u8],
        authenticates: bool,
    ) -> Result<OurTokens, Failure<ExchangeError>> {
        match self.provider.exchange(form, authenticates)? {
            Exchange::Code(code) => self.redeem(&code).await,
            Exchange::Refresh(refresh) => self.refresh(&refresh).await,
        }
    }

    async fn redeem(&self, code: &CodeExchange) -> Result<OurTokens, Failure<ExchangeError>> {
        let (kept, now) = (self.grant(code.id).await?, self.clock.wall());
        let presented = Presented { redirect: &code.redirect, verifier: code.verifier.expose() };
        let (grant, nonce) = match kept.grant.redeem(&presented, now) {
            Ok(redeemed) => redeemed,
            Err(error) => return Err(self.refused(&kept.grant, error).await),
        };
        let account = self.account_of(&kept.grant).await?;
        let claims_code = Some(kept.grant.until());
        let change = Change { grant: grant.clone(), over: Some(kept.version), claims_code, event: None, now };
        match self.store.change(self.org(), change).await? {
            Ok(()) => self.tokens(&grant, &grant.scopes, &account, nonce, now),
            Err(NotChanged::Claimed) => Err(self.refused(&kept.grant, GrantError::Reused).await),
            Err(NotChanged::Overtaken) => Err(GrantError::Unknown.into()), // it ended in between
        }
    }

    async fn refresh(&self, request: &RefreshExchange) -> Result<OurTokens, Failure<ExchangeError>> {
        for _ in 0..TRIES {
            let (kept, now) = (self.grant(request.id).await?, self.clock.wall());
            let grant = match kept.grant.refresh(request.turn, now) {
                Ok(grant) => grant,
                Err(error) => return Err(self.refused(&kept.grant, error).await),
            };
            let scopes = request.scopes.as_ref().unwrap_or(&grant.scopes);
            if !grant.scopes.cover(scopes) {
                return Err(ExchangeError::Scope.into());
            }
            let account = self.account_of(&grant).await?;
            let change = Change {
                grant: grant.clone(),
                over: Some(kept.version),
                claims_code: None,
                event: None,
                now,
            };
            if grant == kept.grant || self.store.change(self.org(), change).await?.is_ok() {
                return self.tokens(&grant, scopes, &account, None, now);
            }
        }
        Err(Failure::Fault("the grant's row is never left alone".into()))
    }

    /// Ends the sign-in whose refresh token the client gives back.
    pub(crate) async fn revoke(
        &self,
        form: &[u8],
        authenticates: bool,
    ) -> Result<(), Failure<ExchangeError>> {
        let Some(id) = self.provider.revocation(form, authenticates)? else { return Ok(()) };
        let Some(Kept { grant, .. }) = self.store.find(self.org(), id).await? else { return Ok(()) };
        self.end(id, Some(Event::Revoked { subject: grant.subject, sid: id })).await?;
        Ok(())
    }

    async fn grant(&self, id: SignInId) -> Result<Kept, Failure<ExchangeError>> {
        self.store.find(self.org(), id).await?.ok_or_else(|| GrantError::Unknown.into())
    }

    /// The account behind `grant`. If it is gone or wants a new sign-in, the grant ends.
    async fn account_of(&self, grant: &Grant) -> Result<Account, Failure<ExchangeError>> {
        let account = self.store.of(self.org(), &grant.subject).await?;
        match account.filter(|account| grant.is_good_for(account)) {
            Some(account) => Ok(account),
            None => {
                self.end(grant.id, None).await?;
                Err(GrantError::PersonGone.into())
            }
        }
    }

    fn tokens(
        &self,
        grant: &Grant,
        scopes: &Scopes,
        account: &Account,
        nonce: Option<String>,
        now: WallTime,
    ) -> Result<OurTokens, Failure<ExchangeError>> {
        self.provider
            .tokens(grant, scopes, account, nonce, now, &mut SystemRandom::new())
            .map_err(|error| Failure::Fault(error.to_string()))
    }

    /// The refusal, after what it means for the grant: one that was used again is over.
    async fn refused(&self, grant: &Grant, error: GrantError) -> Failure<ExchangeError> {
        if error == GrantError::Reused {
            let event = Event::Reused { subject: grant.subject.clone(), sid: grant.id };
            if let Err(error) = self.end(grant.id, Some(event)).await {
                return error.into();
            }
        }
        error.into()
    }
}

impl From<ExchangeError> for Failure<ExchangeError> {
    fn from(error: ExchangeError) -> Self {
        Self::Refused(error)
    }
}

impl From<GrantError> for Failure<ExchangeError> {
    fn from(error: GrantError) -> Self {
        Self::Refused(error.into())
    }
}
