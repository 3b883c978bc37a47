use std::fmt;
use std::str::FromStr;

use crate::parse::{ParseError, serde_as_text};

const NAME: &str = "a DNS name in lower case such as wiki.example (international names in their xn-- form)";
const PATTERN: &str = "a DNS name, or one that starts with `*.` (one label) or `**.` (one label or more)";

/// A DNS name as leases and policies spell it: A-labels, lower case, no final dot (RFC 5890, RFC 1035).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// Reads a name as applications send it: any case, perhaps with a final dot.
    pub fn from_any_case(text: &str) -> Result<Self, ParseError> {
        text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase().parse()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `base`, or stands below it.
    pub fn is_within(&self, base: &Self) -> bool {
        let above = self.0.strip_suffix(&base.0);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }

    /// Whether an organisation may have this name and all below it to itself: two labels at least, or a name at the top
    /// that the public DNS does not have (RFC 2606, RFC 6762 appendix G); no part of the reverse tree.
    pub fn may_be_private(&self) -> bool {
        let is_reverse = self.labels().next_back() == Some("arpa") && self.0 != "home.arpa";
        !is_reverse && (self.0.contains('.') || PRIVATE.contains(&self.as_str()))
    }

    /// The name that a service is said to run at (RFC 8552): `wiki.example` for `_8443._https.wiki.example`. None unless
    /// the first label is such a service label.
    pub fn served(&self) -> Option<Self> {
        let mut rest = self.0.as_str();
        while rest.starts_with('_') {
            rest = rest.split_once('.')?.1;
        }
        (rest.len() < self.0.len()).then(|| Self(rest.to_owned()))
    }

    /// The labels, left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for DomainName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = text.len() <= 253 && text.split('.').all(is_label) && !ends_in_a_number(text);
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseError::new(text, NAME)) }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(DomainName);

/// One name, or all names below one: `wiki.example`, `*.example` (one label more), `**.example` (one or more).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern {
    depth: Depth,
    base: DomainName,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Depth {
    Exact,
    One,
    Any,
}

impl NamePattern {
    /// Whether `name` is one of the names meant. Compared label by label: `*.example` never means `badexample`.
    pub fn matches(&self, name: &DomainName) -> bool {
        let mut ours = self.base.labels().rev();
        let mut theirs = name.labels().rev();
        let base_fits = ours.by_ref().all(|label| theirs.next() == Some(label));
        let more = theirs.count();
        base_fits
            && match self.depth {
                Depth::Exact => more == 0,
                Depth::One => more == 1,
                Depth::Any => more >= 1,
            }
    }

    /// The one name meant, unless the pattern is a wildcard.
    pub const fn exact(&self) -> Option<&DomainName> {
        match self.depth {
            Depth::Exact => Some(&self.base),
            Depth::One | Depth::Any => None,
        }
    }

    /// The name itself, or the one that a wildcard stands below.
    pub const fn base(&self) -> &DomainName {
        &self.base
    }
}

impl From<DomainName> for NamePattern {
    fn from(base: DomainName) -> Self {
        Self { depth: Depth::Exact, base }
    }
}

impl FromStr for NamePattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (depth, base) = if let Some(base) = text.strip_prefix("**.") {
            (Depth::Any, base)
        } else if let Some(base) = text.strip_prefix("*.") {
            (Depth::One, base)
        } else {
            (Depth::Exact, text)
        };
        let base = base.parse().map_err(|_| ParseError::new(text, PATTERN))?;
        Ok(Self { depth, base })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.depth {
            Depth::Exact => "",
            Depth::One => "*.",
            Depth::Any => "**.",
        };
        write!(f, "{prefix}{}", self.base)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(NamePattern);

/// Names at the top of private trees.
const PRIVATE: [&str; 8] = ["corp", "example", "home", "internal", "intranet", "lan", "private", "test"];

/// Letters, digits, hyphen and underscore (service labels, RFC 8552), not hyphenated at an end.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether some resolver would read the text as an IPv4 address: `127.1`, `0177.0.0.1`, `0x7f000001`, `2130706433`.
fn ends_in_a_number(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|c| c.is_ascii_hexdigit());
    last.bytes().all(|c| c.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in
            ["wiki", "wiki.demo", "a-b.example", "xn--bcher-kva.example", "_sip._tcp.example", "1a.2b"]
        {
            assert_eq!(text.parse::<DomainName>().unwrap().to_string(), text);
        }
        let long = "a".repeat(64);
        let numbers =
            ["127.1", "0177.0.0.1", "2130706433", "0x7f000001", "1.0x7f", "10.0.0.1", "a.1", "a.0x"];
        let broken =
            ["", ".", "wiki.", ".wiki", "a..b", "Wiki", "wi ki", "-a", "a-", "bücher.example", &long];
        for text in numbers.iter().chain(&broken) {
            assert!(text.parse::<DomainName>().is_err(), "{text}");
        }
        assert_eq!(DomainName::from_any_case("WIKI.Demo.").unwrap().as_str(), "wiki.demo");
    }

    #[test]
    fn names_stand_below_others_label_by_label() {
        let rows = [
            ("corp.example", "corp.example", true),
            ("wiki.corp.example", "corp.example", true),
            ("xcorp.example", "corp.example", false),
            ("example", "corp.example", false),
        ];
        for (name, base, expected) in rows {
            let (name, base): (DomainName, DomainName) = (name.parse().unwrap(), base.parse().unwrap());
            assert_eq!(name.is_within(&base), expected, "{name} {base}");
        }
    }

    #[test]
    fn f01_nobody_has_a_public_top_to_himself() {
        let rows = [
            ("corp.example", true),
            ("internal", true),
            ("home.arpa", true),
            ("com", false),
            ("localhost", false),
            ("arpa", false),
            ("10.in-addr.arpa", false),
            ("resolver.arpa", false),
        ];
        for (name, expected) in rows {
            assert_eq!(name.parse::<DomainName>().unwrap().may_be_private(), expected, "{name}");
        }
    }

    #[test]
    fn services_run_at_names() {
        let rows = [
            ("_8443._https.wiki.example", Some("wiki.example")),
            ("_x.a._y.example", Some("a._y.example")),
            ("wiki.example", None),
            ("_tcp", None),
            ("_a._b", None),
        ];
        for (name, served) in rows {
            let name: DomainName = name.parse().unwrap();
            assert_eq!(name.served().map(|served| served.to_string()).as_deref(), served, "{name}");
        }
    }

    #[test]
    fn patterns() {
        let rows = [
            ("wiki.demo", "wiki.demo", true),
            ("wiki.demo", "a.wiki.demo", false),
            ("wiki.demo", "iki.demo", false),
            ("*.demo", "wiki.demo", true),
            ("*.demo", "demo", false),
            ("*.demo", "a.wiki.demo", false),
            ("*.demo", "wikidemo", false),
            ("**.demo", "a.wiki.demo", true),
            ("**.demo", "demo", false),
            ("*.wiki.demo", "x.iki.demo", false),
        ];
        for (pattern, name, expected) in rows {
            let pattern: NamePattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&name.parse().unwrap()), expected, "{pattern} {name}");
        }
        for text in ["*", "**", "*.", "a.*.demo", "*a.demo", "***.demo", "?.demo"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
    }
}
