use std::cell::RefCell;

use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreGrantType, CoreIdTokenVerifier, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthorizationCode, ClientId, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, Scope, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{Secret, WallTime};

use crate::call::{Request, Response};

/// An OpenID provider whose metadata and keys are known.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    metadata: Metadata,
    client: ClientId,
    redirect: RedirectUrl,
}

/// What the provider issued.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) id_token: Secret<String>,
    pub(crate) refresh: Option<Secret<String>>,
}

/// What happened when a conversation with the provider was played with the answers known so far.
pub(crate) enum Step<T> {
    /// It needs the answer to this request as well.
    Needs(Box<Request>),
    /// It came to an end.
    Done(T),
}

/// Why the provider's answers are not believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProviderError {
    /// Its metadata or keys make no sense, or are another issuer's.
    #[error("its description is not sound: {0}")]
    BadMetadata(String),
    /// It refused the code.
    #[error("it refused the code: {0}")]
    CodeRefused(String),
    /// It issued no ID token.
    #[error("it issued no ID token")]
    NoIdToken,
    /// The ID token is not what this sign-in asked for.
    #[error("its ID token is not sound: {0}")]
    BadIdToken(String),
}

impl Provider {
    /// Learns metadata and keys of `issuer` from `answers`, in the order in which they were asked for.
    pub(crate) fn discover(
        issuer: &str,
        client: &str,
        redirect: &str,
        answers: &[Response],
    ) -> Result<Step<Self>, ProviderError> {
        let bad = |error: &dyn std::fmt::Display| ProviderError::BadMetadata(error.to_string());
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(|error| bad(&error))?;
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| bad(&error))?;
        let replay = Replay::new(answers);
        let outcome = Metadata::discover(&issuer, &|request| replay.call(request));
        if let Some(request) = replay.needs.take() {
            return Ok(Step::Needs(Box::new(request)));
        }
        let metadata = outcome.map_err(|error| bad(&error))?;
        Ok(Step::Done(Self { metadata, client: ClientId::new(client.to_owned()), redirect }))
    }

    pub(crate) fn issuer(&self) -> &str {
        self.metadata.issuer().as_str()
    }

    /// Whether its metadata promises `iss` in every redirect (RFC 9207, 3).
    pub(crate) fn names_itself(&self) -> bool {
        self.metadata.additional_metadata().authorization_response_iss_parameter_supported
    }

    /// Whether it offers refresh tokens that outlive the browser's session.
    pub(crate) fn offers_offline_access(&self) -> bool {
        let scopes = self.metadata.scopes_supported();
        scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope.as_str() == OFFLINE_ACCESS))
    }

    /// Where the browser shall go.
    pub(crate) fn authorize_url(
        &self,
        scopes: &[String],
        state: &Secret<String>,
        nonce: &str,
        verifier: &Secret<String>,
    ) -> String {
        let client = self.client();
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&pkce(verifier));
        let (state, nonce) = (CsrfToken::new(state.expose().clone()), Nonce::new(nonce.to_owned()));
        let request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce);
        // `openid` is always asked for by the library itself.
        let scopes = scopes.iter().filter(|scope| *scope != "openid").map(|scope| Scope::new(scope.clone()));
        let offline = self.offers_offline_access().then(|| Scope::new(OFFLINE_ACCESS.into()));
        request.add_scopes(scopes.chain(offline)).set_pkce_challenge(challenge).url().0.into()
    }

    /// Redeems `code` with the answers known so far and checks the ID token it brings.
    pub(crate) fn redeem(
        &self,
        code: &Secret<String>,
        verifier: &Secret<String>,
        nonce: &str,
        now: WallTime,
        answers: &[Response],
    ) -> Result<Step<Issued>, ProviderError> {
        let client = self.client();
        let code = AuthorizationCode::new(code.expose().clone());
        let exchange =
            client.exchange_code(code).map_err(|error| ProviderError::BadMetadata(error.to_string()))?;
        let replay = Replay::new(answers);
        let outcome = exchange.set_pkce_verifier(pkce(verifier)).request(&|request| replay.call(request));
        if let Some(request) = replay.needs.take() {
            return Ok(Step::Needs(Box::new(request)));
        }
        let tokens = outcome.map_err(|error| ProviderError::CodeRefused(error.to_string()))?;
        let id_token = tokens.id_token().ok_or(ProviderError::NoIdToken)?;
        id_token
            .claims(&self.verifier(&client, now), &Nonce::new(nonce.to_owned()))
            .map_err(|error| ProviderError::BadIdToken(error.to_string()))?;
        let refresh = tokens.refresh_token().map(|token| Secret::new(token.secret().clone()));
        Ok(Step::Done(Issued { id_token: Secret::new(id_token.to_string()), refresh }))
    }

    fn client(&self) -> Client {
        CoreClient::from_provider_metadata(self.metadata.clone(), self.client.clone(), None)
            .set_redirect_uri(self.redirect.clone())
    }

    fn verifier<'a>(&self, client: &'a Client, now: WallTime) -> CoreIdTokenVerifier<'a> {
        let now = utc(now);
        let fresh = move |issued: DateTime<Utc>| {
            let age = now.signed_duration_since(issued).num_seconds();
            if (-SKEW_S..=OLDEST_S).contains(&age) { Ok(()) } else { Err(format!("issued {age} s ago")) }
        };
        client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_other_audience_verifier_fn(|_| false)
            .set_time_fn(move || now - chrono::Duration::seconds(SKEW_S))
            .set_issue_time_verifier_fn(fresh)
    }
}

/// Plays the part of an HTTP client: answers what was answered before, and notes the first request that was not.
struct Replay<'a> {
    answers: RefCell<std::slice::Iter<'a, Response>>,
    needs: RefCell<Option<Request>>,
}

#[derive(Debug, Error)]
#[error("not answered yet")]
struct NotAnswered;

impl<'a> Replay<'a> {
    fn new(answers: &'a [Response]) -> Self {
        Self { answers: RefCell::new(answers.iter()), needs: RefCell::new(None) }
    }

    fn call(&self, request: Request) -> Result<Response, NotAnswered> {
        let answer = self.answers.borrow_mut().next().cloned();
        answer.ok_or_else(|| {
            self.needs.replace(Some(request));
            NotAnswered
        })
    }
}

/// What RFC 9207 adds to a provider's metadata.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Rfc9207 {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Rfc9207 {}

type Metadata = ProviderMetadata<
    Rfc9207,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

fn pkce(verifier: &Secret<String>) -> PkceCodeVerifier {
    PkceCodeVerifier::new(verifier.expose().clone())
}

fn utc(time: WallTime) -> DateTime<Utc> {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// Asymmetric algorithms of our choice: no `none`, no MAC with a public key, nothing on SHA-1.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 6] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];

const OFFLINE_ACCESS: &str = "offline_access";
const SKEW_S: i64 = 60;
const OLDEST_S: i64 = 600;
