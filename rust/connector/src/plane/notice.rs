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
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_notice_names_a_lease_and_a_reason() {
        let text = r#"{"lease":"000102030405060708090a0b0c0d0e0f","reason":"device-unfit"}"#;
        let lease = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(Notice::read(text.as_bytes()), Ok(Notice { lease, reason: DenyReason::DeviceUnfit }));
    }

    #[test]
    fn only_what_is_right_is_read() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/connector/notice");
        let files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 10);
        for file in files {
            let is_right = file.file_name().unwrap().to_str().unwrap().starts_with("right-");
            assert_eq!(Notice::read(&fs::read(&file).unwrap()).is_ok(), is_right, "{}", file.display());
        }
    }
}
