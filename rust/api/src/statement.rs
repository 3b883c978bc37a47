//! What a device key signs besides DPoP: typed statements, each over a single-use broker nonce.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{DeviceId, Jkt, OrgId, Reading, SessionId, SignError, Signer, WgPublic};

use crate::jws::{self, Header, JwsError, Unverified};
use crate::key;

/// A device's statement (JWS ES256, `openztna-device+jws`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The organisation it is made to.
    pub org: OrgId,
    /// The session it is made in.
    pub sid: SessionId,
    /// The broker's nonce, used once.
    pub nonce: String,
    /// What is stated.
    #[serde(flatten)]
    pub body: Body,
}

/// What is stated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
pub enum Body {
    /// This WireGuard key is mine for this session.
    TunnelKey {
        /// The key.
        wg_pub: WgPublic,
    },
    /// This is what I read about myself.
    Facts {
        /// The readings, at most [`MOST_READINGS`].
        readings: Vec<Reading>,
    },
    /// I hold the device key right now; good for the TLS stream it is sent on.
    Presence {},
    /// I, an admitted device of the same person, admit or end another.
    Confirm {
        /// The other device.
        device: DeviceId,
        /// What shall happen to it.
        action: Confirmed,
    },
}

/// What a person does to a device of theirs from another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmed {
    /// Admit it.
    Admit,
    /// End it.
    End,
}

/// Why a statement is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum StatementError {
    /// It is not signed by the session's device key, or not a statement.
    #[error("the statement is not sound: {0}")]
    Unsound(#[from] JwsError),
    /// Another key than the session's made it.
    #[error("the statement is made by another key")]
    WrongKey,
    /// It was made to another organisation.
    #[error("the statement is made to another organisation")]
    WrongOrg,
    /// It was made in another session.
    #[error("the statement is made in another session")]
    WrongSession,
    /// It holds more than a device has to say.
    #[error("the statement holds too many readings")]
    TooMany,
}

/// The most readings in one statement.
pub const MOST_READINGS: usize = 64;

/// Signs `statement` with the device key, which goes along in the header.
pub fn sign(signer: &dyn Signer, statement: &Statement) -> Result<String, SignError> {
    jws::sign(signer, TYP, statement, Header { jwk: Some(signer.public_key()), ..Header::default() })
}

/// The statement in `text`, if the device key that `jkt` names made it to `org` in `sid`. The nonce is the caller's
/// to check and to claim.
pub fn verify(text: &str, jkt: &Jkt, org: &OrgId, sid: SessionId) -> Result<Statement, StatementError> {
    let jws = Unverified::parse(text, TYP, &[])?;
    let signer = jws.header().jwk.ok_or(JwsError::KeyMisplaced)?;
    if key::thumbprint(&signer) != *jkt {
        return Err(StatementError::WrongKey);
    }
    let statement: Statement = jws.verify(&signer)?;
    if statement.org != *org {
        return Err(StatementError::WrongOrg);
    }
    if statement.sid != sid {
        return Err(StatementError::WrongSession);
    }
    if matches!(&statement.body, Body::Facts { readings } if readings.len() > MOST_READINGS) {
        return Err(StatementError::TooMany);
    }
    Ok(statement)
}

const TYP: &str = "openztna-device+jws";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::p256_key;

    fn statement() -> Statement {
        Statement {
            org: "https://acme.example".parse().unwrap(),
            sid: SessionId([1; 16]),
            nonce: "n".into(),
            body: Body::TunnelKey { wg_pub: WgPublic([2; 32]) },
        }
    }

    #[test]
    fn a_statement_on_the_wire() {
        let wire = json!({
            "org": "https://acme.example",
            "sid": "01".repeat(16),
            "nonce": "n",
            "kind": "tunnel-key",
            "body": {"wg_pub": "02".repeat(32)},
        });
        assert_eq!(serde_json::to_value(statement()).unwrap(), wire);
    }

    #[test]
    fn p2_4_c02_a_statement_is_good_for_its_own_key_org_and_session_alone() {
        let (key, other) = (p256_key(), p256_key());
        let text = sign(&key, &statement()).unwrap();
        let (org, sid) = (statement().org, statement().sid);
        let elsewhere: OrgId = "https://other.example".parse().unwrap();
        let print = |key: &dyn Signer| key::thumbprint(&key.public_key());
        let (jkt, other_jkt) = (print(&key), print(&other));
        assert_eq!(verify(&text, &jkt, &org, sid), Ok(statement()));
        assert_eq!(verify(&text, &other_jkt, &org, sid), Err(StatementError::WrongKey));
        assert_eq!(verify(&text, &jkt, &elsewhere, sid), Err(StatementError::WrongOrg));
        assert_eq!(verify(&text, &jkt, &org, SessionId([2; 16])), Err(StatementError::WrongSession));
        let header = Header { jwk: Some(key.public_key()), ..Header::default() };
        let forged = jws::sign(&other, TYP, &statement(), header).unwrap();
        let unsound = StatementError::Unsound(JwsError::BadSignature);
        assert_eq!(verify(&forged, &jkt, &org, sid), Err(unsound));
    }
}
