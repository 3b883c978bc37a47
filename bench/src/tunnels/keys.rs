use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ztna_model::{Random as _, Secret};
use ztna_tunnel::wg_public;

use super::lab::Place;
use crate::seed::Seed;

/// The static keys of both ends, the same in every run.
pub(crate) struct Keys {
    a: [u8; 32],
    b: [u8; 32],
}

impl Keys {
    pub(crate) fn new() -> Self {
        let mut seed = Seed::new(61);
        Self { a: seed.array(), b: seed.array() }
    }

    pub(crate) const fn private(&self, place: Place) -> [u8; 32] {
        match place {
            Place::A => self.a,
            Place::B => self.b,
        }
    }

    pub(crate) fn public(&self, place: Place) -> [u8; 32] {
        wg_public(&Secret::new(self.private(place))).0
    }

    /// What `wg setconf` reads: one peer, for everything.
    pub(crate) fn settings(&self, place: Place) -> String {
        let other = place.other();
        format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nEndpoint = {}:{}\nAllowedIPs = 0.0.0.0/0\n",
            BASE64_STANDARD.encode(self.private(place)),
            place.port(),
            BASE64_STANDARD.encode(self.public(other)),
            other.cable(),
            other.port(),
        )
    }
}

/// As the environment of an end carries a key.
pub(crate) fn hexadecimal(key: [u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_told_of_the_other() {
        let keys = Keys::new();
        let settings = keys.settings(Place::A);
        assert!(settings.contains(&BASE64_STANDARD.encode(keys.public(Place::B))));
        assert!(
            settings.contains("Endpoint = 10.77.0.2:51821\n") && settings.contains("ListenPort = 51820\n")
        );
        assert_eq!(hexadecimal([0xa5; 32]), "a5".repeat(32));
    }
}
