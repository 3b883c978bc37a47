use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use ztna_api::gateway::{RENEW_PATH, RenewRequest};
use ztna_model::{Secret, WallTime, minutes, secs};
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{Alpn, IdentitySlot, Trust, client_config};

use crate::backoff::Backoff;
use crate::certificate::{CertificateError, Enrolment, request};
use crate::home::{Home, HomeError};
use crate::http::{CallError, post};

/// Keeps a gateway's certificate fresh: asks for the next one in the middle of its life, with the same key.
pub(crate) struct Renewal {
    pub(crate) home: Home,
    pub(crate) key: Secret<Vec<u8>>,
    pub(crate) identity: Arc<IdentitySlot>,
    /// Where the enrolment is told that holds from now on.
    pub(crate) enrolment: watch::Sender<Enrolment>,
}

/// Why there is no next certificate yet.
#[derive(Debug, Error)]
enum RenewalError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl Renewal {
    /// Renews for as long as it is polled. Connections made from then on present the new certificate.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            self.until_due().await;
            match self.renew().await {
                Ok(until) => {
                    backoff.reset();
                    tracing::info!(
                        hours = until.since(Clock.wall()).as_secs() / 3600,
                        "the certificate was renewed"
                    );
                }
                Err(error) => {
                    let pause = backoff.next(&mut SystemRandom::new());
                    tracing::warn!(%error, pause_s = pause.as_secs(), "the certificate could not be renewed");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Looked at by the minute: the wall clock may be set, and a suspended machine's timers stand still.
    async fn until_due(&self) {
        loop {
            let left = self.identity.current().half_life().since(Clock.wall());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }

    async fn renew(&self) -> Result<WallTime, RenewalError> {
        let now = self.enrolment.borrow().clone();
        let tls = client_config(&Trust::Pinned(now.root), Some(Arc::clone(&self.identity)), Alpn::Http);
        let tls = tls.map_err(CallError::from)?;
        let url = format!("https://{}{RENEW_PATH}", now.listener.authority());
        let answer = post(&tls, &url, &RenewRequest { request: request(&self.key)? }).await?;
        if answer.org != now.org || answer.gateway != now.gateway {
            return Err(CertificateError::OtherGateway.into());
        }
        let next = Enrolment::accept(answer, now.root, now.known(), &self.key, Clock.wall())?;
        let identity = next.identity(&self.key)?;
        let until = identity.not_after();
        self.home.keep(&next)?;
        self.identity.replace(identity);
        self.enrolment.send_replace(next);
        Ok(until)
    }
}

const LOOK_EVERY: Duration = minutes(1);
const FIRST_PAUSE: Duration = secs(1);
const LONGEST_PAUSE: Duration = minutes(5);
