use std::time::Duration;

use openidconnect::core::{CoreJsonWebKeySet, CoreProviderMetadata};
use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, Response, Url, redirect};
use thiserror::Error;
use tokio::sync::Mutex;
use ztna_model::{Time, minutes, secs};
use ztna_net::clock::Clock;
use ztna_net::tls::{Trust, TrustError, issuer_config};

/// The keys of an external issuer, as its metadata (OpenID Connect Discovery) leads to them.
///
/// Asked for once however many wait; kept for as long as the answer says, within bounds; kept on while the issuer is
/// away; and looked up again for an unknown key, but not more often than once a minute.
#[derive(Debug)]
pub struct RemoteKeys {
    issuer: String,
    client: Client,
    clock: Clock,
    cache: Mutex<Cache>,
}

/// Why an issuer's keys are not to be had.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FetchError {
    /// No answer, or not a good one.
    #[error("`{0}` does not answer: {1}")]
    NoAnswer(String, String),
    /// An answer that makes no sense.
    #[error("`{0}` is not understood: {1}")]
    NotUnderstood(String, String),
    /// The metadata is another issuer's.
    #[error("`{0}` says it is `{1}`")]
    AnotherIssuer(String, String),
    /// It failed a moment ago, and is not asked again yet.
    #[error("it did not answer a moment ago")]
    NotYet,
}

/// Why an issuer cannot be asked at all.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// Its address cannot be trusted to lead to it.
    #[error("the issuer `{0}` must be an https address (or http on a loopback literal, for tests)")]
    Unprotected(String),
    /// No certificates to check it by.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

#[derive(Debug, Default)]
struct Cache {
    keys: Option<CoreJsonWebKeySet>,
    fetched: Time,
    fresh_until: Time,
    tried: Option<Time>,
}

impl RemoteKeys {
    /// Will ask `issuer`, whose server is checked by `trust`.
    pub fn new(issuer: &str, trust: &Trust) -> Result<Self, RemoteError> {
        check(issuer)?;
        let tls = issuer_config(trust)?;
        let client = Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|cause| RemoteError::Client(cause.to_string()))?;
        Ok(Self { issuer: issuer.to_owned(), client, clock: Clock, cache: Mutex::default() })
    }

    /// The keys, fetched if need be.
    pub async fn known(&self) -> Result<CoreJsonWebKeySet, FetchError> {
        let mut cache = self.cache.lock().await; // whoever waits here finds them
        let now = self.clock.now();
        match &cache.keys {
            Some(keys) if now < cache.fresh_until => Ok(keys.clone()),
            Some(keys) if !cache.may_try(now) && now < cache.fetched + LONGEST => Ok(keys.clone()),
            _ => self.refresh(&mut cache).await,
        }
    }

    /// The keys, fetched once more, since one was not among those known.
    pub async fn looked_up_again(&self) -> Result<CoreJsonWebKeySet, FetchError> {
        let mut cache = self.cache.lock().await;
        match &cache.keys {
            Some(keys) if !cache.may_try(self.clock.now()) => Ok(keys.clone()),
            _ => self.refresh(&mut cache).await,
        }
    }

    async fn refresh(&self, cache: &mut Cache) -> Result<CoreJsonWebKeySet, FetchError> {
        let now = self.clock.now();
        if !cache.may_try(now) {
            return Err(FetchError::NotYet);
        }
        cache.tried = Some(now);
        match self.fetch().await {
            Ok((keys, life)) => {
                (cache.fetched, cache.fresh_until) = (now, now + life.clamp(SHORTEST, LONGEST));
                cache.keys = Some(keys.clone());
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(%error, "the identity provider's keys could not be fetched");
                // Known keys stay good for a day while the issuer is away; an unknown one never becomes good.
                let kept = cache.keys.clone().filter(|_| now < cache.fetched + LONGEST);
                kept.ok_or(error)
            }
        }
    }

    async fn fetch(&self) -> Result<(CoreJsonWebKeySet, Duration), FetchError> {
        let metadata = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let (described, _): (CoreProviderMetadata, _) = self.ask(&metadata).await?;
        if described.issuer().as_str() != self.issuer {
            return Err(FetchError::AnotherIssuer(metadata, described.issuer().to_string()));
        }
        let keys = described.jwks_uri().to_string();
        check(&keys).map_err(|cause| FetchError::NotUnderstood(keys.clone(), cause.to_string()))?;
        self.ask(&keys).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<(T, Duration), FetchError> {
        let silent = |cause: &dyn std::fmt::Display| FetchError::NoAnswer(url.to_owned(), cause.to_string());
        let answer = self.client.get(url).send().await.map_err(|cause| silent(&cause))?;
        if !answer.status().is_success() {
            return Err(silent(&answer.status()));
        }
        let life = max_age(&answer).unwrap_or(SHORTEST);
        let body = body(answer).await.map_err(|cause| silent(&cause))?;
        let read = serde_json::from_slice(&body);
        read.map(|read| (read, life))
            .map_err(|cause| FetchError::NotUnderstood(url.to_owned(), cause.to_string()))
    }
}

impl Cache {
    fn may_try(&self, now: Time) -> bool {
        self.tried.is_none_or(|tried| now >= tried + BETWEEN_TRIES)
    }
}

/// Whether `url` leads to whom it names: by TLS, or without leaving this machine.
fn check(url: &str) -> Result<(), RemoteError> {
    let unprotected = || RemoteError::Unprotected(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| unprotected())?;
    let loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]"));
    let plain = parsed.username().is_empty() && parsed.password().is_none();
    match parsed.scheme() {
        "https" if plain => Ok(()),
        "http" if plain && loopback => Ok(()),
        _ => Err(unprotected()),
    }
}

async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = vec![];
    while let Some(chunk) = answer.chunk().await.map_err(|cause| cause.to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_BYTES {
            return Err("the answer is too long".into());
        }
    }
    Ok(body)
}

fn max_age(answer: &Response) -> Option<Duration> {
    let control = answer.headers().get(CACHE_CONTROL)?.to_str().ok()?;
    let age = control.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    age.parse().ok().map(secs)
}

const PATIENCE: Duration = secs(10);
const MOST_BYTES: usize = 1024 * 1024;
const SHORTEST: Duration = minutes(5);
const LONGEST: Duration = minutes(24 * 60);
const BETWEEN_TRIES: Duration = minutes(1);
