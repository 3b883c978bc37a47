use std::time::Duration;

use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey as _, JsonWebKeyAlgorithm, JsonWebKeyUse as _, JwsSigningAlgorithm as _};
use serde::Deserialize;
use serde_json::{Map, Value};
use ztna_model::{WallTime, base64url, minutes, secs};

use super::{ALGORITHMS, IdTokenError, IdTokens, KeySource, SKEW_S};

/// What a logout token says (OpenID Connect Back-Channel Logout 1.0, 2.4): it can only end sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logout {
    /// `iss`.
    pub issuer: String,
    /// `sub`, if it says one.
    pub subject: Option<String>,
    /// `sid`, if it says one: only sessions of that sign-in end.
    pub idp_sid: Option<String>,
    /// `jti`: each is good once.
    pub id: String,
    /// From when on it is refused for its age.
    pub until: WallTime,
}

impl IdTokens {
    /// What the logout token says, if the issuer said it, to us, a moment ago.
    pub async fn logged_out(&self, token: &str) -> Result<Logout, IdTokenError> {
        let signed = Signed::parse(token).ok_or(IdTokenError::Malformed)?;
        signed.check_form().map_err(refused)?;
        let claims = match (signed.claims(&self.keys.known().await?), &self.keys) {
            (Err(Unproven::UnknownKey), KeySource::Remote(remote)) => {
                signed.claims(&remote.looked_up_again().await?)
            }
            (claims, _) => claims,
        };
        let claims = claims.map_err(|why| match why {
            Unproven::UnknownKey => refused("no key of the issuer's fits"),
            Unproven::Forged => refused("the signature does not hold"),
            Unproven::Unreadable => IdTokenError::Malformed,
        })?;
        claims.said_to(&self.issuer, self.client.as_str(), self.clock.wall()).map_err(refused)
    }
}

/// A compact JWS whose signature nobody has looked at.
struct Signed<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: CoreJwsSigningAlgorithm,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// Why claims are nobody's.
enum Unproven {
    UnknownKey,
    Forged,
    Unreadable,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: u64,
    #[serde(default)]
    exp: Option<u64>,
    jti: String,
    events: Map<String, Value>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    nonce: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl<'a> Signed<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = serde_json::from_slice(&base64url::decode(header)?).ok()?;
        let (payload, signature) = (base64url::decode(payload)?, base64url::decode(signature)?);
        Some(Self { header, signed, payload, signature })
    }

    /// Algorithm and type; some providers name no type, or one that says nothing.
    fn check_form(&self) -> Result<(), &'static str> {
        let Header { alg, typ, crit, .. } = &self.header;
        if !ALGORITHMS.contains(alg) {
            return Err("its algorithm is not accepted");
        }
        let typ = typ.as_deref().map(str::to_ascii_lowercase);
        match typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ)) {
            None | Some("jwt" | "logout+jwt") if crit.is_none() => Ok(()),
            None | Some("jwt" | "logout+jwt") => Err("it asks for something that is not understood"),
            Some(_) => Err("it is no logout token by its type"),
        }
    }

    fn claims(&self, keys: &CoreJsonWebKeySet) -> Result<Claims, Unproven> {
        let mut fitting = keys.keys().iter().filter(|key| self.fits(key)).peekable();
        if fitting.peek().is_none() {
            return Err(Unproven::UnknownKey);
        }
        let (alg, signed) = (&self.header.alg, self.signed.as_bytes());
        if !fitting.any(|key| key.verify_signature(alg, signed, &self.signature).is_ok()) {
            return Err(Unproven::Forged);
        }
        serde_json::from_slice(&self.payload).map_err(|_| Unproven::Unreadable)
    }

    fn fits(&self, key: &CoreJsonWebKey) -> bool {
        let Header { alg, kid, .. } = &self.header;
        let named = kid.as_ref().is_none_or(|kid| key.key_id().is_some_and(|id| id.as_str() == kid));
        let signs = key.key_use().is_none_or(|usage| usage.allows_signature());
        let by_it = match key.signing_alg() {
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Algorithm(only) => only == alg,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        named && signs && by_it && alg.key_type().as_ref() == Some(key.key_type())
    }
}

impl Claims {
    /// The checks of Back-Channel Logout 1.0, 2.6.
    fn said_to(self, issuer: &str, client: &str, now: WallTime) -> Result<Logout, &'static str> {
        let for_us = match &self.aud {
            Audience::One(audience) => audience == client,
            Audience::Many(audiences) => audiences.iter().any(|audience| audience == client),
        };
        let (issued, skew) = (WallTime::from_secs(self.iat), secs(SKEW_S.unsigned_abs()));
        let until =
            self.exp.map_or(issued + OLDEST, |end| WallTime::from_secs(end).min(issued + OLDEST)) + skew;
        if self.iss != issuer {
            return Err("it is another issuer's");
        }
        if !for_us {
            return Err("it is for another client");
        }
        if issued > now + skew || now >= until {
            return Err("it is too old, or not yet good");
        }
        if !self.events.get(EVENT).is_some_and(Value::is_object) {
            return Err("it says nothing of a logout");
        }
        if self.nonce.is_some() {
            return Err("it has a nonce, so it is no logout token");
        }
        if self.sub.is_none() && self.sid.is_none() {
            return Err("it names nobody");
        }
        if self.jti.is_empty() || self.jti.len() > LONGEST_ID {
            return Err("its id is none");
        }
        Ok(Logout { issuer: self.iss, subject: self.sub, idp_sid: self.sid, id: self.jti, until })
    }
}

fn refused(why: &str) -> IdTokenError {
    IdTokenError::Refused(why.to_owned())
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// A provider sends them as it signs them.
const OLDEST: Duration = minutes(5);
const LONGEST_ID: usize = 256;
