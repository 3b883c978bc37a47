use std::io;

use ztna_model::{FactValue, Observed};

/// What a reader found, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) source: String,
}

impl Seen {
    pub(super) fn flag(yes: bool, source: impl Into<String>) -> Self {
        Self { observed: Observed::Value(FactValue::Bool(yes)), source: source.into() }
    }

    pub(super) fn number(number: i64, source: impl Into<String>) -> Self {
        Self { observed: Observed::Value(FactValue::Number(number)), source: source.into() }
    }

    pub(super) fn text(text: String, source: impl Into<String>) -> Self {
        Self { observed: Observed::Value(FactValue::Text(text)), source: source.into() }
    }

    pub(super) fn unknown(why: impl Into<String>, source: impl Into<String>) -> Self {
        Self { observed: Observed::Unknown(why.into()), source: source.into() }
    }

    pub(super) fn unsupported(why: impl Into<String>, source: impl Into<String>) -> Self {
        Self { observed: Observed::Unsupported(why.into()), source: source.into() }
    }

    /// Unknown, since the file at `path` gave nothing.
    pub(super) fn unreadable(path: &str, error: &io::Error) -> Self {
        let why = if error.kind() == io::ErrorKind::NotFound {
            format!("There is no `{path}`.")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            format!("Only an administrator may read `{path}`.")
        } else {
            format!("`{path}` cannot be read.")
        };
        Self::unknown(why, path)
    }
}
