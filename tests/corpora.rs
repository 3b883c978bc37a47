//! Every committed input goes through its parser's promises again.

use std::fs;
use std::path::{Path, PathBuf};

use ztna_fuzz::{REPLAYED, TARGETS, Target};

#[test]
fn every_committed_input_keeps_its_target_s_promises() {
    for Target { name, corpus, run } in TARGETS.iter().chain(REPLAYED) {
        for dir in *corpus {
            let files = files(&root().join(dir));
            assert!(!files.is_empty(), "`{dir}` of target `{name}` is empty");
            for file in files {
                println!("{name}: {}", file.display());
                run(&fs::read(&file).expect("readable"));
            }
        }
    }
}

#[test]
fn no_corpus_lies_there_unused() {
    let owned = |dir: &Path| {
        let below = dir.strip_prefix(root()).expect("below the root");
        TARGETS
            .iter()
            .chain(REPLAYED)
            .any(|target| target.corpus.iter().any(|corpus| below.starts_with(corpus)))
    };
    for file in files(&root()) {
        let dir = file.parent().expect("a file lies somewhere");
        let crate_name =
            dir.strip_prefix(root()).expect("below the root").iter().next().expect("not the root itself");
        let replayed = root().join("../../rust").join(crate_name).is_dir();
        assert!(owned(dir) || replayed, "{} is nobody's corpus", file.display());
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
