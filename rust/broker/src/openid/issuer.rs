use openidconnect::IssuerUrl;
use ztna_model::OrgId;

/// Who signs the ID tokens: an organisation's origin and a path below it (OpenID Connect Core, `iss`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    org: OrgId,
    url: IssuerUrl,
}

impl Issuer {
    /// The issuer of `org`, if browsers take its origin for an address.
    pub fn new(org: OrgId) -> Option<Self> {
        let url = IssuerUrl::new(format!("{org}{BASE}")).ok()?;
        Some(Self { org, url })
    }

    /// The organisation.
    pub const fn org(&self) -> &OrgId {
        &self.org
    }

    /// The identifier, exactly as tokens carry it.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    pub(crate) const fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// The address of `path`, which is one of the constants below. Never made from a `Host` header.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.org)
    }
}

const BASE: &str = "/openid";

/// Metadata by OpenID Connect Discovery, section 4.
pub const DISCOVERY: &str = "/openid/.well-known/openid-configuration";
/// The same metadata where RFC 8414, section 3.1 looks for it.
pub const OAUTH_DISCOVERY: &str = "/.well-known/oauth-authorization-server/openid";
/// The public keys.
pub const JWKS: &str = "/openid/jwks";
/// Where a browser begins to sign in.
pub const AUTHORIZE: &str = "/openid/authorize";
/// Where the login page's form goes.
pub const LOGIN: &str = "/openid/login";
/// Where codes and refresh tokens become ID tokens.
pub const TOKEN: &str = "/openid/token";
/// Where refresh tokens end (RFC 7009).
pub const REVOKE: &str = "/openid/revoke";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_their_issuers() {
        let rows = [
            ("https://acme.example", Some("https://acme.example/openid")),
            ("https://acme.example:8443", Some("https://acme.example:8443/openid")),
            ("https://[::1]:8443", Some("https://[::1]:8443/openid")),
        ];
        for (org, expected) in rows {
            let issuer = Issuer::new(org.parse().unwrap());
            assert_eq!(issuer.as_ref().map(Issuer::as_str), expected, "{org}");
        }
    }
}
