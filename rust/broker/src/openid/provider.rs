use openidconnect::core::{CoreJsonWebKeySet, CoreTokenType};
use openidconnect::url::ParseError;
use openidconnect::{
    AccessToken, EmptyExtraTokenFields, IdTokenFields, JsonWebTokenError, RefreshToken, Scope as WireScope,
};
use thiserror::Error;
use tokio::sync::watch;
use ztna_model::{OrgId, Random, Secret, WallTime, base64url};

use super::account::Account;
use super::authentication::Authentication;
use super::authorization::{self, Authorization, AuthorizeError, Misdirected, Refused};
use super::browser::BrowserId;
use super::client::{Client, Redirect};
use super::exchange::{self, Exchange, ExchangeError};
use super::fields::Fields;
use super::grant::{Grant, GrantState, SignInId};
use super::handle::Handle;
use super::id_token::{LIFE, OurTokens, Statement};
use super::issuer::Issuer;
use super::keys::SigningKeys;
use super::metadata::{Metadata, metadata};
use super::scope::{Scope, Scopes};
use super::seal::Seal;
use super::ticket::{Standing, Ticket};

/// What a provider is made of.
#[derive(Debug)]
pub struct Setup {
    /// The organisation: the issuer lies below its origin.
    pub org: OrgId,
    /// What people call it at the moment; shown to them.
    pub title: watch::Receiver<String>,
    /// Who may ask.
    pub client: Client,
    /// What signs.
    pub keys: SigningKeys,
    /// Marks codes and tokens; the same on all brokers of the organisation, and apart from every other key. Another
    /// one voids every code, token and open page.
    pub secret: Secret<[u8; 32]>,
}

/// The decisions of the provider: they take a request, rows and the time, and return what to answer and to save.
pub struct Provider {
    issuer: Issuer,
    title: watch::Receiver<String>,
    client: Client,
    keys: SigningKeys,
    seal: Seal,
    metadata: Metadata,
}

/// The organisation's origin cannot stand in an issuer's address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{0}` cannot be an issuer")]
pub struct SetupError(OrgId);

/// A login page to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Login {
    pub(crate) authorization: Authorization,
    /// Goes along in the form.
    pub(crate) ticket: String,
}

/// A login form that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LoginForm {
    pub(crate) authorization: Authorization,
    pub(crate) standing: Standing,
    /// As typed.
    pub(crate) name: String,
    pub(crate) password: Secret<String>,
    query: String,
}

