//! A coverage-guided fuzzer for one of the product's parsers, named by the variable `FUZZ_TARGET`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ztna_fuzz::{TARGETS, Target};

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let run = TARGET.get_or_init(|| {
        let wanted = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let found = TARGETS.iter().find(|Target { name, .. }| *name == wanted);
        found.unwrap_or_else(|| panic!("there is no target `{wanted}`")).run
    });
    run(bytes);
});
