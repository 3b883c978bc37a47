use thiserror::Error;
use ztna_model::{OrgId, PolicyId, RootHash, Secret, Signer};

use crate::rows::Email;

/// Whom a broker believes: part of its configuration, not of what administrators change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// The organisation.
    pub org: OrgId,
    /// The OpenID providers whose word counts.
    pub issuers: Vec<Issuer>,
}

impl Trust {
    /// The issuer with exactly this identifier.
    pub fn issuer(&self, identifier: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.identifier == identifier)
    }
}

/// An OpenID provider whose word counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    /// Its identifier, exact (OIDC Core 2, `iss`). One that stands for many tenants (`{tenantid}`) is refused.
    pub identifier: String,
    /// Our client id there.
    pub client_id: String,
    /// Domains whose e-mail addresses it may vouch for, in lower case.
    pub domains: Vec<String>,
}

impl Issuer {
    /// Whether it may say whose address this is.
    pub fn is_authoritative_for(&self, email: &Email) -> bool {
        self.domains.iter().any(|domain| domain == email.domain())
    }

    fn is_templated(&self) -> bool {
        self.identifier.contains(['{', '}', '*', ' '])
    }
}

/// The keys that decisions need.
pub struct Keys {
    /// Signs leases.
    pub lease: Box<dyn Signer>,
    /// Seals nonces; the same on all brokers of the organisation.
    pub nonce: Secret<[u8; 32]>,
    /// The root-signed key set, as devices and gateways get it.
    pub keyset: String,
    /// The root's hash, which enrolment tokens carry.
    pub root: RootHash,
}

/// Why no decision can be made at all.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StartError {
    /// An issuer stands for many.
    #[error("the issuer `{0}` stands for many tenants: name one")]
    TemplatedIssuer(String),
    /// The rows are another organisation's.
    #[error("the rows are those of `{0}`")]
    OtherOrganisation(OrgId),
    /// A stored policy does not hold any more.
    #[error("the stored policy `{policy}` is not accepted: {message}")]
    Policy {
        /// The policy.
        policy: PolicyId,
        /// What is wrong with it.
        message: String,
    },
    /// The stored requirements cannot be read.
    #[error("the stored requirements cannot be read: {0}")]
    Requirements(String),
    /// The schema is broken: ours.
    #[error("the schema of policies is broken: {0}")]
    Schema(String),
}

impl Trust {
    pub(crate) fn check(&self) -> Result<(), StartError> {
        match self.issuers.iter().find(|issuer| issuer.is_templated()) {
            Some(issuer) => Err(StartError::TemplatedIssuer(issuer.identifier.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_1_templated_issuers_are_refused() {
        let check = |identifier: &str| {
            let issuer = Issuer {
                identifier: identifier.into(),
                client_id: "openztna".into(),
                domains: vec!["acme.example".into()],
            };
            Trust { org: "https://acme.example".parse().unwrap(), issuers: vec![issuer] }.check()
        };
        assert_eq!(check("https://login.acme.example"), Ok(()));
        for identifier in ["https://login.example/{tenantid}/v2.0", "https://*.example"] {
            assert_eq!(check(identifier), Err(StartError::TemplatedIssuer(identifier.into())));
        }
    }
}