impl Provider {
    /// A provider for one organisation.
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        let Setup { org, title, client, keys, secret } = setup;
        let seal = Seal::new(org.clone(), &secret);
        let issuer = Issuer::new(org.clone()).ok_or_else(|| SetupError(org.clone()))?;
        let metadata = metadata(&issuer).map_err(|_: ParseError| SetupError(org))?;
        Ok(Self { issuer, title, client, keys, seal, metadata })
    }

    /// Who signs the ID tokens.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// What people call the organisation at the moment.
    pub(crate) const fn title(&self) -> &watch::Receiver<String> {
        &self.title
    }

    /// What the provider says of itself.
    pub(crate) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The keys that its ID tokens verify with.
    pub fn jwks(&self) -> CoreJsonWebKeySet {
        self.keys.public()
    }

    pub(crate) const fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The login page that answers `query`, for one browser.
    pub(crate) fn ask(&self, query: &str, browser: BrowserId, now: WallTime) -> Result<Login, Refused> {
        let authorization = Authorization::parse(query, &self.client)?;
        Ok(Login { authorization, ticket: Ticket::issue(query, browser, &self.seal, now) })
    }

    /// Reads a login form. What the request in it asks for is checked anew: the ticket may be anybody's.
    pub(crate) fn login_form(
        &self,
        form: &[u8],
        browser: Option<BrowserId>,
        now: WallTime,
    ) -> Result<LoginForm, Refused> {
        let unreadable = Refused::Here(Misdirected::Unreadable);
        let fields = Fields::parse(form).ok_or_else(|| unreadable.clone())?;
        let one = |name| fields.one(name).map_err(|_| unreadable.clone());
        let ticket = one("ticket")?.and_then(|text| Ticket::open(text, browser, &self.seal, now));
        let Ticket { query, standing } = ticket.ok_or_else(|| unreadable.clone())?;
        let authorization = Authorization::parse(&query, &self.client)?;
        let name = one("username")?.unwrap_or_default().to_owned();
        let password = Secret::new(one("password")?.unwrap_or_default().to_owned());
        Ok(LoginForm { authorization, standing, name, password, query })
    }

    /// The same page with a fresh ticket.
    pub(crate) fn ask_again(&self, form: LoginForm, browser: BrowserId, now: WallTime) -> Login {
        let ticket = Ticket::issue(&form.query, browser, &self.seal, now);
        Login { authorization: form.authorization, ticket }
    }

    /// What `account` gives to the client that asked: the row to save, and the address to send the browser to.
    pub(crate) fn offer(
        &self,
        authorization: &Authorization,
        account: &Account,
        authentication: Authentication,
        random: &mut dyn Random,
    ) -> (Grant, String) {
        let state = GrantState::Offered {
            redirect: authorization.redirect.as_str().to_owned(),
            challenge: authorization.challenge,
            nonce: authorization.nonce.clone(),
        };
        let grant = Grant::offer(account, authentication, authorization.scopes.clone(), state, random);
        let code = Handle::Code(grant.id).seal(&self.seal);
        (grant, self.answer(authorization, &[("code", code.expose())]))
    }

    /// The address that tells the client why not.
    pub(crate) fn refuse(&self, redirect: &Redirect, error: AuthorizeError, state: Option<&str>) -> String {
        let description = error.to_string();
        let fields = [("error", error.code()), ("error_description", description.as_str())];
        authorization::answer(redirect, &self.issuer, state, &fields)
    }

    fn answer(&self, authorization: &Authorization, fields: &[(&str, &str)]) -> String {
        authorization::answer(&authorization.redirect, &self.issuer, authorization.state.as_deref(), fields)
    }

    /// What a token request asks for.
    pub(crate) fn exchange(&self, form: &[u8], authenticates: bool) -> Result<Exchange, ExchangeError> {
        Exchange::parse(form, authenticates, &self.client, &self.seal)
    }

    /// Which sign-in a revocation request ends.
    pub(crate) fn revocation(
        &self,
        form: &[u8],
        authenticates: bool,
    ) -> Result<Option<SignInId>, ExchangeError> {
        exchange::revocation(form, authenticates, &self.client, &self.seal)
    }

    /// The tokens of `grant`, which has been saved as it stands.
    pub(crate) fn tokens(
        &self,
        grant: &Grant,
        scopes: &Scopes,
        account: &Account,
        nonce: Option<String>,
        now: WallTime,
        random: &mut dyn Random,
    ) -> Result<OurTokens, JsonWebTokenError> {
        // The access token opens nothing here: OAuth asks for one.
        let mut access = [0; 16];
        random.fill(&mut access);
        let access = AccessToken::new(base64url::encode(access));
        let statement =
            Statement { issuer: &self.issuer, client: &self.client, grant, scopes, account, nonce, now };
        let id_token = statement.sign(&self.keys, &access)?;
        let fields = IdTokenFields::new(Some(id_token), EmptyExtraTokenFields {});
        let mut tokens = OurTokens::new(access, CoreTokenType::Bearer, fields);
        let refresh = grant.turn().map(|turn| Handle::Refresh(grant.id, turn).seal(&self.seal));
        tokens.set_expires_in(Some(&LIFE));
        tokens.set_scopes(Some(scopes.iter().map(Scope::as_str).map(|s| WireScope::new(s.into())).collect()));
        tokens.set_refresh_token(refresh.map(|token| RefreshToken::new(token.expose().clone())));
        Ok(tokens)
    }
}
