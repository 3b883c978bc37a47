use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{Random, WallTime, base64url, minutes, secs};

use super::account::{Account, Subject};
use super::authentication::Authentication;
use super::challenge::Challenge;
use super::scope::{Scope, Scopes};

/// What one sign-in gives to the client. Its `serde` form is the row to save.
///
/// ```text
///   offered ── code ──▶ spent                     no `offline_access`: one ID token and no more
///      │         └────▶ live ─ refresh token ─▶ live      each token once, each turn a new one
///      └─ too late        └─ used twice, revoked ─▶ ended
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Which sign-in.
    pub id: SignInId,
    /// Who signed in.
    pub subject: Subject,
    /// How.
    pub authentication: Authentication,
    /// What for.
    pub scopes: Scopes,
    /// How far it has come.
    pub state: GrantState,
}

/// How far a grant has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum GrantState {
    /// A code is on its way through the browser.
    Offered {
        /// The redirect it was sent to.
        redirect: String,
        /// What its redeemer must meet.
        challenge: Challenge,
        /// What the ID token must repeat.
        nonce: Option<String>,
    },
    /// The code was redeemed, and nothing is left to give.
    Spent,
    /// The code was redeemed, and a refresh token is out.
    Live {
        /// How often a refresh token was used.
        turn: u32,
        /// When the last was.
        turned: WallTime,
    },
    /// Revoked.
    Ended,
}

/// Names one sign-in: the `sid` of its ID tokens, 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignInId(pub [u8; 16]);

/// What was shown to the token endpoint, and may give tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Presented<'a> {
    pub(crate) redirect: &'a str,
    pub(crate) verifier: &'a str,
}

/// Why a grant gives nothing, in words for who wrote the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum GrantError {
    /// It is not ours, or its time is over.
    #[error("the code or token is unknown or too old")]
    Unknown,
    /// Another redirect than the one the code was sent to.
    #[error("the code was not sent to this `redirect_uri`")]
    WrongRedirect,
    /// Whoever began the sign-in is not who redeems the code.
    #[error("`code_verifier` does not meet the challenge")]
    WrongVerifier,
    /// Somebody has what is not theirs: the grant ends.
    #[error("the code or token was used before")]
    Reused,
    /// The person may not sign in any more, or must do it anew.
    #[error("the person must sign in again")]
    PersonGone,
}

impl Grant {
    /// A grant whose code goes to `redirect`.
    pub(crate) fn offer(
        account: &Account,
        authentication: Authentication,
        scopes: Scopes,
        state: GrantState,
        random: &mut dyn Random,
    ) -> Self {
        let mut id = [0; 16];
        random.fill(&mut id);
        Self { id: SignInId(id), subject: account.subject.clone(), authentication, scopes, state }
    }

    /// The last moment at which the row matters; it may be removed after it.
    pub fn until(&self) -> WallTime {
        match self.state {
            GrantState::Offered { .. } => self.authentication.time + CODE_LIFE + SKEW,
            // Kept, so that a code used again is known for what it is.
            GrantState::Spent | GrantState::Live { .. } | GrantState::Ended => {
                self.authentication.time + LIFE
            }
        }
    }

    /// The grant once its code is redeemed. The nonce for the ID token comes with it.
    pub(crate) fn redeem(
        &self,
        presented: &Presented<'_>,
        now: WallTime,
    ) -> Result<(Self, Option<String>), GrantError> {
        let GrantState::Offered { redirect, challenge, nonce } = &self.state else {
            return Err(GrantError::Reused);
        };
        if !is_within(self.authentication.time, CODE_LIFE, now) {
            return Err(GrantError::Unknown);
        }
        if redirect != presented.redirect {
            return Err(GrantError::WrongRedirect);
        }
        if !challenge.is_met_by(presented.verifier) {
            return Err(GrantError::WrongVerifier);
        }
        let state = if self.scopes.has(Scope::OfflineAccess) {
            GrantState::Live { turn: 0, turned: now }
        } else {
            GrantState::Spent
        };
        Ok((Self { state, ..self.clone() }, nonce.clone()))
    }

    /// The grant once the refresh token of `turn` is used. An answer may get lost: the token before the last is good
    /// for a moment more, until its successor is used, and brings the same successor.
    pub(crate) fn refresh(&self, turn: u32, now: WallTime) -> Result<Self, GrantError> {
        let GrantState::Live { turn: current, turned } = self.state else { return Err(GrantError::Unknown) };
        if !is_within(self.authentication.time, LIFE, now) {
            return Err(GrantError::Unknown);
        }
        if turn == current {
            let state = GrantState::Live { turn: current.saturating_add(1), turned: now };
            return Ok(Self { state, ..self.clone() });
        }
        let again = turn.checked_add(1) == Some(current) && is_within(turned, GRACE, now);
        if again { Ok(self.clone()) } else { Err(GrantError::Reused) }
    }

    /// Whether the account is still that of who signed in, and lets sign-ins as old as this one count.
    pub(crate) fn is_good_for(&self, account: &Account) -> bool {
        account.subject == self.subject && !account.disabled && self.authentication.time >= account.not_before
    }

    /// The grant, revoked.
    pub(crate) fn ended(&self) -> Self {
        Self { state: GrantState::Ended, ..self.clone() }
    }

    /// The turn of the refresh token that is out, if one is.
    pub(crate) const fn turn(&self) -> Option<u32> {
        match self.state {
            GrantState::Live { turn, .. } => Some(turn),
            GrantState::Offered { .. } | GrantState::Spent | GrantState::Ended => None,
        }
    }
}

/// Whether `now` is within `life` of `since`. Brokers' clocks may differ a little; a clock that was set back a lot
/// makes everything void rather than young.
fn is_within(since: WallTime, life: Duration, now: WallTime) -> bool {
    since <= now + SKEW && now.since(since) <= life
}

impl fmt::Display for SignInId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for SignInId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SignInId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = base64url::decode(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not a sign-in's id")
    }
}

impl TryFrom<String> for SignInId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SignInId> for String {
    fn from(id: SignInId) -> Self {
        id.to_string()
    }
}

/// How long a code is good for (RFC 6749, 4.1.2 allows ten minutes; nobody needs them).
pub(crate) const CODE_LIFE: Duration = secs(60);
/// How long a sign-in brings fresh ID tokens: as long as a session can last.
pub(crate) const LIFE: Duration = minutes(7 * 24 * 60);
/// How long an answer that got lost can be asked for again.
const GRACE: Duration = secs(30);
const SKEW: Duration = secs(5);
