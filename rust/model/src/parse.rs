use thiserror::Error;

/// Why a text is not what it should be: what was read, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    text: String,
    expected: &'static str,
}

impl ParseError {
    /// `text` is not `expected`, a noun phrase such as "a port from 1 to 65535". Long texts are cut.
    pub fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }

    /// What would have been right.
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

/// Gives a type that has `FromStr` and `Display` its `serde` form: the text, checked by the same parse.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;
