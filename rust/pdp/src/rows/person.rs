use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use ztna_api::admin::Role;
use ztna_model::{GroupId, PersonId, Pseudonym, WallTime};

/// Somebody who may come in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: PersonId,
    /// What people call them.
    pub name: String,
    /// The address they were invited by, if that is how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// As leases and the audit log know them.
    pub pseudonym: Pseudonym,
    /// Groups given by administrators.
    pub groups: BTreeSet<GroupId>,
    /// Groups as their issuer names them, at their last sign-in.
    pub claimed: BTreeSet<String>,
    /// What they may administer.
    pub roles: BTreeSet<Role>,
    /// When they first signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<WallTime>,
    /// Sign-ins that began before then are void.
    pub not_before: WallTime,
}

/// An invitation that whoever owns the address may follow, once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The address.
    pub email: Email,
    /// What people call the person.
    pub name: String,
    /// The groups they will have.
    pub groups: BTreeSet<GroupId>,
    /// When.
    pub invited: WallTime,
}

/// An e-mail address in lower case. It links to an invitation and identifies nobody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// Reads an address: something before one `@`, a domain after it, no blanks.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (local, domain) = text.split_once('@')?;
        let fits = !local.is_empty()
            && domain.parse::<ztna_model::DomainName>().is_ok()
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
            && text.len() <= 254;
        fits.then_some(Self(text))
    }

    /// The part that an issuer can be authoritative for.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Email::new("Ana@Acme.Example").unwrap().to_string(), "ana@acme.example");
        assert_eq!(Email::new("ana@acme.example").unwrap().domain(), "acme.example");
        for text in
            ["", "ana", "@acme.example", "ana@", "ana@b@acme.example", "a na@acme.example", "ana@acme..x"]
        {
            assert_eq!(Email::new(text), None, "{text}");
        }
    }
}
