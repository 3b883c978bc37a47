//! The in-memory image of one organisation's part of the store: what is kept, and how it changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_api::admin::{Group, Policy, Site};
use ztna_model::{
    DeviceId, GatewayId, GroupId, HoldId, LeaseId, OrgId, PersonId, PolicyId, Resource, ResourceId,
    SessionId, SiteId,
};

mod organisation; // what the organisation has decided for itself
pub use organisation::{One, Organisation};

mod person; // who may come in
pub use person::{Email, Invitation, Person};

mod device; // a device key that was admitted, or waits to be
pub use device::{Device, DeviceState, Received};

mod session; // one device's signed-in session
pub use session::{Auth, Floored, Links, Session, SessionState, Tunnel};

mod token; // secrets we gave out, by their hashes
pub use token::{Enrolment, EnrolmentKind, Spent, Token, TokenHash, TokenKind};

mod gateway; // a gateway, and the key that its certificate is for
pub use gateway::Gateway;

mod right; // live leases, and standing denials
pub use right::{Hold, LeaseRow};

mod restrain; // what is left of a change when something is taken away meanwhile

/// Declares the kinds of rows: their tables, their keys, and the enum of each over all of them.
macro_rules! rows {
    ($($(#[$doc:meta])* $table:ident: $row:ident[$key:ty] = $name:literal, $key_of:expr;)*) => {
        /// Everything that is kept of one organisation.
        ///
        /// INVARIANT: nothing here is the last word on what may happen once only. That is a
        /// [`Claim`](crate::Claim), which the store alone can give.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Rows {
            /// The organisation: part of every key in the store.
            pub org: OrgId,
            $($(#[$doc])* pub $table: BTreeMap<$key, $row>,)*
        }

        impl Rows {
            /// No rows at all.
            pub const fn new(org: OrgId) -> Self {
                Self { org, $($table: BTreeMap::new(),)* }
            }

            /// Brings one change about.
            pub fn apply(&mut self, write: &Write) {
                match write {
                    $(Write::Put(Row::$row(row)) => {
                        let key_of: fn(&$row) -> $key = $key_of;
                        self.$table.insert(key_of(row), row.clone());
                    })*
                    $(Write::Delete(Key::$row(key)) => {
                        self.$table.remove(key);
                    })*
                }
            }

            /// The row under `key` as it stands, as a change that makes it stand so elsewhere, too.
            pub fn as_it_is(&self, key: &Key) -> Write {
                match key {
                    $(Key::$row(id) => match self.$table.get(id) {
                        Some(row) => Write::Put(Row::$row(row.clone())),
                        None => Write::Delete(key.clone()),
                    },)*
                }
            }
        }

        /// One row, of whatever kind.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Row {
            $($(#[$doc])* $row($row),)*
        }

        impl Row {
            /// Every table's name.
            pub const TABLES: &'static [&'static str] = &[$($name,)*];

            /// Reads a row of `table` from its JSON document.
            pub fn read(table: &str, document: &str) -> Result<Self, RowError> {
                let unreadable = |error: serde_json::Error| RowError::Unreadable {
                    table: table.to_owned(),
                    cause: error.to_string(),
                };
                match table {
                    $($name => serde_json::from_str(document).map(Self::$row).map_err(unreadable),)*
                    _ => Err(RowError::UnknownTable(table.to_owned())),
                }
            }

            /// The row as a JSON document.
            pub fn document(&self) -> String {
                match self {
                    // Our own types are maps with text keys: they always have a JSON form.
                    $(Self::$row(row) => serde_json::to_string(row).unwrap_or_default(),)*
                }
            }

            /// Where it is kept.
            pub fn key(&self) -> Key {
                match self {
                    $(Self::$row(row) => {
                        let key_of: fn(&$row) -> $key = $key_of;
                        Key::$row(key_of(row))
                    })*
                }
            }
        }

        $(impl From<$row> for Row {
            fn from(row: $row) -> Self {
                Self::$row(row)
            }
        })*

        /// Where a row is kept within its organisation.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Key {
            $($(#[$doc])* $row($key),)*
        }

        impl Key {
            /// The table's name.
            pub const fn table(&self) -> &'static str {
                match self { $(Self::$row(_) => $name,)* }
            }

            /// The row's name within its table; one row, one name.
            pub fn text(&self) -> String {
                match self { $(Self::$row(key) => key.key_text(),)* }
            }
        }
    };
}

rows! {
    /// The organisation's own row.
    organisation: Organisation[One] = "organisation", |_| One;
    /// People.
    people: Person[PersonId] = "people", |row| row.id.clone();
    /// Invitations by e-mail.
    invitations: Invitation[Email] = "invitations", |row| row.email.clone();
    /// Groups.
    groups: Group[GroupId] = "groups", |row| row.id.clone();
    /// Devices.
    devices: Device[DeviceId] = "devices", |row| row.id;
    /// Resources.
    resources: Resource[ResourceId] = "resources", |row| row.id.clone();
    /// Sites.
    sites: Site[SiteId] = "sites", |row| row.id.clone();
    /// Gateways.
    gateways: Gateway[GatewayId] = "gateways", |row| row.id.clone();
    /// Policies.
    policies: Policy[PolicyId] = "policies", |row| row.id.clone();
    /// Sessions.
    sessions: Session[SessionId] = "sessions", |row| row.sid;
    /// Access and refresh tokens.
    tokens: Token[TokenHash] = "tokens", |row| row.hash;
    /// Single-use tokens that bring in owners, devices and gateways.
    enrolments: Enrolment[TokenHash] = "enrolments", |row| row.hash;
    /// Standing denials.
    holds: Hold[HoldId] = "holds", |row| row.id;
    /// Live leases.
    leases: LeaseRow[LeaseId] = "leases", |row| row.lease.id;
}

/// One change of one row.
#[expect(clippy::large_enum_variant, reason = "nearly every write is a put, and few live at a time")]
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// The row is made, or takes the place of the one under its key.
    Put(Row),
    /// The row goes.
    Delete(Key),
}

impl Write {
    /// The row becomes this.
    pub fn put(row: impl Into<Row>) -> Self {
        Self::Put(row.into())
    }

    /// Which row it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(row) => row.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// Why a stored row cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RowError {
    /// No kind of row has this table.
    #[error("there is no table `{0}`")]
    UnknownTable(String),
    /// The document is not such a row.
    #[error("a row of `{table}` cannot be read: {cause}")]
    Unreadable {
        /// The table.
        table: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// A key as one text.
trait KeyText {
    fn key_text(&self) -> String;
}

macro_rules! displayed_keys {
    ($($key:ty,)*) => {$(
        impl KeyText for $key {
            fn key_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

displayed_keys! {
    One, Email, GroupId, DeviceId, ResourceId, SiteId, GatewayId, PolicyId, SessionId, TokenHash, HoldId, LeaseId,
}

impl KeyText for PersonId {
    /// An issuer is a URL, which has no blanks: the first one parts the two.
    fn key_text(&self) -> String {
        format!("{} {}", self.issuer, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use ztna_model::WallTime;

    use super::*;

    #[test]
    fn a_row_reads_back_from_its_document_and_stands_under_its_key() {
        let org: OrgId = "https://acme.example".parse().unwrap();
        let mut rows = Rows::new(org);
        let policy = Policy {
            id: "wiki".parse().unwrap(),
            text: "permit(principal, action, resource);".into(),
            version: 1,
            changed: WallTime::EPOCH,
        };
        let row = Row::from(policy.clone());
        assert_eq!((row.key().table(), row.key().text()), ("policies", "wiki".into()));
        assert_eq!(Row::read("policies", &row.document()), Ok(row.clone()));
        rows.apply(&Write::put(policy.clone()));
        assert_eq!(rows.policies.get(&policy.id), Some(&policy));
        assert_eq!(rows.as_it_is(&row.key()), Write::put(policy));
        rows.apply(&Write::Delete(row.key()));
        assert_eq!(rows.as_it_is(&row.key()), Write::Delete(row.key()));
        assert!(matches!(Row::read("nothing", "{}"), Err(RowError::UnknownTable(_))));
        assert!(matches!(Row::read("policies", "{}"), Err(RowError::Unreadable { .. })));
    }
}
