use thiserror::Error;

use super::authentication::Class;
use super::challenge::Challenge;
use super::client::{Client, Redirect};
use super::fields::{Fields, Repeated};
use super::issuer::Issuer;
use super::scope::Scopes;

/// A request to sign somebody in that can be granted (OpenID Connect Core, 3.1.2.1; RFC 7636; RFC 9700).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Authorization {
    /// Where the answer goes.
    pub(crate) redirect: Redirect,
    /// What the client knows its own answer by.
    pub(crate) state: Option<String>,
    /// What the ID token must repeat.
    pub(crate) nonce: Option<String>,
    /// What the client must meet to redeem the code.
    pub(crate) challenge: Challenge,
    /// What is asked for.
    pub(crate) scopes: Scopes,
    /// Who the client thinks will sign in.
    pub(crate) login_hint: Option<String>,
}

/// A request that cannot be granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// Nobody is known to whom the browser could be sent back: said on a page.
    Here(Misdirected),
    /// Said to the client.
    Back {
        /// Where to.
        redirect: Redirect,
        /// What.
        error: AuthorizeError,
        /// What the client knows its own answer by.
        state: Option<String>,
    },
}

/// Why nobody can be told but the person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum Misdirected {
    /// The request cannot be read.
    #[error("the request is too long, or names its sender twice")]
    Unreadable,
    /// No such client.
    #[error("the client is not known")]
    UnknownClient,
    /// The client's answers may not go there.
    #[error("the client may not be answered there")]
    UnknownRedirect,
}

/// Why a client's request cannot be granted, in words for who wrote the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum AuthorizeError {
    /// RFC 6749, 3.1.
    #[error("a parameter is given twice")]
    Repeated,
    /// Longer than anything that belongs there.
    #[error("`state` or `nonce` is too long")]
    TooLong,
    /// Request objects are not read.
    #[error("`request` is not supported")]
    RequestObject,
    /// Request objects are not fetched.
    #[error("`request_uri` is not supported")]
    RequestUri,
    /// There is no registration on the way.
    #[error("`registration` is not supported")]
    Registration,
    /// No form posts, no fragments.
    #[error("`response_mode` must be `query`")]
    ResponseMode,
    /// It says nothing.
    #[error("`response_type` is missing")]
    NoResponseType,
    /// No implicit or hybrid flow.
    #[error("`response_type` must be `code`")]
    ResponseType,
    /// This is OpenID Connect only.
    #[error("`scope` must hold `openid`")]
    Scope,
    /// RFC 7636, and no `plain`.
    #[error("`code_challenge` by `code_challenge_method` S256 is required")]
    Pkce,
    /// It makes no sense.
    #[error("`prompt` or `max_age` is not understood")]
    Prompt,
    /// Nobody is ever signed in without being asked.
    #[error("nobody can be signed in without a page")]
    LoginRequired,
    /// None of the classes asked for can be reached here.
    #[error("none of `acr_values` can be reached")]
    UnmetClass,
}

impl Authorization {
    /// Reads `query`. Client and redirect come first: whatever else is wrong is told to a verified client alone.
    pub(crate) fn parse(query: &str, client: &Client) -> Result<Self, Refused> {
        let fields = Fields::parse(query.as_bytes()).ok_or(Refused::Here(Misdirected::Unreadable))?;
        let redirect = verified_redirect(&fields, client).map_err(Refused::Here)?;
        let state = fields.one("state").ok().flatten().filter(|state| state.len() <= LONGEST_STATE);
        let state = state.map(str::to_owned);
        Self::check(&fields, redirect.clone(), state.clone()).map_err(|error| Refused::Back {
            redirect,
            error,
            state,
        })
    }

    fn check(fields: &Fields, redirect: Redirect, state: Option<String>) -> Result<Self, AuthorizeError> {
        if state.as_deref() != fields.one("state")? {
            return Err(AuthorizeError::TooLong);
        }
        check_form(fields)?;
        let scopes = fields.one("scope")?.and_then(Scopes::parse).ok_or(AuthorizeError::Scope)?;
        let nonce = bounded(fields.one("nonce")?, LONGEST_STATE)?;
        let challenge = challenge(fields)?;
        check_person(fields)?;
        let login_hint = bounded(fields.one("login_hint")?, LONGEST_HINT).unwrap_or_default();
        Ok(Self { redirect, state, nonce, challenge, scopes, login_hint })
    }
}

