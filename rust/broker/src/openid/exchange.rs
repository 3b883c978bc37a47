use serde::Serialize;
use thiserror::Error;
use ztna_model::Secret;

use super::client::Client;
use super::fields::{Fields, Repeated};
use super::grant::{GrantError, SignInId};
use super::handle::Handle;
use super::scope::Scopes;
use super::seal::Seal;

/// What was asked of the token endpoint, once its form is right and what it holds is ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Exchange {
    /// A code for tokens (OpenID Connect Core, 3.1.3).
    Code(CodeExchange),
    /// A refresh token for fresh ones (OpenID Connect Core, 12).
    Refresh(RefreshExchange),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CodeExchange {
    pub(crate) id: SignInId,
    pub(crate) redirect: String,
    pub(crate) verifier: Secret<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RefreshExchange {
    pub(crate) id: SignInId,
    pub(crate) turn: u32,
    /// Fewer scopes than were granted, if they are named.
    pub(crate) scopes: Option<Scopes>,
}

/// Why the token endpoint gives nothing (RFC 6749, 5.2).
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum ExchangeError {
    /// The form lacks something, or says it twice.
    #[error("{0}")]
    Malformed(&'static str),
    /// Another client, or one that shows a secret: ours has none.
    #[error("the client is not known, or is public and may not authenticate")]
    WrongClient,
    /// Neither of the two.
    #[error("`grant_type` must be `authorization_code` or `refresh_token`")]
    GrantType,
    /// More than was granted, or no `openid`.
    #[error("`scope` asks for more than was granted")]
    Scope,
    /// The code or the token gives nothing.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

impl Exchange {
    /// Reads a form. `authenticates` says that an `Authorization` header came along.
    pub(crate) fn parse(
        form: &[u8],
        authenticates: bool,
        client: &Client,
        seal: &Seal,
    ) -> Result<Self, ExchangeError> {
        let fields = Fields::parse(form).ok_or(ExchangeError::Malformed("the form is too long"))?;
        check_client(&fields, authenticates, client)?;
        match fields.one("grant_type")? {
            Some("authorization_code") => Self::parse_code(&fields, seal),
            Some("refresh_token") => Self::parse_refresh(&fields, seal),
            Some(_) => Err(ExchangeError::GrantType),
            None => Err(ExchangeError::Malformed("`grant_type` is missing")),
        }
    }

    fn parse_code(fields: &Fields, seal: &Seal) -> Result<Self, ExchangeError> {
        let code = required(fields, "code", "`code` is missing")?;
        let redirect = required(fields, "redirect_uri", "`redirect_uri` is missing")?.to_owned();
        let verifier = required(fields, "code_verifier", "`code_verifier` is missing")?.to_owned();
        let id = Handle::open_code(code, seal).ok_or(GrantError::Unknown)?;
        Ok(Self::Code(CodeExchange { id, redirect, verifier: Secret::new(verifier) }))
    }

    fn parse_refresh(fields: &Fields, seal: &Seal) -> Result<Self, ExchangeError> {
        let token = required(fields, "refresh_token", "`refresh_token` is missing")?;
        let scopes = match fields.one("scope")? {
            Some(scope) => Some(Scopes::parse(scope).ok_or(ExchangeError::Scope)?),
            None => None,
        };
        let (id, turn) = Handle::open_refresh(token, seal).ok_or(GrantError::Unknown)?;
        Ok(Self::Refresh(RefreshExchange { id, turn, scopes }))
    }
}

/// Which sign-in a client wants to see ended (RFC 7009, 2.1), if the token is ours. Access tokens open nothing, so
/// they have nothing to end.
pub(crate) fn revocation(
    form: &[u8],
    authenticates: bool,
    client: &Client,
    seal: &Seal,
) -> Result<Option<SignInId>, ExchangeError> {
    let fields = Fields::parse(form).ok_or(ExchangeError::Malformed("the form is too long"))?;
    check_client(&fields, authenticates, client)?;
    let token = required(&fields, "token", "`token` is missing")?;
    Ok(Handle::open_refresh(token, seal).map(|(id, _)| id))
}

fn check_client(fields: &Fields, authenticates: bool, client: &Client) -> Result<(), ExchangeError> {
    let shows_secret =
        authenticates || fields.one("client_secret")?.is_some() || fields.one("client_assertion")?.is_some();
    if shows_secret || fields.one("client_id")? != Some(client.id()) {
        return Err(ExchangeError::WrongClient);
    }
    Ok(())
}

fn required<'a>(fields: &'a Fields, name: &str, missing: &'static str) -> Result<&'a str, ExchangeError> {
    fields.one(name)?.ok_or(ExchangeError::Malformed(missing))
}

impl From<Repeated> for ExchangeError {
    fn from(Repeated: Repeated) -> Self {
        Self::Malformed("a parameter is given twice")
    }
}

/// A refusal as the token endpoint writes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: &'static str,
    pub(crate) error_description: String,
}

impl ExchangeError {
    /// The code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "invalid_request",
            Self::WrongClient => "invalid_client",
            Self::GrantType => "unsupported_grant_type",
            Self::Scope => "invalid_scope",
            Self::Grant(_) => "invalid_grant",
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal { error: self.code(), error_description: self.to_string() }
    }
}
