use serde::Deserialize;
use ztna_api::wire::{self, WireError};
use ztna_model::{DenyReason, LeaseId};

/// What a gateway says inside its tunnel: one of its leases is over.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notice {
    /// The lease.
    pub(super) lease: LeaseId,
    /// Why.
    pub(super) reason: DenyReason,
}

impl Notice {
    /// Reads a datagram to the notices address.
    pub(super) fn read(payload: &[u8]) -> Result<Self, WireError> {
        wire::read(payload, LONGEST)
    }
}

/// One line of JSON.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_and_no_other() {
        let lease = "000102030405060708090a0b0c0d0e0f";
        let read = Notice::read(format!(r#"{{"lease":"{lease}","reason":"revoked"}}"#).as_bytes());
        assert_eq!(read, Ok(Notice { lease: lease.parse().unwrap(), reason: DenyReason::Revoked }));
        let refused = [
            String::new(),
            "{}".into(),
            format!(r#"{{"lease":"{lease}"}}"#),
            format!(r#"{{"lease":"{lease}","reason":"nonsense"}}"#),
            format!(r#"{{"lease":"{lease}","reason":"revoked","more":1}}"#),
            format!(r#"{{"lease":"{lease}","reason":"revoked"}} {{}}"#),
            format!(r#"{{"lease":"{}","reason":"revoked"}}"#, lease.to_uppercase()),
            format!(r#"{}{{"lease":"{lease}","reason":"revoked"}}"#, " ".repeat(LONGEST)),
        ];
        for text in refused {
            assert!(Notice::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
