//! Configuration files: TOML, with overrides from the environment, and errors that say where and what would be right.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::{Table, Value};

mod log; // what a server logs
pub use log::{LogConfig, LogFormat, LogLevel};

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {what}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, and what is accepted.
        what: String,
    },
    /// Something is wrong once the environment has had its say.
    #[error("{}{}: {what}", path.as_ref().map(|path| format!("{} with ", path.display())).unwrap_or_default(), variables.join(", "))]
    Overridden {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// The variables that took part.
        variables: Vec<String>,
        /// What is wrong, and what is accepted.
        what: String,
    },
    /// A variable's name leads through a setting that has no parts.
    #[error("{variable}: `{key}` is no table")]
    NoTable {
        /// The variable.
        variable: String,
        /// The setting.
        key: String,
    },
}

/// Reads the settings in the file at `path`. A variable `PREFIX_KEY` of `environment` overrides `key`, and
/// `PREFIX_TABLE__KEY` overrides `key` in `[table]`; its value is read as TOML, or else taken as text.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    let unreadable = |cause| SettingsError::Unreadable { path: path.into(), cause };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let overrides = Overrides::new(prefix, environment);
    if overrides.variables.is_empty() {
        return toml::from_str(&text).map_err(|error| in_file(path, &text, &error));
    }
    let table = toml::from_str(&text).map_err(|error| in_file(path, &text, &error))?;
    overrides.over(table, Some(path))
}

/// What [`load`] reads where there is no file: the defaults, and the environment above them.
pub fn load_defaults<T: DeserializeOwned>(
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    Overrides::new(prefix, environment).over(Table::new(), None)
}

/// The variables that have a say.
struct Overrides {
    start: String,
    variables: Vec<(String, String)>,
}

impl Overrides {
    fn new(prefix: &str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let start = format!("{prefix}_");
        let variables = environment.into_iter().filter(|(name, _)| name.starts_with(&start)).collect();
        Self { start, variables }
    }

    fn over<T: DeserializeOwned>(self, mut table: Table, path: Option<&Path>) -> Result<T, SettingsError> {
        for (name, value) in &self.variables {
            let keys = name.strip_prefix(&self.start).unwrap_or_default().to_ascii_lowercase();
            set(&mut table, name, &keys.split("__").collect::<Vec<_>>(), read_value(value))?;
        }
        T::deserialize(table).map_err(|error| SettingsError::Overridden {
            path: path.map(Path::to_path_buf),
            variables: self.variables.into_iter().map(|(name, _)| name).collect(),
            what: error.to_string().trim().replace('\n', ", "),
        })
    }
}

fn set(table: &mut Table, variable: &str, keys: &[&str], value: Value) -> Result<(), SettingsError> {
    let Some((key, rest)) = keys.split_first() else { return Ok(()) };
    if rest.is_empty() {
        table.insert((*key).to_owned(), value);
        return Ok(());
    }
    match table.entry(*key).or_insert_with(|| Value::Table(Table::new())).as_table_mut() {
        Some(inner) => set(inner, variable, rest, value),
        None => Err(SettingsError::NoTable { variable: variable.into(), key: (*key).into() }),
    }
}

/// `5`, `true`, `["a"]` and `"text"` as TOML reads them; what is no TOML is text.
fn read_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.into()))
}

fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    SettingsError::InFile {
        path: path.into(),
        line: before.lines().count().max(1) + usize::from(before.ends_with('\n')),
        column: before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1,
        what: error.message().trim().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::testing::TempDir;

    #[derive(PartialEq, Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        name: String,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(PartialEq, Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        flows: u32,
    }

    fn check(text: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let dir = TempDir::new();
        let path = dir.path("test.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&path, "OPENZTNA_TEST", environment)
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.root().display()), ""))
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let rows = [
            ("nam = 1\n", "test.toml:1:1: unknown field `nam`, expected `name` or `limits`"),
            (
                "name = \"a\"\n\n[limits]\nflows = \"many\"\n",
                "test.toml:4:9: invalid type: string \"many\", expected u32",
            ),
            (
                "name = \"a\"\nlimits = { flow = 1 }\n",
                "test.toml:2:12: unknown field `flow`, expected `flows`",
            ),
            ("name = \n", "test.toml:1:8: "),
        ];
        for (text, expected) in rows {
            let error = check(text, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let settings = |name: &str, flows| Ok(Settings { name: name.into(), limits: Limits { flows } });
        let text = "name = \"a\"\n[limits]\nflows = 1\n";
        assert_eq!(check(text, &[]), settings("a", 1));
        assert_eq!(check(text, &[("OPENZTNA_TEST_LIMITS__FLOWS", "2")]), settings("a", 2));
        assert_eq!(check("", &[("OPENZTNA_TEST_NAME", "b c")]), settings("b c", 0));
        assert_eq!(check(text, &[("OPENZTNA_OTHER_NAME", "b")]), settings("a", 1));
        let error = check(text, &[("OPENZTNA_TEST_LIMITS__FLOW", "2")]).unwrap_err();
        assert!(
            error.contains("OPENZTNA_TEST_LIMITS__FLOW") && error.contains("expected `flows`"),
            "{error}"
        );
        let error = check(text, &[("OPENZTNA_TEST_NAME__FLOW", "2")]).unwrap_err();
        assert_eq!(error, "OPENZTNA_TEST_NAME__FLOW: `name` is no table");
    }

    #[test]
    fn without_a_file_the_environment_speaks_alone() {
        let check = |name: &str, value: &str| {
            load_defaults::<Settings>("OPENZTNA_TEST", [(name.to_owned(), value.to_owned())])
                .map_err(|error| error.to_string())
        };
        assert_eq!(check("OPENZTNA_TEST_NAME", "a").unwrap().name, "a");
        let error = check("OPENZTNA_TEST_NAM", "a").unwrap_err();
        assert!(error.starts_with("OPENZTNA_TEST_NAM: unknown field `nam`"), "{error}");
    }
}
