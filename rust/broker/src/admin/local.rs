use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use ztna_api::admin::AdminError;
use ztna_api::keyset::{KeyState, KeyUse};
use ztna_model::{GroupId, Jkt, PersonId, RootHash, Secret, WallTime};

/// One line to the broker itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalRequest {
    /// The caller's own number; the reply repeats it.
    pub id: u64,
    /// What is asked for.
    #[serde(flatten)]
    pub op: LocalOp,
}

/// One line back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalReply {
    /// The request's number.
    pub id: u64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: LocalOutcome,
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalOutcome {
    /// It was done.
    Ok(LocalAnswer),
    /// It was not.
    Error(AdminError),
}

/// What is asked of this broker itself, beside [`ztna_api::admin::Op`]. Every one of these is a row in the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum LocalOp {
    /// Lists the accounts of the own provider.
    Accounts {},
    /// Adds an account. Whoever has it may sign in; whether they may come in is for an invitation to say.
    AccountAdd {
        /// What the person types.
        name: String,
        /// The password; without one, one is made and shown this once.
        #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose")]
        password: Option<Secret<String>>,
        /// What people call the person.
        display_name: String,
        /// The person's e-mail address, known to be theirs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// Groups as the provider names them.
        #[serde(default)]
        groups: Vec<GroupId>,
    },
    /// Gives an account another password; what was signed in with the old one brings no tokens any more.
    AccountPassword {
        /// The account.
        name: String,
        /// The password; without one, one is made and shown this once.
        #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose")]
        password: Option<Secret<String>>,
    },
    /// Refuses an account's sign-ins, or takes them again.
    AccountDisable {
        /// The account.
        name: String,
        /// Whether they are refused.
        disabled: bool,
    },
    /// Removes an account, and the person with it.
    AccountRemove {
        /// The account.
        name: String,
    },

    /// Follows a chain of the audit log from end to end.
    AuditVerify {
        /// Whose; without one, this broker's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<String>,
        /// A signed head that was kept elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        witness: Option<String>,
    },
    /// Exports a part of a chain as lines of JSON; the last part ends with the signed head.
    AuditExport {
        /// Whose; without one, this broker's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<String>,
        /// From the row after this number on; 0 for the first part.
        after: u64,
    },
    /// Removes a text about a person, such as a name or an address, from all rows; the chain still verifies.
    AuditErase {
        /// The text, exactly as it was written down.
        text: String,
    },

    /// Copies the store into a new file. It is of use together with a copy of the directory `keys` alone.
    BackUp {
        /// The file: an absolute path to nothing yet.
        to: PathBuf,
    },
    /// Shows the keys.
    Keys {},
    /// Shows the latest alarms.
    Alarms {},
}

impl LocalOp {
    /// The names on the wire.
    pub const NAMES: [&'static str; 11] = [
        "accounts",
        "account-add",
        "account-password",
        "account-disable",
        "account-remove",
        "audit-verify",
        "audit-export",
        "audit-erase",
        "back-up",
        "keys",
        "alarms",
    ];

    /// This one's name on the wire.
    pub const fn name(&self) -> &'static str {
        let [accounts, add, password, disable, remove, verify, export, erase, back_up, keys, alarms] =
            Self::NAMES;
        match self {
            Self::Accounts {} => accounts,
            Self::AccountAdd { .. } => add,
            Self::AccountPassword { .. } => password,
            Self::AccountDisable { .. } => disable,
            Self::AccountRemove { .. } => remove,
            Self::AuditVerify { .. } => verify,
            Self::AuditExport { .. } => export,
            Self::AuditErase { .. } => erase,
            Self::BackUp { .. } => back_up,
            Self::Keys {} => keys,
            Self::Alarms {} => alarms,
        }
    }
}

/// What was done, or what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum LocalAnswer {
    /// Done, and written down.
    Done {},
    /// Accounts.
    Accounts {
        /// All of them, by name.
        accounts: Vec<AccountShown>,
    },
    /// An account as it is from here on.
    Account {
        /// The account.
        account: AccountShown,
        /// Its password, if it was made just now.
        #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose")]
        password: Option<Secret<String>>,
    },
    /// The log holds.
    Verified {
        /// Whose chain.
        writer: String,
        /// How many rows it has.
        length: u64,
        /// Its signed end: a witness, for whoever keeps it.
        head: String,
    },
    /// Rows of the log.
    Lines {
        /// Each a JSON document.
        lines: Vec<String>,
        /// Where the next part begins; none after the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// Texts were erased.
    Erased {
        /// In so many rows.
        rows: u64,
    },
    /// The store was copied.
    BackedUp {
        /// How long the copy is.
        bytes: u64,
    },
    /// Keys.
    Keys(KeysShown),
    /// Alarms, the latest last.
    Alarms {
        /// When, and what.
        alarms: Vec<(WallTime, String)>,
    },
}

/// An account, but for its password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountShown {
    /// What the person types.
    pub name: String,
    /// The person, as invitations and policies know them.
    pub person: PersonId,
    /// What people call the person.
    pub display_name: String,
    /// The person's e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Groups as the provider names them.
    pub groups: Vec<GroupId>,
    /// Whether sign-ins are refused.
    pub disabled: bool,
}

/// How the keys stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeysShown {
    /// What devices and gateways pin.
    pub root: RootHash,
    /// Whether the root's private key lies in the broker's directory: it is safer elsewhere.
    pub root_is_here: bool,
    /// The number of the key set.
    pub seq: u64,
    /// Its keys.
    pub keys: Vec<KeyShown>,
    /// When the certificate of the public listener ends.
    pub certificate_until: WallTime,
}

/// One key of the set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyShown {
    /// What it is used for.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// Whether it signs today.
    pub state: KeyState,
    /// Its thumbprint.
    pub thumbprint: Jkt,
}

// A password that goes over its owner's own socket.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn expose<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.expose()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operation_has_the_name_it_is_known_by() {
        let rows = [
            json!({"op": "accounts"}),
            json!({"op": "account-add", "name": "ana", "display_name": "Ana"}),
            json!({"op": "account-password", "name": "ana"}),
            json!({"op": "account-disable", "name": "ana", "disabled": true}),
            json!({"op": "account-remove", "name": "ana"}),
            json!({"op": "audit-verify"}),
            json!({"op": "audit-export", "after": 0}),
            json!({"op": "audit-erase", "text": "Ana"}),
            json!({"op": "back-up", "to": "/backup"}),
            json!({"op": "keys"}),
            json!({"op": "alarms"}),
        ];
        assert_eq!(rows.len(), LocalOp::NAMES.len());
        for (row, name) in rows.into_iter().zip(LocalOp::NAMES) {
            assert_eq!(row["op"], name);
            let op: LocalOp = serde_json::from_value(row).unwrap();
            assert_eq!(op.name(), name);
            assert!(ztna_api::admin::Request::deserialize(json!({"id": 1, "op": name})).is_err(), "{name}");
        }
    }

    #[test]
    fn g03_a_password_does_not_print() {
        let secret = || Some(Secret::new("hunter2hunter2".to_owned()));
        let op = LocalOp::AccountPassword { name: "ana".into(), password: secret() };
        assert!(!format!("{op:?}").contains("hunter2"));
        let text = serde_json::to_string(&LocalRequest { id: 1, op: op.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<LocalRequest>(&text).unwrap().op, op);
    }
}
