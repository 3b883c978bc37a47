use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Something that must hold, the tests that prove it, and what the rest of its proof waits for.
pub(crate) struct Row {
    /// Its stable name: `e04`, or `5.3`.
    pub(crate) id: &'static str,
    /// What it says, in a line.
    pub(crate) about: &'static str,
    /// Tests that prove it. Others may bear its name as well.
    pub(crate) tests: &'static [&'static str],
    /// Parts of the product without which nothing (or no more) can be proven.
    pub(crate) waits: &'static [&'static str],
}

/// What tests prove.
pub(crate) const fn proven(id: &'static str, about: &'static str, tests: &'static [&'static str]) -> Row {
    Row { id, about, tests, waits: &[] }
}

/// What tests prove in part, until there is more of the product.
pub(crate) const fn partly(
    id: &'static str,
    about: &'static str,
    tests: &'static [&'static str],
    waits: &'static [&'static str],
) -> Row {
    Row { id, about, tests, waits }
}

/// The tests of the repository by name, and the ids that each bears in front: `b01_p2_2_a_token_…` bears `b01` and
/// `2.2`.
pub(crate) struct Tests(BTreeMap<String, BTreeSet<String>>);

impl Tests {
    /// Finds them in the sources of every crate, with those of their ids that are `wanted`.
    pub(crate) fn with(wanted: fn(&str) -> bool) -> Self {
        let sources = sources();
        let lines = sources.iter().flat_map(|text| text.lines());
        let called: BTreeSet<&str> = lines.filter_map(|line| line.trim().strip_suffix(',')).collect();
        let names = sources.iter().flat_map(|text| tests_of(text, &called));
        let with_ids = names.map(|name| (name, ids(name).filter(|id| wanted(id)).collect()));
        Self(with_ids.map(|(name, ids)| (name.to_owned(), ids)).collect())
    }

    fn that_bear(&self, id: &str) -> BTreeSet<&str> {
        self.0.iter().filter(|(_, ids)| ids.contains(id)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Holds rows against tests: no row may claim a test that does not exist, and no test an id that is in no row.
pub(crate) fn check(rows: &[Row], tests: &Tests) {
    let mut wrong = Vec::new();
    let known: BTreeSet<&str> = rows.iter().map(|row| row.id).collect();
    if known.len() != rows.len() {
        wrong.push("an id stands there twice".to_owned());
    }
    for Row { id, about, tests: named, waits } in rows {
        let found = tests.that_bear(id);
        println!("{id:<5} {:>3} tests  {about}{}", found.len(), waiting(waits));
        let missing = named.iter().filter(|name| !found.contains(*name));
        wrong.extend(missing.map(|name| format!("{id}: there is no test `{name}`")));
        if named.is_empty() && waits.is_empty() {
            wrong.push(format!("{id}: nothing proves it, and it waits for nothing"));
        }
        if named.is_empty() && !found.is_empty() {
            wrong.push(format!("{id}: its row names none of its tests: {found:?}"));
        }
    }
    for (name, ids) in &tests.0 {
        let foreign = ids.iter().filter(|id| !known.contains(id.as_str()));
        wrong.extend(foreign.map(|id| format!("`{name}` bears `{id}`, which is in no row")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn waiting(waits: &[&str]) -> String {
    if waits.is_empty() { String::new() } else { format!("; waits for {}", waits.join(", ")) }
}

/// The ids in front of a test's name: `e04` as it is, `p5_3` as `5.3`, and `p7`, whose section has no numbers, as `7`.
fn ids(name: &str) -> impl Iterator<Item = String> {
    let mut words = name.split('_').peekable();
    std::iter::from_fn(move || {
        let word = words.next_if(|word| is_attack(word) || is_section(word))?;
        let Some(section) = word.strip_prefix('p') else { return Some(word.to_owned()) };
        let number = words.next_if(|word| word.chars().all(is_digit));
        Some(number.map_or_else(|| section.to_owned(), |number| format!("{section}.{number}")))
    })
}

fn is_attack(word: &str) -> bool {
    let mut letters = word.chars();
    word.len() == 3
        && letters.next().is_some_and(|first| ('a'..='h').contains(&first))
        && letters.all(is_digit)
}

fn is_section(word: &str) -> bool {
    word.len() == 2 && word.strip_prefix('p').is_some_and(|number| number.chars().all(is_digit))
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// Names of test functions: with the attribute, or given to a macro that makes tests of them.
fn tests_of<'a>(text: &'a str, called: &BTreeSet<&str>) -> Vec<&'a str> {
    let mut marked = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = function(line)
            && (std::mem::take(&mut marked) || called.contains(name))
        {
            found.push(name);
        }
    }
    found
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let line = ["pub ", "pub(super) ", "pub(crate) "]
        .iter()
        .find_map(|word| line.strip_prefix(word))
        .unwrap_or(line);
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> = ["rust", "tests"].iter().map(|dir| root.join(dir)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("node_modules") {
            open.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).expect("readable"));
        }
    }
    found
}
