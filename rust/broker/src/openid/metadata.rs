use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::url::ParseError;
use openidconnect::{
    AdditionalProviderMetadata, AuthUrl, AuthenticationContextClass, JsonWebKeySetUrl, ProviderMetadata,
    ResponseTypes, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::authentication::Class;
use super::authorization::PROMPTS;
use super::issuer::{AUTHORIZE, Issuer, JWKS, REVOKE, TOKEN};
use super::keys::ALGORITHM;
use super::scope::Scope;

/// What this provider says of itself beside the fields of OpenID Connect Discovery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// Every answer names its issuer (RFC 9207).
    pub(crate) authorization_response_iss_parameter_supported: bool,
    /// How codes are tied to who began (RFC 8414, 2).
    pub(crate) code_challenge_methods_supported: Vec<String>,
    /// Where tokens are revoked (RFC 8414, 2).
    pub(crate) revocation_endpoint: String,
    /// Without a client's secret.
    pub(crate) revocation_endpoint_auth_methods_supported: Vec<CoreClientAuthMethod>,
    /// What `prompt` may say (Initiating User Registration via OpenID Connect, 4).
    pub(crate) prompt_values_supported: Vec<String>,
}

impl AdditionalProviderMetadata for Beside {}

/// The provider's metadata.
pub(crate) type Metadata = ProviderMetadata<
    Beside,
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

/// What `issuer` can do, and where.
pub(crate) fn metadata(issuer: &Issuer) -> Result<Metadata, ParseError> {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let classes = Class::ALL.map(|class| AuthenticationContextClass::new(class.as_str().to_owned()));
    let scopes = Scope::ALL.map(|scope| openidconnect::Scope::new(scope.as_str().to_owned()));
    let claims = CLAIMS.map(|name| CoreClaimName::new(name.to_owned()));
    let beside = Beside {
        authorization_response_iss_parameter_supported: true,
        code_challenge_methods_supported: texts(&["S256"]),
        revocation_endpoint: issuer.address(REVOKE),
        revocation_endpoint_auth_methods_supported: vec![CoreClientAuthMethod::None],
        prompt_values_supported: texts(&PROMPTS),
    };
    let metadata = Metadata::new(
        issuer.url().clone(),
        AuthUrl::new(issuer.address(AUTHORIZE))?,
        JsonWebKeySetUrl::new(issuer.address(JWKS))?,
        vec![ResponseTypes::new(vec![CoreResponseType::Code])],
        vec![CoreSubjectIdentifierType::Public],
        vec![ALGORITHM],
        beside,
    );
    Ok(metadata
        .set_token_endpoint(Some(TokenUrl::new(issuer.address(TOKEN))?))
        .set_scopes_supported(Some(scopes.to_vec()))
        .set_response_modes_supported(Some(vec![CoreResponseMode::Query]))
        .set_grant_types_supported(Some(vec![CoreGrantType::AuthorizationCode, CoreGrantType::RefreshToken]))
        .set_acr_values_supported(Some(classes.to_vec()))
        .set_token_endpoint_auth_methods_supported(Some(vec![CoreClientAuthMethod::None]))
        .set_claims_supported(Some(claims.to_vec()))
        .set_claims_parameter_supported(Some(false))
        .set_request_parameter_supported(Some(false))
        .set_request_uri_parameter_supported(Some(false)))
}

const CLAIMS: [&str; 14] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "sid",
    "name",
    "email",
    "email_verified",
    "groups",
];
