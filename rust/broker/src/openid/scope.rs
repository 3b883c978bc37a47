use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a client may ask to be told, or to be given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An ID token; without it there is nothing to ask for here.
    #[serde(rename = "openid")]
    OpenId,
    /// The person's name.
    Profile,
    /// The person's e-mail address.
    Email,
    /// The groups the person is in.
    Groups,
    /// A refresh token (OpenID Connect Core, 11).
    OfflineAccess,
}

/// A set of scopes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::OpenId, Self::Profile, Self::Email, Self::Groups, Self::OfflineAccess];

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Groups => "groups",
            Self::OfflineAccess => "offline_access",
        }
    }
}

impl Scopes {
    /// The scopes in `text` that are known; the others are passed over (RFC 6749, 3.3). Nothing without `openid`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let named = |scope: &Scope| text.split(' ').any(|name| name == scope.as_str());
        let scopes: BTreeSet<Scope> = Scope::ALL.into_iter().filter(named).collect();
        scopes.contains(&Scope::OpenId).then_some(Self(scopes))
    }

    /// Whether `scope` is among them.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether `other` asks for nothing more.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_as_they_are_asked_for() {
        let rows = [
            ("openid", Some("openid")),
            ("email openid", Some("openid email")),
            ("openid offline_access groups profile", Some("openid profile groups offline_access")),
            ("openid openid address", Some("openid")),
            ("profile", None),
            ("OPENID", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let names = Scopes::parse(text)
                .map(|scopes| scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "));
            assert_eq!(names.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_row_has_the_wire_s_names() {
        let scopes = Scopes::parse("openid profile email groups offline_access").unwrap();
        let row = serde_json::to_value(&scopes).unwrap();
        assert_eq!(row, serde_json::json!(Scope::ALL.map(Scope::as_str)));
        assert_eq!(serde_json::from_value::<Scopes>(row).unwrap(), scopes);
    }
}
