use std::time::Duration;

use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreTokenType,
};
use openidconnect::{
    AccessToken, AdditionalClaims, Audience, AuthenticationContextClass, AuthenticationMethodReference,
    EmptyExtraTokenFields, EndUserEmail, EndUserName, IdToken, IdTokenClaims, IdTokenFields,
    JsonWebTokenError, LocalizedClaim, Nonce, StandardClaims, StandardTokenResponse, SubjectIdentifier,
};
use serde::{Deserialize, Serialize};
use ztna_model::{GroupId, WallTime, minutes};

use super::account::Account;
use super::client::Client;
use super::grant::{Grant, SignInId};
use super::issuer::Issuer;
use super::keys::{ALGORITHM, SigningKeys};
use super::scope::{Scope, Scopes};

/// What an ID token says beside the standard claims.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// The sign-in, by which a log-out names the sessions to end (OpenID Connect Back-Channel Logout, 2.1).
    pub(crate) sid: SignInId,
    /// The groups the person is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Vec<GroupId>>,
}

impl AdditionalClaims for Beside {}

/// An ID token of this provider.
pub(crate) type OurIdToken =
    IdToken<Beside, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// The token endpoint's answer.
pub(crate) type OurTokens = StandardTokenResponse<
    IdTokenFields<
        Beside,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// What one ID token is about.
pub(crate) struct Statement<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) client: &'a Client,
    pub(crate) grant: &'a Grant,
    pub(crate) scopes: &'a Scopes,
    /// As the person is known at this moment, not as at the sign-in.
    pub(crate) account: &'a Account,
    pub(crate) nonce: Option<String>,
    pub(crate) now: WallTime,
}

impl Statement<'_> {
    pub(crate) fn sign(
        &self,
        keys: &SigningKeys,
        access: &AccessToken,
    ) -> Result<OurIdToken, JsonWebTokenError> {
        let sign_in = &self.grant.authentication;
        let claims = IdTokenClaims::new(
            self.issuer.url().clone(),
            vec![Audience::new(self.client.id().to_owned())],
            utc(self.now + LIFE),
            utc(self.now),
            self.person(),
            Beside { sid: self.grant.id, groups: self.told(Scope::Groups, || self.account.groups.clone()) },
        )
        .set_auth_time(Some(utc(sign_in.time)))
        .set_nonce(self.nonce.clone().map(Nonce::new))
        .set_auth_context_ref(Some(AuthenticationContextClass::new(sign_in.class.as_str().to_owned())))
        .set_auth_method_refs(Some(
            sign_in
                .methods
                .iter()
                .map(|m| AuthenticationMethodReference::new(m.as_str().to_owned()))
                .collect(),
        ));
        IdToken::new(claims, keys, ALGORITHM, Some(access), None)
    }

    fn person(&self) -> StandardClaims<CoreGenderClaim> {
        let name = || LocalizedClaim::from(EndUserName::new(self.account.display_name.clone()));
        let email = self.account.email.as_ref().filter(|_| self.scopes.has(Scope::Email));
        StandardClaims::new(SubjectIdentifier::new(self.account.subject.as_str().to_owned()))
            .set_name(self.told(Scope::Profile, name))
            .set_email(email.map(|email| EndUserEmail::new(email.address.clone())))
            .set_email_verified(email.map(|email| email.verified))
    }

    fn told<T>(&self, scope: Scope, claim: impl FnOnce() -> T) -> Option<T> {
        self.scopes.has(scope).then(claim)
    }
}

fn utc(time: WallTime) -> DateTime<Utc> {
    let secs = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(secs, 0).unwrap_or_default()
}

/// How long an ID token is good for.
pub(crate) const LIFE: Duration = minutes(5);
