use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use thiserror::Error;
use ztna_model::{OrgId, RootHash, secs};
use ztna_net::tls::{self, Alpn, RootError, Trust, TrustError};
use ztna_session::{CallError, Request, Response};

/// Makes HTTP calls: the organisation's under its pinned root, an external identity provider's as the system trusts it.
#[derive(Clone)]
pub(crate) struct Http {
    origin: String,
    organisation: reqwest::Client,
    others: reqwest::Client,
    streams: Arc<ClientConfig>,
}

/// Why no calls can be made at all.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Nobody can be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The HTTP library cannot be set up.
    #[error("HTTP cannot be set up: {0}")]
    Library(#[from] reqwest::Error),
}

impl Http {
    /// Calls for `org`, under `root` if it is known, else as the system trusts it; others are checked against `issuers`.
    pub(crate) fn new(org: &OrgId, root: Option<RootHash>, issuers: &Trust) -> Result<Self, HttpError> {
        let trust = root.map_or(Trust::Platform, Trust::Pinned);
        Ok(Self {
            origin: org.to_string(),
            organisation: client(&*tls::client_config(&trust, None, Alpn::Http)?)?,
            others: client(&*tls::issuer_config(issuers)?)?,
            streams: tls::client_config(&trust, None, Alpn::Http1)?,
        })
    }

    /// TLS for the control stream.
    pub(crate) fn streams(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.streams)
    }

    /// Makes one call. Redirects are not followed: an answer from elsewhere is nobody's answer.
    pub(crate) async fn call(&self, request: Request) -> Result<Response, CallError> {
        let client = if self.is_organisation(&request) { &self.organisation } else { &self.others };
        let request = request.try_into().map_err(|error: reqwest::Error| failed(&error))?;
        let mut answer = client.execute(request).await.map_err(|error| failed(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(CallError::TooLong);
            }
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn is_organisation(&self, request: &Request) -> bool {
        let uri = request.uri();
        let (scheme, authority) =
            (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        format!("{scheme}://{authority}") == self.origin
    }
}

fn client(tls: &ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .no_proxy() // the connector is a proxy itself, and must not go through itself
        .pool_idle_timeout(IDLE)
        .build()
}

fn failed(error: &reqwest::Error) -> CallError {
    let words = innermost(error);
    match RootError::behind(error) {
        Some(cause) => CallError::Untrusted(cause.to_string()),
        None => CallError::Unreachable(words),
    }
}

/// The words of the cause that has no further cause: the library's own add nothing a person can use.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

const TIMEOUT: Duration = secs(10);
/// A phone does not keep connections for nothing.
const IDLE: Duration = secs(5);
const LONGEST: usize = 1024 * 1024;
