//! Rules of the house that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["rust/net/src/tun/", "rust/ffi/", "rust/tunnel/tests/", "tests/src/clock.rs"];

#[test]
fn a_crate_is_one_sentence_and_the_code_map_repeats_it() {
    let map = read("rust/README.md");
    for lib in crates().map(|dir| dir.join("src/lib.rs")).filter(|lib| lib.exists()) {
        let text = fs::read_to_string(&lib).expect("readable");
        let sentence = text.lines().next().and_then(|line| line.strip_prefix("//! ")).unwrap_or_default();
        assert!(sentence.ends_with('.'), "{} does not begin with its sentence", lib.display());
        assert!(map.contains(sentence), "rust/README.md does not repeat: {sentence}");
    }
}

#[test]
fn lib_rs_is_a_contents_page() {
    for lib in crates().map(|dir| dir.join("src/lib.rs")).filter(|lib| lib.exists()) {
        let lines = fs::read_to_string(&lib).expect("readable").lines().count();
        assert!(lines < 120, "{} has {lines} lines", lib.display());
    }
}

#[test]
fn unsafe_stands_in_named_places_alone() {
    let found = sources().into_iter().filter(|(path, text)| {
        let named = UNSAFE.iter().any(|place| path.starts_with(place));
        !named && text.lines().any(|line| line.contains("unsafe ") && !line.trim_start().starts_with("//"))
    });
    let found: Vec<String> = found.map(|(path, _)| path).filter(|path| path != "tests/tidy.rs").collect();
    assert!(found.is_empty(), "unsafe outside its places: {found:?}");
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let marks = [
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("XX", "X"),
    ];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{path} holds `{mark}`");
        }
    }
}

#[test]
fn files_have_a_size_a_reader_can_hold() {
    let long =
        sources().into_iter().map(|(path, text)| (path, code_lines(&text))).filter(|(_, lines)| *lines > 500);
    let long: Vec<(String, usize)> = long.collect();
    assert!(long.is_empty(), "past 500 lines without tests: {long:?}");
}

/// Lines before the file's own tests.
fn code_lines(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn crates() -> impl Iterator<Item = PathBuf> {
    let dirs =
        fs::read_dir(root().join("rust")).expect("readable").map(|entry| entry.expect("readable").path());
    dirs.filter(|path| path.join("Cargo.toml").exists())
}

/// Every Rust file of ours, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut open: Vec<PathBuf> = ["rust", "tests", "bench"].iter().map(|dir| root().join(dir)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("node_modules") {
            open.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((name, fs::read_to_string(&path).expect("readable")));
        }
    }
    found
}
