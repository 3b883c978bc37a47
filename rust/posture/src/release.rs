use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ztna_model::{Date, ParseError};

/// A release of an operating system: `ID [VERSION] [until DATE]`, in the words of os-release(5).
///
/// Devices write it of themselves, requirements of what they accept; one grammar serves both.
///
/// ```
/// # use ztna_posture::Release;
/// let listed: Release = "rhel 9 until 2032-05-31".parse()?;
/// assert!(listed.covers(&"rhel 9.4".parse()?));
/// # Ok::<(), ztna_model::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    id: String,
    version: Option<String>,
    until: Option<Date>,
}

impl Release {
    /// Whether a device that runs `other` is meant: the same system, and this version or a part of it
    /// (`9` covers `9.4`, never `95`). Without a version, every version is.
    pub fn covers(&self, other: &Self) -> bool {
        let Some(version) = &self.version else { return self.id == other.id };
        let rest = other.version.as_deref().and_then(|other| other.strip_prefix(version.as_str()));
        self.id == other.id && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The last day with security updates, if one is known.
    pub const fn until(&self) -> Option<Date> {
        self.until
    }

    /// The system and its version, without the date.
    pub fn name(&self) -> String {
        self.version.iter().fold(self.id.clone(), |id, version| format!("{id} {version}"))
    }
}

impl FromStr for Release {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a release such as `debian 13` or `debian 13 until 2030-06-30`");
        let (name, until) = match text.split_once(" until ") {
            Some((name, date)) => (name, Some(date.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let (id, version) = match name.split_once(' ') {
            Some((id, version)) => (id, Some(version)),
            None => (name, None),
        };
        let fits = is_word(id) && version.is_none_or(is_word);
        fits.then(|| Self { id: id.to_owned(), version: version.map(str::to_owned), until }).ok_or_else(error)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        self.until.iter().try_for_each(|date| write!(f, " until {date}"))
    }
}

impl TryFrom<String> for Release {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

/// What os-release(5) allows in `ID` and `VERSION_ID`.
fn is_word(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_listed_release_covers() {
        let rows = [
            ("debian 12", "debian 12", true),
            ("debian 12", "debian 12 until 2028-06-30", true),
            ("debian 12", "debian 13", false),
            ("debian 12", "debian", false),
            ("debian 12", "ubuntu 12", false),
            ("rhel 9", "rhel 9.4", true),
            ("rhel 9", "rhel 95", false),
            ("rhel 9.4", "rhel 9", false),
            ("fedora", "fedora 44 until 2027-05-19", true),
            ("arch", "arch", true),
            ("arch", "archarm", false),
        ];
        for (listed, running, expected) in rows {
            let (listed, running): (Release, Release) = (listed.parse().unwrap(), running.parse().unwrap());
            assert_eq!(listed.covers(&running), expected, "{listed} / {running}");
        }
    }

    #[test]
    fn texts_that_are_no_releases() {
        let long = "a".repeat(65);
        let texts = [
            "",
            " ",
            "debian ",
            " debian",
            "debian  12",
            "Debian 12",
            "debian 12 (bookworm)",
            "debian 12\n",
            "debian 12 until",
            "debian 12 until soon",
            "debian 12 until 2028-06-30 ",
            &long,
        ];
        for text in texts {
            assert!(text.parse::<Release>().is_err(), "{text:?}");
        }
    }

    const TEXTS: &str = "\\PC{0,40}|[a-z]{1,6}( [0-9.]{1,5})?( until 20[0-9]{2}-0[1-9]-1[0-9])?";

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in TEXTS) {
            if let Ok(release) = text.parse::<Release>() {
                prop_assert_eq!(release.to_string(), text);
            }
        }
    }
}
