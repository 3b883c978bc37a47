use openidconnect::url::form_urlencoded;
use thiserror::Error;
use ztna_model::Secret;

/// The parameters of a query or a form. They may hold a password, so they are wiped and never printed.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Secret<Vec<(String, String)>>);

/// A parameter stands there twice (RFC 6749, 3.1 and 3.2 forbid it).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a parameter is given twice")]
pub(crate) struct Repeated;

impl Fields {
    /// The parameters in `text`, unless it is longer than any request that makes sense.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let fields: Vec<(String, String)> = form_urlencoded::parse(text)
            .take(MOST + 1)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        (fields.len() <= MOST).then(|| Self(Secret::new(fields)))
    }

    /// The value of `name`. One that is empty counts as absent (RFC 6749, 3.1).
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values =
            self.0.expose().iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
            (_, Some(_)) => Err(Repeated),
        }
    }
}

/// In bytes, before decoding. A login form carries a whole authorization request.
pub(crate) const LONGEST: usize = 16 * 1024;
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_counts_once() {
        let fields = Fields::parse(b"a=1&b=&c=x+y%26&d=1&d=1").unwrap();
        let rows = [
            ("a", Ok(Some("1"))),
            ("b", Ok(None)),
            ("c", Ok(Some("x y&"))),
            ("d", Err(Repeated)),
            ("e", Ok(None)),
        ];
        for (name, expected) in rows {
            assert_eq!(fields.one(name), expected, "{name}");
        }
    }

    #[test]
    fn floods_of_parameters_are_refused() {
        assert!(Fields::parse("a=1&".repeat(64).as_bytes()).is_some());
        assert!(Fields::parse("a=1&".repeat(65).as_bytes()).is_none());
        assert!(Fields::parse(&vec![b'a'; LONGEST]).is_some());
        assert!(Fields::parse(&vec![b'a'; LONGEST + 1]).is_none());
    }

    #[test]
    fn fields_print_nothing() {
        assert_eq!(format!("{:?}", Fields::parse(b"password=hunter2").unwrap()), "Fields(…)");
    }
}
