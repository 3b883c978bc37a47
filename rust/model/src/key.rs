use std::fmt;
use std::str::FromStr;

use crate::parse::{ParseError, serde_as_text};

/// A WireGuard public key (X25519). Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WgPublic(pub [u8; 32]);

/// A JWK thumbprint (RFC 7638, SHA-256): names the device key that a session is bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jkt(pub [u8; 32]);

macro_rules! hex_key {
    ($type:ident, $expected:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                crate::id::parse_hex(text).map(Self).ok_or_else(|| ParseError::new(text, $expected))
            }
        }

        serde_as_text!($type);
    };
}

hex_key!(WgPublic, "a WireGuard public key of 64 lower-case hexadecimal digits");
hex_key!(Jkt, "a key thumbprint of 64 lower-case hexadecimal digits");
