//! How JSON comes in: bounded in size and depth, and never ignoring what must not be ignored.

use serde::de::{self, DeserializeOwned, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};
use thiserror::Error;

/// Why bytes from outside are refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum WireError {
    /// More bytes than this message may have.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// More levels of `[` and `{` than any message has.
    #[error("nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// Not JSON, or not this message's JSON; says where.
    #[error("not understood: {0}")]
    NotUnderstood(String),
    /// A `type` that this end does not know.
    #[error("unknown message `{0}`")]
    UnknownType(String),
    /// `must` names a field that this end does not know: it may restrict, so the whole is refused.
    #[error("`must` names `{0}`, which is not known here")]
    UnknownMust(String),
}

/// The deepest nesting of any message.
pub const DEEPEST: usize = 16;

/// Reads a `T` from at most `longest` bytes.
pub fn read<T: DeserializeOwned>(bytes: &[u8], longest: usize) -> Result<T, WireError> {
    check_bounds(bytes, longest)?;
    serde_json::from_slice(bytes).map_err(not_understood)
}

/// Writes a message.
pub fn write(message: &impl Serialize) -> String {
    // Our own types are maps with text keys: they always have a JSON form.
    serde_json::to_string(message).unwrap_or_default()
}

/// A frame as it came in: its fields, its `type`, and what `must` be understood.
pub(crate) struct Frame {
    pub(crate) kind: String,
    must: Vec<String>,
    fields: Map<String, Value>,
}

impl Frame {
    pub(crate) fn read(bytes: &[u8], longest: usize) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Outer {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            must: Vec<String>,
            #[serde(flatten)]
            fields: Map<String, Value>,
        }
        let Outer { kind, must, fields } = read(bytes, longest)?;
        Ok(Self { kind, must, fields })
    }

    /// The frame's body as a `T`: unknown fields are ignored, unknown names in `must` are not.
    pub(crate) fn body<T: DeserializeOwned>(self) -> Result<T, WireError> {
        let known = Names::of::<T>();
        if let Some(name) = self.must.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(WireError::UnknownMust(cut(name)));
        }
        T::deserialize(Value::Object(self.fields)).map_err(not_understood)
    }
}

/// Reads nothing, and learns by which names a type would have its fields.
struct Names<'a>(&'a mut &'static [&'static str]);

impl Names<'_> {
    /// The names of the fields of `T`; none if it is not simply a struct.
    fn of<T: DeserializeOwned>() -> &'static [&'static str] {
        let mut names: &'static [&'static str] = &[];
        let _nothing_is_read = T::deserialize(Names(&mut names));
        names
    }
}

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, value::Error> {
        Err(de::Error::custom("there is nothing to be read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Writes `body` as a frame of type `kind`.
pub(crate) fn write_frame(kind: &'static str, body: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Outer<'a, T> {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(flatten)]
        body: &'a T,
    }
    write(&Outer { kind, body })
}

fn not_understood(error: serde_json::Error) -> WireError {
    WireError::NotUnderstood(cut(&error.to_string()))
}

/// What the other end wrote, cut so that it fills no log.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).collect()
}

fn check_bounds(bytes: &[u8], longest: usize) -> Result<(), WireError> {
    if bytes.len() > longest {
        return Err(WireError::TooLong(longest));
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(WireError::TooDeep);
        }
    }
    Ok(())
}

const LONGEST_QUOTE: usize = 160;

/// Declares the frames that go one way: an enum with a variant for each message type, and how to read and write it.
macro_rules! frames {
    (
        $(#[$doc:meta])*
        pub enum $name:ident (longest $longest:expr) {
            $($(#[$variant_doc:meta])* $variant:ident($body:ty) = $kind:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($body),)*
        }

        impl $name {
            /// The longest frame of this direction, in bytes.
            pub const LONGEST: usize = $longest;

            /// The types of this direction, in the order of a session's life.
            pub const TYPES: &'static [&'static str] = &[$($kind,)*];

            /// Reads one frame.
            pub fn read(bytes: &[u8]) -> Result<Self, $crate::wire::WireError> {
                let frame = $crate::wire::Frame::read(bytes, Self::LONGEST)?;
                match frame.kind.as_str() {
                    $($kind => frame.body().map(Self::$variant),)*
                    _ => Err($crate::wire::WireError::UnknownType($crate::wire::cut(&frame.kind))),
                }
            }

            /// Writes the frame as JSON text.
            pub fn write(&self) -> String {
                match self { $(Self::$variant(body) => $crate::wire::write_frame($kind, body),)* }
            }

            /// The frame's type on the wire.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}
pub(crate) use frames;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Declined, FromGateway, LeaseError};

    #[test]
    fn p7_f03_what_is_read_and_what_is_refused() {
        let declined = |lease| Ok(FromGateway::Declined(Declined { lease, code: LeaseError::Expired }));
        let id = ztna_model::LeaseId([1; 16]);
        let rows = [
            (r#"{"type":"declined","code":"expired"}"#.to_owned(), declined(None)),
            (r#"{"type":"declined","code":"expired","z":1}"#.to_owned(), declined(None)),
            (
                format!(r#"{{"type":"declined","code":"expired","lease":"{id}","must":["lease"]}}"#),
                declined(Some(id)),
            ),
            (
                r#"{"type":"declined","code":"expired","z":1,"must":["z"]}"#.to_owned(),
                Err(WireError::UnknownMust("z".into())),
            ),
            (r#"{"type":"adieu"}"#.to_owned(), Err(WireError::UnknownType("adieu".into()))),
            (format!(r#"{{"type":"declined","code":{}"#, "[".repeat(DEEPEST)), Err(WireError::TooDeep)),
            (" ".repeat(FromGateway::LONGEST + 1), Err(WireError::TooLong(FromGateway::LONGEST))),
        ];
        for (text, expected) in rows {
            assert_eq!(FromGateway::read(text.as_bytes()), expected);
        }
        let broken =
            ["", "[]", "{", r#"{"type":"declined"}"#, r#"{"type":"declined","code":"no"}"#, r#"{"type":1}"#];
        for text in broken {
            assert!(matches!(FromGateway::read(text.as_bytes()), Err(WireError::NotUnderstood(_))), "{text}");
        }
    }

    #[test]
    fn brackets_in_text_are_not_depth() {
        let text = format!(r#"{{"type":"declined","code":"expired","t":"\"{}"}}"#, "[".repeat(20));
        assert!(FromGateway::read(text.as_bytes()).is_ok());
    }
}