impl AuthorizeError {
    /// The code (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6; OpenID Connect Unmet Authentication Requirements).
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Repeated
            | Self::TooLong
            | Self::ResponseMode
            | Self::NoResponseType
            | Self::Pkce
            | Self::Prompt => "invalid_request",
            Self::RequestObject => "request_not_supported",
            Self::RequestUri => "request_uri_not_supported",
            Self::Registration => "registration_not_supported",
            Self::ResponseType => "unsupported_response_type",
            Self::Scope => "invalid_scope",
            Self::LoginRequired => "login_required",
            Self::UnmetClass => "unmet_authentication_requirements",
        }
    }
}

impl From<Repeated> for AuthorizeError {
    fn from(Repeated: Repeated) -> Self {
        Self::Repeated
    }
}

/// The address that takes an answer to a request, good or bad. It always says who answers (RFC 9207).
pub(crate) fn answer(
    redirect: &Redirect,
    issuer: &Issuer,
    state: Option<&str>,
    fields: &[(&str, &str)],
) -> String {
    let mut fields = fields.to_vec();
    fields.extend(state.map(|state| ("state", state)));
    fields.push(("iss", issuer.as_str()));
    redirect.with(&fields)
}

fn verified_redirect(fields: &Fields, client: &Client) -> Result<Redirect, Misdirected> {
    let one = |name| fields.one(name).map_err(|Repeated| Misdirected::Unreadable);
    if one("client_id")? != Some(client.id()) {
        return Err(Misdirected::UnknownClient);
    }
    one("redirect_uri")?.and_then(|address| client.redirect(address)).ok_or(Misdirected::UnknownRedirect)
}

/// How the client asks, and how it wants its answer.
fn check_form(fields: &Fields) -> Result<(), AuthorizeError> {
    if fields.one("request")?.is_some() {
        return Err(AuthorizeError::RequestObject);
    }
    if fields.one("request_uri")?.is_some() {
        return Err(AuthorizeError::RequestUri);
    }
    if fields.one("registration")?.is_some() {
        return Err(AuthorizeError::Registration);
    }
    if fields.one("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(AuthorizeError::ResponseMode);
    }
    match fields.one("response_type")? {
        Some("code") => Ok(()),
        Some(_) => Err(AuthorizeError::ResponseType),
        None => Err(AuthorizeError::NoResponseType),
    }
}

fn challenge(fields: &Fields) -> Result<Challenge, AuthorizeError> {
    let by_hash = fields.one("code_challenge_method")? == Some("S256");
    let challenge = fields.one("code_challenge")?.and_then(Challenge::parse);
    challenge.filter(|_| by_hash).ok_or(AuthorizeError::Pkce)
}

/// What is asked of the person. The password is asked for every time, so `prompt=login` and every `max_age` are met.
fn check_person(fields: &Fields) -> Result<(), AuthorizeError> {
    if fields.one("max_age")?.is_some_and(|age| age.parse::<u32>().is_err()) {
        return Err(AuthorizeError::Prompt);
    }
    match fields.one("prompt")?.map(|prompt| prompt.split(' ').collect::<Vec<_>>()).as_deref() {
        Some(["none"]) => return Err(AuthorizeError::LoginRequired),
        Some(prompts) if !prompts.iter().all(|prompt| PROMPTS.contains(prompt)) => {
            return Err(AuthorizeError::Prompt);
        }
        Some(_) | None => {}
    }
    let reachable =
        |values: &str| values.split(' ').any(|value| Class::ALL.iter().any(|c| c.as_str() == value));
    if fields.one("acr_values")?.is_some_and(|values| !reachable(values)) {
        return Err(AuthorizeError::UnmetClass);
    }
    Ok(())
}

fn bounded(value: Option<&str>, longest: usize) -> Result<Option<String>, AuthorizeError> {
    match value {
        Some(value) if value.len() > longest => Err(AuthorizeError::TooLong),
        value => Ok(value.map(str::to_owned)),
    }
}

/// Each of them ends in the login page, which asks for name and password and says for whom.
pub(crate) const PROMPTS: [&str; 3] = ["login", "consent", "select_account"];
const LONGEST_STATE: usize = 512;
const LONGEST_HINT: usize = 256;
