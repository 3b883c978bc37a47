//! A coverage-guided fuzzer for one of the product's parsers, named by the variable `FUZZ_TARGET`. Without it, a line for
//! each that there is: its name, and the folders of its corpus.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ztna_fuzz::{TARGETS, Target};

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: choose(),
    |bytes: &[u8]| TARGET.get().expect("it was chosen at the start")(bytes)
);

fn choose() {
    let Ok(wanted) = std::env::var("FUZZ_TARGET") else {
        for Target { name, corpus, .. } in TARGETS {
            let folders: Vec<String> = corpus.iter().map(|folder| format!("tests/corpus/{folder}")).collect();
            println!("{name} {}", folders.join(" "));
        }
        std::process::exit(0)
    };
    let found = TARGETS.iter().find(|Target { name, .. }| *name == wanted);
    TARGET.get_or_init(|| found.unwrap_or_else(|| panic!("there is no target `{wanted}`")).run);
}
