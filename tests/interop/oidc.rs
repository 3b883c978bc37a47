//! A certified OpenID provider, `oidc-provider`, as the broker's external issuer.
