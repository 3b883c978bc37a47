/// A file of `key=value` lines below `[section]`s, as INI files, os-release(5) and desktop settings have
/// them.
///
/// Any text can be read: a line that is not `key=value` is passed over, as the programs that own such files
/// do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settings<'a> {
    lines: Vec<(&'a str, &'a str, &'a str)>, // section, key, value
}

impl<'a> Settings<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut section = "";
        let mut lines = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim();
            } else if let Some((key, value)) = line.split_once('=') {
                lines.push((section, key.trim(), unquoted(value.trim())));
            }
        }
        Self { lines }
    }

    /// The value of a key, the last one where several are written. The part before any section is `""`.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&'a str> {
        self.all(section, key).last()
    }

    /// Whether a switch is on; nothing where it is not written, or says something else than on or off.
    pub(super) fn switch(&self, section: &str, key: &str) -> Option<bool> {
        match self.value(section, key)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    /// Every value of a key, in the order of writing.
    pub(super) fn all(&self, section: &str, key: &str) -> impl Iterator<Item = &'a str> {
        let wanted = move |line: &&(&str, &str, &str)| (line.0, line.1) == (section, key);
        self.lines.iter().filter(wanted).map(|line| line.2)
    }
}

/// The text between matching quotation marks, or all of it. Escapes stay: no value looked at here has any.
fn unquoted(text: &str) -> &str {
    let between = |mark| text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    between('"').or_else(|| between('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_and_what_they_say() {
        let text = "ID=debian\nVERSION_ID=\"12\"\n# ID=arch\n\n[daemon]\n Login = 'ana' \n;Login=bob\n\
            On=True\nno line\n[other]\nLogin=eve\n[daemon]\nLogin=\"\n=\n[daemon\nOn=maybe";
        let settings = Settings::parse(text);
        let rows = [
            ("", "ID", Some("debian")),
            ("", "VERSION_ID", Some("12")),
            ("", "NAME", None),
            ("daemon", "Login", Some("\"")),
            ("other", "Login", Some("eve")),
            ("daemon", "On", Some("maybe")),
        ];
        for (section, key, expected) in rows {
            assert_eq!(settings.value(section, key), expected, "[{section}] {key}");
        }
        assert_eq!(settings.all("daemon", "Login").collect::<Vec<_>>(), ["ana", "\""]);
        assert_eq!(settings.switch("daemon", "On"), None);
        assert_eq!(Settings::parse("On=True").switch("", "On"), Some(true));
        assert_eq!(Settings::parse("On=0").switch("", "On"), Some(false));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(\\PC|\n|=|\\[|\\]|\"){0,80}", key in ".{0,3}") {
            let settings = Settings::parse(&text);
            prop_assert!(settings.value("", &key).is_none_or(|value| text.contains(value)));
        }
    }
}
