use std::error::Error as StdError;
use std::time::Duration;

use rustls::ClientConfig;
use serde::Serialize;
use thiserror::Error;
use ztna_api::gateway::Enrolled;
use ztna_api::problem::Problem;
use ztna_api::wire::{self, WireError};
use ztna_model::secs;
use ztna_net::tls::{RootError, TrustError};

/// Why the broker gave no certificate.
#[derive(Debug, Error)]
pub enum CallError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What answers is not the organisation's broker.
    #[error("this is not the organisation's broker: {0}")]
    Untrusted(RootError),
    /// Nobody answers.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and says no.
    #[error("the broker refuses ({status}): {words}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// In its words.
        words: String,
    },
    /// Its answer makes no sense.
    #[error("the broker's answer: {0}")]
    NotUnderstood(#[from] WireError),
}

/// Sends `body` to `url`, where a certificate is the answer. Nothing is followed elsewhere, and no proxy is asked.
pub(crate) async fn post(
    tls: &ClientConfig,
    url: &str,
    body: &impl Serialize,
) -> Result<Enrolled, CallError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| failed(&error))?;
    let mut answer = client.post(url).json(body).send().await.map_err(|error| failed(&error))?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
        text.extend_from_slice(&chunk);
        if text.len() > LONGEST {
            return Err(WireError::TooLong(LONGEST).into());
        }
    }
    if answer.status().is_success() {
        return Ok(wire::read(&text, LONGEST)?);
    }
    let problem: Option<Problem> = wire::read(&text, LONGEST).ok();
    let words = problem.map(|problem| problem.detail.unwrap_or(problem.title)).unwrap_or_default();
    Err(CallError::Refused { status: answer.status().as_u16(), words })
}

fn failed(error: &reqwest::Error) -> CallError {
    match RootError::behind(error) {
        Some(cause) => CallError::Untrusted(cause),
        None => CallError::Unreachable(innermost(error)),
    }
}

/// The words of the cause that has no further cause: the library's own add nothing a person can use.
fn innermost(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

const TIMEOUT: Duration = secs(20);
const LONGEST: usize = 256 * 1024;
