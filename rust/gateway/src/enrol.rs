use std::path::Path;

use serde_json::json;
use thiserror::Error;
use ztna_api::gateway::{ENROL_PATH, EnrolmentToken};
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_model::{GatewayId, OrgString, ParseError, Secret, SiteId};
use ztna_net::clock::Clock;
use ztna_net::keys::{KeyError, P256Key};
use ztna_net::tls::{Alpn, Trust, client_config};

use crate::SOFTWARE;
use crate::certificate::{CertificateError, Enrolment, request};
use crate::home::{Home, HomeError};
use crate::http::{CallError, post};

/// What a gateway has become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// The organisation, and the hash of its root key.
    pub org: OrgString,
    /// The gateway's name.
    pub gateway: GatewayId,
    /// Its site.
    pub site: SiteId,
}

/// Why a gateway was not enrolled.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The token is none.
    #[error(transparent)]
    Token(#[from] ParseError),
    /// There is one already.
    #[error("`{0}` holds an enrolment already: take another `state_dir`, or remove it first")]
    AlreadyEnrolled(String),
    /// What it keeps.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The broker.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The broker's answer.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The answer is another organisation's.
    #[error("the answer is another organisation's")]
    OtherOrganisation,
}

/// Makes this machine a gateway: makes its key, has it certified for a single-use `token`, and keeps both in `state_dir`.
///
/// The broker has to prove the root that the token names; every key is then checked under that root. Where the token
/// names none, the broker proves itself as the system trusts it, and the root it shows is kept.
pub async fn enrol(token: &str, state_dir: &Path) -> Result<Enrolled, EnrolError> {
    let EnrolmentToken { organisation, secret } = token.parse()?;
    let home = Home::open(state_dir)?;
    if home.is_enrolled() {
        return Err(EnrolError::AlreadyEnrolled(state_dir.display().to_string()));
    }
    let key = P256Key::generate()?;
    home.keep_key(&key)?;
    let enrolment = certify(&organisation, &secret, &key).await?;
    home.keep(&enrolment)?;
    let Enrolment { org, root, gateway, site, .. } = enrolment;
    Ok(Enrolled { org: OrgString { org, root: Some(root) }, gateway, site })
}

async fn certify(
    organisation: &OrgString,
    secret: &Secret<String>,
    key: &Secret<Vec<u8>>,
) -> Result<Enrolment, EnrolError> {
    let trust = organisation.root.map_or(Trust::Platform, Trust::Pinned);
    let tls = client_config(&trust, None, Alpn::Http).map_err(CallError::from)?;
    let body = json!({ "token": secret.expose(), "request": request(key)?, "software": SOFTWARE });
    let answer = post(&tls, &format!("{}{ENROL_PATH}", organisation.org), &body).await?;
    if answer.org != organisation.org {
        return Err(EnrolError::OtherOrganisation);
    }
    let root = organisation.root.map_or_else(|| KeySet::claimed_root(&answer.keys), Ok);
    let root = root.map_err(|error: KeySetError| CertificateError::from(error))?;
    Ok(Enrolment::accept(answer, root, 0, key, Clock.wall())?)
}
